"""MONAI Label's folder of images and labels, with what comes in checked."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi import HTTPException

from medclipsam_monai.base.checked_fields import shown
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.value_checks import integer
from medclipsam_monai.io import read_image, write_mask
from medclipsam_monai.label.http_errors import CONFLICT, NOT_FOUND, http_errors
from medclipsam_monai.label.label_files import read_submitted
from medclipsam_monai.label.label_names import check_label_info, named
from medclipsam_monai.label.served_classes import ServedClasses
from medclipsam_monai.label.server.detached import refuse_detached
from medclipsam_monai.label.store_index import IndexedStore
from medclipsam_monai.label.whole_labels import copy_whole, finish_label, keep_label

EXTENSIONS = ("*.nii.gz", "*.nii", "*.nrrd", "*.mha", "*.png", "*.jpg", "*.jpeg", "*.tif", "*.tiff", "*.bmp", "*.dcm")
"""Images that are served; longer endings before the shorter ones that they end with."""
_UNSAFE = re.compile(r"[/\\]|^[.\s]|[\s.]$")
_LONGEST_ID = 200
_SECONDS = integer(0, 2**33)  # of the epoch


class CheckedDatastore(IndexedStore):
    """A `LocalDatastore` that refuses what would only fail later, and says why.

    Args:
        folder: of the images; labels go to its folder ``labels``.
        extensions: patterns of the images' names.
        auto_reload: see images that are copied into the folder while the server runs.
        classes: by which labels are named whose client does not say what their numbers are.
    """

    def __init__(
        self,
        folder: str,
        extensions: Sequence[str] = EXTENSIONS,
        auto_reload: bool = True,
        classes: ServedClasses | None = None,
    ) -> None:
        copy_whole()
        self._classes = ServedClasses() if classes is None else classes
        super().__init__(folder, extensions=extensions, auto_reload=auto_reload)
        finish_label(self)

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Add an image that can be read.

        Raises:
            HTTPException: 422 for a broken file, one of a kind that is not served, or a name with a folder in it;
                409 where a labelled image has the name.
        """
        with http_errors():
            image_id = plain(image_id or self._to_id(os.path.basename(image_filename))[0], "an image's id")
            try:
                refuse_detached(image_filename)
                self._check_ending(image_filename)
                read_image(image_filename)
            except InputError as error:
                raise InputError(f"image {image_id} was not taken: {_without(error, image_filename)}") from error
        if self.get_labels_by_image_id(image_id):
            raise HTTPException(CONFLICT, f"image {image_id} has labels; remove it first, or give another id")
        added: str = super().add_image(image_id, image_filename, image_info)
        return added

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Keep a label on its image's own grid: for pictures a grey PNG, whatever kind of file the client sent.

        Raises:
            HTTPException: 404 for an unknown image, 422 for a broken label, one of another size, or an unsafe tag.
        """
        self._init_from_datastore_file()  # another process may have written scores meanwhile
        image = self.known_image(image_id)
        with tempfile.TemporaryDirectory() as folder, http_errors():
            tag = plain(getattr(label_tag, "value", label_tag), "a label's tag")
            try:
                refuse_detached(label_filename)
                labels, geometry = read_submitted(label_filename, image)
                info = named(labels, label_info.get("label_info"), self._classes, bool(label_info.get("client_id")))
            except InputError as error:
                raise InputError(f"the label of {image_id} was not taken: {_without(error, label_filename)}") from error
            checked = write_mask(labels, geometry, Path(folder) / "label")
            said = {**label_info, "label_info": info} if info else label_info
            return keep_label(self, {"image": image_id, "tag": tag, "info": said}, checked)

    def _to_id(self, file: str) -> tuple[str, str]:
        """A file's name without its ending, and that; MONAI Label's own cuts the ending out of the middle too."""
        for ending in self._endings():
            if file.endswith(ending):
                return file.removesuffix(ending), ending
        stem, ending = os.path.splitext(file)
        return stem, ending

    def _endings(self) -> list[str]:
        return sorted((pattern.removeprefix("*") for pattern in self._extensions), key=len, reverse=True)

    def _check_ending(self, file: str) -> None:
        if not file.endswith(tuple(self._endings())):
            raise InputError(f"{file}: the name of an image must end in one of {', '.join(self._endings())}")

    def get_image_uri(self, image_id: str) -> str:
        """The file of an image; "" where there is none, or where it leads out of the folder."""
        return self._served(super().get_image_uri(image_id))

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """The file of a label; "" where there is none, or where it leads out of the folder."""
        return self._served(super().get_label_uri(label_id, label_tag))

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        """Images and their labels, those left out that `get_image_uri` leaves out."""
        pairs = super().datalist(full_path)
        return [
            pair for pair in pairs if not full_path or (self._served(pair["image"]) and self._served(pair["label"]))
        ]

    def _list_files(self, path: str, patterns: Sequence[str]) -> dict[str, str]:
        """The files of a folder that are served, by name."""
        found: dict[str, str] = super()._list_files(path, patterns)
        return {name: file for name, file in found.items() if self._served(os.path.realpath(os.path.join(path, file)))}

    def _served(self, path: str) -> str:
        """A real path, or "" for a link to elsewhere and for a header whose pixels lie in another file."""
        if not path or not Path(path).is_relative_to(os.path.realpath(self._datastore_path)):
            return ""
        try:
            refuse_detached(path)
        except (InputError, OSError):
            return ""
        return path

    def known_image(self, image_id: str) -> str:
        """The file of an image.

        Raises:
            HTTPException: 404 if there is no such image.
        """
        path = self.get_image_uri(image_id)
        if not path:
            total = len(self.list_images())
            raise HTTPException(NOT_FOUND, f"there is no image {shown(image_id)} among the {total} of this datastore")
        return path

    def remove_image(self, image_id: str) -> None:
        """Remove an image and its labels.

        Raises:
            HTTPException: 404 if there is no such image.
        """
        self.known_image(image_id)
        super().remove_image(image_id)
        self.refresh()

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Remove a label.

        Raises:
            HTTPException: 404 if there is no such label.
        """
        self._known_label(label_id, label_tag)
        super().remove_label(label_id, label_tag)
        self.refresh()

    def _known_label(self, label_id: str, label_tag: str) -> None:
        if not self.get_label_uri(label_id, label_tag):
            raise HTTPException(NOT_FOUND, f"there is no label {shown(label_id)} with the tag {shown(label_tag)}")

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Add to what is known of an image, such as its scores.

        Raises:
            HTTPException: 404 if there is no such image.
        """
        self._init_from_datastore_file()  # another process may have saved a label meanwhile
        self.known_image(image_id)
        super().update_image_info(image_id, info)

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Add to what is known of a label, such as its segments' names.

        Raises:
            HTTPException: 404 if there is no such label, 422 for names that are none, or a time that is none.
        """
        self._known_label(label_id, label_tag)
        with http_errors():
            check_label_info(info.get("label_info") or [])
            if not _SECONDS.holds(info.get("ts", 0)):
                raise InputError(f"ts must be {_SECONDS.says}, the seconds of the epoch, got {shown(info['ts'])}")
        super().update_label_info(label_id, label_tag, info)


def plain(name: str, what: str) -> str:
    """A name that is a file's name in a folder and nothing else; viewers name images "2: CT Body (1)".

    Args:
        name: as a client sent it.
        what: what it names, for the error.

    Raises:
        InputError: it holds a folder or what cannot be printed, is hidden, or is too long.
    """
    if not name or not name.isprintable() or _UNSAFE.search(name) or len(name.encode(errors="replace")) > _LONGEST_ID:
        raise InputError(
            f"{what} must be letters, digits, spaces and signs other than / and \\, of at most {_LONGEST_ID} bytes, "
            f"neither begin nor end with a dot or a space, got {shown(name)}"
        )
    return name


def _without(error: InputError, path: str) -> str:
    """An error's line without the server's temporary path, which means nothing to a client."""
    return str(error).replace(f"{path}: ", "").replace(path, "the file")
