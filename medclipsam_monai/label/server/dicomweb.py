"""MONAI Label's DICOMweb datastore, with what comes in checked and no patient's name kept."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from pathlib import Path
from typing import Any, cast

import numpy as np
from fastapi import HTTPException
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.datastore.utils.convert import dicom_to_nifti
from monailabel.datastore.utils.dicom import dicom_web_download_series
from monailabel.interfaces.datastore import DefaultLabelTag
from pydicom.dataset import Dataset

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import Geometry, write_mask
from medclipsam_monai.label.http_errors import NOT_FOUND, http_errors
from medclipsam_monai.label.label_files import raw_label, read_submitted
from medclipsam_monai.label.label_names import named
from medclipsam_monai.label.served_classes import ServedClasses
from medclipsam_monai.label.server import dicom_seg
from medclipsam_monai.label.server.detached import refuse_detached
from medclipsam_monai.label.server.dicom_seg import lay_on_image, read_segments, segment_entries
from medclipsam_monai.label.store_index import IndexedStore

logger = logging.getLogger(__name__)


class CheckedDicomweb(DICOMWebDatastore, IndexedStore):
    """A `DICOMWebDatastore` that refuses what would only fail later, and says why."""

    classes: ServedClasses

    @classmethod
    def of(cls, datastore: DICOMWebDatastore, classes: ServedClasses | None = None) -> CheckedDicomweb:
        """The same datastore with the checks: MONAI Label makes client and datastore in one go, of its own class.

        Args:
            datastore: MONAI Label's.
            classes: by which labels are named whose client does not say what their numbers are.
        """
        dicom_seg.install()
        datastore._turn = threading.RLock()
        datastore.__class__ = cls
        checked = cast(CheckedDicomweb, datastore)
        checked._watch()
        checked.classes = ServedClasses() if classes is None else classes
        return checked

    def get_image_uri(self, image_id: str) -> str:
        """The series as a NIfTI file, fetched at its first use.

        Raises:
            HTTPException: 404 if the archive has no such series among the images.
        """
        images = self.list_images()
        if image_id not in images:
            raise HTTPException(
                NOT_FOUND,
                f"there is no series {image_id!r} among the {len(images)} of the archive that are served "
                f"({self._search_filter})",
            )
        found = Path(super().get_image_uri(image_id))
        kept = Path(os.path.realpath(self._datastore.image_path())) / f"{image_id}.nii.gz"
        if self._convert_to_nifti and found != kept:  # at its first use it is a temporary file that nobody removes
            found.unlink(missing_ok=True)
            return str(kept)
        return str(found)

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any], label_id: str = ""
    ) -> str:
        """Keep a label; a final one goes to the archive as DICOM SEG, its segments under the names of the classes.

        Raises:
            HTTPException: 404 for an unknown series, 422 for a label that is broken, empty or of another size.
        """
        image = self.get_image_uri(image_id)
        with tempfile.TemporaryDirectory() as folder, http_errors():
            labels, geometry = self._submitted(label_filename, image)
            present = [int(number) for number in np.unique(labels) if number]
            if label_tag == DefaultLabelTag.FINAL and not present:
                raise InputError("the label is empty: DICOM SEG has no place for a label without a pixel")
            by_place = bool(label_info.get("client_id"))
            info = named(labels, label_info.get("label_info"), self.classes, by_place) or []
            said = {**label_info, "label_info": segment_entries(present, info)}
            # What makes DICOM SEG of it sees our file: a client's may have been made to harm its reader.
            checked = str(write_mask(labels, geometry, Path(folder) / "label"))
            self._remove_file(image_id, label_tag)
            saved = str(super().save_label(image_id, checked, label_tag, said, label_id))
        DICOMWebDatastore.get_labeled_images.cache_clear()  # else the image stays unlabelled for two hours
        return saved

    def get_label_uri(self, label_id: str, label_tag: str, image_id: str = "") -> str:
        """The file of a label that the server keeps, by the id of its image; "" where there is none."""
        return str(IndexedStore.get_label_uri(self, image_id or label_id, label_tag))

    def _remove_file(self, image: str, tag: str) -> None:
        """Remove the file of a label that another will take the place of: under another ending it would come back."""
        file = self.get_label_uri(image, tag)
        if file:
            Path(file).unlink(missing_ok=True)

    def _submitted(self, file: str, image: str) -> tuple[np.ndarray, Geometry]:
        refuse_detached(file)
        if not file.endswith(".bin"):
            return read_submitted(file, image)
        with tempfile.TemporaryDirectory() as folder:
            return read_submitted(raw_label(Path(file), image, Path(folder) / "label.nii.gz"), image)

    def _download_labeled_data(self) -> None:
        """Bring the kept labels up to date: of each image the newest DICOM SEG of the archive, whoever wrote it.

        MONAI Label's own would keep the first one that it saw, and forget what its segments are called.
        """
        newest = self._newest_segmentations()
        for image in set(IndexedStore.get_labeled_images(self)) - newest.keys():
            IndexedStore.remove_label(self, image, DefaultLabelTag.FINAL)
            self.refresh()
        for image, series in newest.items():
            if self.get_label_info(image, DefaultLabelTag.FINAL).get("SeriesInstanceUID") != series:
                self._keep_segmentation(image, series)

    def _newest_segmentations(self) -> dict[str, str]:
        """The series of the newest DICOM SEG by image."""
        found: dict[str, tuple[str, str]] = {}
        images = set(self.list_images())
        for series in map(Dataset.from_json, self._client.search_for_series(search_filters={"Modality": "SEG"})):
            study, uid = str(series.StudyInstanceUID), str(series.SeriesInstanceUID)
            header = Dataset.from_json(self._client.retrieve_series_metadata(study, uid)[0])
            when = f"{header.get('ContentDate') or ''}{header.get('ContentTime') or ''}"
            for reference in header.get("ReferencedSeriesSequence") or []:
                image = str(reference.SeriesInstanceUID)
                if image in images and when >= found.get(image, ("", ""))[0]:
                    found[image] = (when, uid)
        return {image: uid for image, (_, uid) in found.items()}

    def _keep_segmentation(self, image: str, series: str) -> None:
        """Fetch a DICOM SEG of the archive as the label of an image."""
        self.get_image_uri(image)
        with tempfile.TemporaryDirectory() as folder:
            dicom_web_download_series(None, series, folder, self._client, self._fetch_by_frame)
            try:
                file = dicom_to_nifti(folder, is_seg=True)
                label = lay_on_image(file, self.get_image_uri(image), Path(file).with_suffix(".nii.gz"))
                Path(file).unlink()
            except Exception as error:  # pydicom-seg raises nearly all built-in ones on what it cannot hold
                logger.warning("the DICOM SEG %s of the archive is left out: %s", series, error)
                return
            said = {**self._dicom_info(series), "label_info": read_segments(folder)}
        self._remove_file(image, DefaultLabelTag.FINAL)
        IndexedStore.save_label(self, image, str(label), DefaultLabelTag.FINAL, said)
        label.unlink()

    def _dicom_info(self, series_id: str) -> dict[str, Any]:
        """What is kept of a series, and logged by MONAI Label: nothing that says whose it is."""
        known = super()._dicom_info(series_id)
        return {name: known[name] for name in ("SeriesInstanceUID", "StudyInstanceUID", "Modality")}
