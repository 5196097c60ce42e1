"""The files of an answer, as `medclipsam segment` writes them for the same image and request: made when asked for."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import write_atomically
from medclipsam_monai.web.uploads.intake import without_folder
from medclipsam_monai.web.visits.visit import Visit
from medclipsam_monai.zero_shot.segmentation import Segmentation

WORDS: Mapping[str, str] = {
    "mask": "Mask",
    "labels": "Label names",
    "seg": "DICOM SEG",
    "overlay": "Overlay",
    "record": "Record",
    "all": "All (zip)",
}
"""What can be had, as the page calls it."""
_ENDS = {"mask": ("_mask.",), "labels": ("_labels.txt",), "overlay": ("_overlay.png",), "record": (".json",)}


def offered(segmentation: Segmentation) -> list[str]:
    """Which of `WORDS` there are of an answer."""
    kind, written_as = segmentation.geometry.kind, segmentation.geometry.suffix
    is_dicom = bool(segmentation.files) and kind == "dicom" and find_spec("highdicom") is not None
    found = {"labels": written_as == ".nii.gz", "seg": is_dicom and bool(segmentation.label_map.any())}
    return [name for name in WORDS if found.get(name, True)]


def download(visit: Visit, what: str) -> Path:
    """A file of a visitor's last answer.

    Raises:
        InputError: there is no answer, or no such file of it.
    """
    answer = visit.answer
    if answer is None or what not in WORDS:
        raise InputError("there is nothing to download yet; say first what to look for")
    segmentation = answer.segmentation
    folder = visit.folder / "out" / segmentation.request.key(segmentation.input_sha256)
    with visit.lock, without_folder(visit.folder):
        if what == "seg":
            return _with_seg(segmentation, folder / "seg")
        if what == "all":
            return _zipped(segmentation, folder)
        written = segmentation.save(folder / "files")
        found = [path for path in written if any(end in path.name[-20:] for end in _ENDS[what])]
    if not found:
        raise InputError(f"there is no such file of this image: {WORDS[what]}")
    return found[0]


def _with_seg(segmentation: Segmentation, folder: Path) -> Path:
    """The DICOM SEG, with the mask and the record of a request that asks for it, as the command line writes them."""
    told = {**segmentation.request.parameters, "dicom_seg": True}
    asked = replace(segmentation, request=replace(segmentation.request, parameters=told))
    written = [path for path in asked.save(folder, dicom_seg=True) if path.name.endswith("_seg.dcm")]
    if not written:
        raise InputError("nothing was found, so there is no DICOM SEG")
    return written[0]


def _zipped(segmentation: Segmentation, folder: Path) -> Path:
    files = segmentation.save(folder / "files")
    if "seg" in offered(segmentation):
        files.append(_with_seg(segmentation, folder / "seg"))

    def write(part: Path) -> None:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as packed:
            for path in files:
                packed.write(path, path.name)

    return write_atomically(folder / f"{segmentation.stem}.zip", write)
