"""The families of promptable networks that are taken from transformers, as data.

A ``config.json`` names its family by ``model_type``. That name is looked up here and nowhere else: what a file says is
never imported, fetched or evaluated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.value_checks import shown

Triple = tuple[float, float, float]

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_HALF = (0.5, 0.5, 0.5)
_OF_VIDEO = (
    "memory_",
    "mask_downsample.",
    "object_pointer_proj.",
    "temporal_positional_encoding_projection_layer.",
    "no_memory_positional_encoding",
    "no_object_pointer",
    "occlusion_spatial_embedding_parameter",
)


@dataclass(frozen=True)
class Family:
    """One family.

    Attributes:
        name: as people call it, with its paper.
        model: name of its class in transformers.
        since: the first version of transformers that has it.
        architectures: what ``architectures`` in its files may hold: the image's class and the video's.
        letterbox: the longer side of a picture fits the square and the rest is padding; else both sides are stretched.
        mean: of its pictures in [0, 1], where the folder says nothing else.
        std: likewise.
        left_out: beginnings of the tensors' names that only a video needs.
        renamed: beginnings of names in the file and what they are in the network, one after the other.
        inside: key of its part in the ``config.json`` of several networks; "" where the file is its own.
        video: name of the class in transformers that has a memory of what it saw, of which the files hold the whole;
            "" where they hold the picture's network alone, or their memory is not used.
    """

    name: str
    model: str
    since: str
    architectures: tuple[str, ...]
    letterbox: bool = False
    mean: Triple = _IMAGENET_MEAN
    std: Triple = _IMAGENET_STD
    left_out: tuple[str, ...] = _OF_VIDEO
    renamed: tuple[tuple[str, str], ...] = ()
    inside: str = ""
    video: str = ""

    @property
    def config(self) -> str:
        """Name of its configuration's class in transformers."""
        return self.model.removesuffix("Model") + "Config"


SAM2 = Family("SAM 2 (arXiv:2408.00714)", "Sam2Model", "4.56", ("Sam2Model", "Sam2VideoModel"))
EDGETAM = Family(
    "EdgeTAM (arXiv:2501.07256)",
    "EdgeTamModel",
    "4.57",
    ("EdgeTamModel", "EdgeTamVideoModel"),
    left_out=(*_OF_VIDEO, "spatial_perceiver."),
)
SAM2_VIDEO = replace(SAM2, video="Sam2VideoModel")
EDGETAM_VIDEO = replace(EDGETAM, video="EdgeTamVideoModel")
SAM_HQ = Family("SAM-HQ (arXiv:2306.01567)", "SamHQModel", "4.52", ("SamHQModel",), letterbox=True, left_out=())
SAM3_TRACKER = Family(
    "SAM 3's tracker (arXiv:2511.16719)",
    "Sam3TrackerModel",
    "5.0",
    ("Sam3TrackerModel", "Sam3TrackerVideoModel"),
    mean=_HALF,
    std=_HALF,
    left_out=(*_OF_VIDEO, "detector_model."),
    renamed=(
        ("tracker_model.", ""),
        ("detector_model.vision_encoder.backbone.", "vision_encoder.backbone."),
        ("tracker_neck.", "vision_encoder.neck."),
    ),
)
SAM3 = replace(SAM3_TRACKER, architectures=("Sam3VideoModel",), inside="tracker_config")

FAMILIES: Mapping[str, Family] = {
    "sam2": SAM2,
    "sam2_video": SAM2_VIDEO,
    "edgetam": EDGETAM,
    "edgetam_video": EDGETAM_VIDEO,
    "sam_hq": SAM_HQ,
    "sam3_tracker": SAM3_TRACKER,
    "sam3_tracker_video": SAM3_TRACKER,
    "sam3_video": SAM3,
}
"""``model_type`` -> family. Meta's own folders hold the video's network, of which the image's is a part."""


def family_of(settings: Mapping[str, Any], where: str) -> Family:
    """The family that a ``config.json`` names.

    Args:
        settings: the object in it.
        where: its path, for the error.

    Raises:
        InputError: it names none, or one that is not known here.
    """
    kind = settings.get("model_type")
    if type(kind) is not str or kind not in FAMILIES:
        found = "no model_type" if kind is None else f"model_type {shown(kind)}"
        raise InputError(f"{where} has {found}; expected one of {', '.join(FAMILIES)}")
    family = FAMILIES[kind]
    architectures = settings.get("architectures") or []
    if type(architectures) is not list or not all(name in family.architectures for name in architectures):
        given = architectures[0] if type(architectures) is list else architectures
        raise InputError(
            f"architectures in {where} is {shown(given)}; expected {' or '.join(family.architectures)}, which "
            f"model_type {kind} has"
        )
    return family


def library_class(family: Family, name: str) -> Any:
    """A class of transformers that a family is made of, by the name in the table above.

    Raises:
        InputError: the installed transformers has no such class.
    """
    import transformers

    found = getattr(transformers, name, None)
    if found is None:
        raise InputError(
            f"{family.name} needs transformers {family.since} or newer, got {transformers.__version__}; "
            f"pip install 'transformers>={family.since}'"
        )
    return found
