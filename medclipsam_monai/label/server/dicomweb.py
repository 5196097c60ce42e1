"""MONAI Label's DICOMweb datastore, with what comes in checked and no patient's name kept."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, cast

from fastapi import HTTPException
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.interfaces.datastore import DefaultLabelTag

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import write_mask
from medclipsam_monai.label.http_errors import NOT_FOUND, http_errors
from medclipsam_monai.label.label_files import read_submitted
from medclipsam_monai.label.server.detached import refuse_detached


class CheckedDicomweb(DICOMWebDatastore):
    """A `DICOMWebDatastore` that refuses what would only fail later, and says why."""

    @classmethod
    def of(cls, datastore: DICOMWebDatastore) -> CheckedDicomweb:
        """The same datastore with the checks: MONAI Label makes client and datastore in one go, of its own class."""
        datastore.__class__ = cls
        return cast(CheckedDicomweb, datastore)

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
        return str(super().get_image_uri(image_id))

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any], label_id: str = ""
    ) -> str:
        """Keep a label; a final one goes to the archive as DICOM SEG.

        Raises:
            HTTPException: 404 for an unknown series, 422 for a label that is broken, empty or of another size.
        """
        image = self.get_image_uri(image_id)
        with tempfile.TemporaryDirectory() as folder, http_errors():
            if not label_filename.endswith(".bin"):  # a viewer's raw pixels, which MONAI Label lays on the image
                refuse_detached(label_filename)
                labels, geometry = read_submitted(label_filename, image)
                if label_tag == DefaultLabelTag.FINAL and not labels.any():
                    raise InputError("the label is empty: DICOM SEG has no place for a label without a pixel")
                # What makes DICOM SEG of it sees our file: a client's may have been made to harm its reader.
                label_filename = str(write_mask(labels, geometry, Path(folder) / "label"))
            saved = str(super().save_label(image_id, label_filename, label_tag, label_info, label_id))
        DICOMWebDatastore.get_labeled_images.cache_clear()  # else the image stays unlabelled for two hours
        return saved

    def _dicom_info(self, series_id: str) -> dict[str, Any]:
        """What is kept of a series, and logged by MONAI Label: nothing that says whose it is."""
        known = super()._dicom_info(series_id)
        return {name: known[name] for name in ("SeriesInstanceUID", "StudyInstanceUID", "Modality")}
