"""A slice with its layers as one drawing in SVG; the page switches layers on and off by their class names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from medclipsam_monai.transforms import VisualPrompts
from medclipsam_monai.web.shown.drawing import colour, heat_data, outline, picture_data
from medclipsam_monai.web.shown.planes import Plane
from medclipsam_monai.web.visits.answer import Answer
from medclipsam_monai.web.visits.corrections import Mark
from medclipsam_monai.zero_shot.opened import OpenedImage
from medclipsam_monai.zero_shot.volumes.result import VolumeResult

LAYERS = ("mask", "saliency", "coarse", "prompts", "words", "clicks")
"""By the class names of their groups."""


@dataclass(frozen=True, eq=False)
class Scene:
    """What is drawn.

    Attributes:
        opened: the image.
        plane: how it is looked at.
        number: of the slice in this plane, from 0.
        answer: None before the first.
        marks: corrections.
        shown_class: whose saliency is drawn, from 0.
    """

    opened: OpenedImage
    plane: Plane
    number: int
    answer: Answer | None = None
    marks: Sequence[Mark] = ()
    shown_class: int = 0


def drawing(scene: Scene) -> str:
    """The whole drawing as SVG, in units of pixels of the smaller side."""
    plane, (across, down) = scene.plane, scene.plane.pixel_size()
    rows, columns = plane.sides[:2]
    width, height = columns * across, rows * down
    whole = f'width="{width:.2f}" height="{height:.2f}" preserveAspectRatio="none"'
    parts = [f'<image class="layer-image" {whole} href="{_picture(scene)}"/>']
    if scene.answer is not None:
        parts += _answered(scene, scene.answer, whole)
    parts.append(_group("clicks", _marks(scene)))
    words = f"Slice {scene.number + 1} of {plane.slices}, {plane.name}" if plane.name else "Picture"
    return (
        f'<svg class="drawing" viewBox="0 0 {width:.2f} {height:.2f}" data-columns="{columns}" data-rows="{rows}" '
        f'data-slice="{scene.number}" data-plane="{plane.name}" data-boxes="{int(plane.is_cut)}" role="img" '
        f'style="--ratio:{width / height:.4f}" aria-label="{escape(words + _found_words(scene))}">'
        f"<title>{escape(words)}</title>{''.join(parts)}</svg>"
    )


def _picture(scene: Scene) -> str:
    """The slice as an address that holds it; the last one of an image is kept, as texts and clicks leave it."""
    seen = (scene.plane.name, scene.number)
    kept = _kept_pictures.get(scene.opened)
    if kept is None or kept[0] != seen:
        kept = _kept_pictures[scene.opened] = (seen, picture_data(_pixels(scene)))
    return kept[1]


_kept_pictures: WeakKeyDictionary[OpenedImage, tuple[tuple[str, int], str]] = WeakKeyDictionary()


def _pixels(scene: Scene) -> np.ndarray:
    """The slice as a picture (h, w) or (h, w, 3) uint8; the channels of a grey image share their memory."""
    display = scene.opened.display
    if display.stride(0) == 0:
        values = _cut(scene, display[0])
    else:
        values = np.stack([_cut(scene, channel) for channel in display], axis=-1)
    return np.rint(np.clip(np.nan_to_num(values), 0, 1) * 255).astype(np.uint8)


def _cut(scene: Scene, values: Tensor) -> np.ndarray:
    return scene.plane.cut(values.numpy(), scene.number)


def _group(layer: str, parts: Iterable[str]) -> str:
    return f'<g class="layer-{layer}">{"".join(parts)}</g>'


def _answered(scene: Scene, answer: Answer, whole: str) -> list[str]:
    """The layers of an answer, the lowest first."""
    size, found = scene.plane.pixel_size(), answer.segmentation.found
    labels = _cut(scene, answer.segmentation.label_map)
    masks, coarse, words = [], [], []
    for k in range(len(found.names)):
        path = outline(labels == k + 1, size)
        masks.append(_path(path, f"fill:{colour(k)};stroke:{colour(k)}"))
        coarse.append(_path(outline(_cut(scene, found.coarse[k]), size), f"stroke:{colour(k)}"))
    by_name = {one.name: one for one in answer.reworded}
    for k, name in enumerate(found.names):
        for wording in by_name[name].wordings if name in by_name else ():
            words.append(_path(outline(_cut(scene, wording.mask), size), f"stroke:{colour(k)}"))
    layers = [_group("saliency", _saliency(scene, answer, whole)), _group("words", words)]
    return [*layers, _group("mask", masks), _group("coarse", coarse), _group("prompts", _prompts(scene, answer))]


def _path(d: str, style: str) -> str:
    return f'<path d="{d}" style="{style}" fill-rule="evenodd"/>' if d else ""


def _saliency(scene: Scene, answer: Answer, whole: str) -> list[str]:
    found = answer.segmentation.found
    if isinstance(found, VolumeResult) and "saliency" not in found.maps:
        return []
    k = min(scene.shown_class, len(found.names) - 1)
    return [f'<image {whole} href="{heat_data(_cut(scene, found.saliency[k]))}"/>']


def _prompts(scene: Scene, answer: Answer) -> list[str]:
    """The boxes and points that the segmenter was given, in slices of the plane that is cut."""
    found, network = answer.by_text.found, answer.segmenter.network
    if not scene.plane.is_cut:
        return []
    coarse = found.coarse if found.coarse.ndim == 3 else found.coarse[..., scene.number]
    if not bool(coarse.any()):
        return []
    size, parts = scene.plane.pixel_size(), []
    for k, prompts in enumerate(network.visual_prompts(coarse)):
        parts += _prompts_of_class(prompts, size, colour(k))
    return parts


def _prompts_of_class(prompts: VisualPrompts, size: tuple[float, float], paint: str) -> list[str]:
    parts = []
    for x0, y0, x1, y1 in torch.zeros(0, 4) if prompts.boxes is None else prompts.boxes:
        parts.append(_rectangle((float(x0), float(y0), float(x1), float(y1)), size, f"stroke:{paint}"))
    if prompts.points is not None:
        for x, y in prompts.points.reshape(-1, 2).tolist():
            parts.append(_spot(x, y, size, "point", f"fill:{paint}"))
    return parts


def _rectangle(box: Sequence[float], size: tuple[float, float], style: str) -> str:
    (x0, y0, x1, y1), (across, down) = box, size
    sides = f'x="{x0 * across:.1f}" y="{y0 * down:.1f}" width="{(x1 - x0 + 1) * across:.1f}"'
    return f'<rect {sides} height="{(y1 - y0 + 1) * down:.1f}" style="{style}"/>'


def _spot(x: float, y: float, size: tuple[float, float], kind: str, style: str = "") -> str:
    """A point whose size on the screen does not depend on the picture's: a line of no length with round ends."""
    place = f"M{(x + 0.5) * size[0]:.2f} {(y + 0.5) * size[1]:.2f}h0"
    dot = style.replace("fill", "stroke")
    return f'<path class="{kind} rim" d="{place}"/><path class="{kind} dot" d="{place}" style="{dot}"/>'


def _marks(scene: Scene) -> list[str]:
    """Clicks and boxes in this slice, of the plane that is cut."""
    if not scene.plane.is_cut:
        return []
    size = scene.plane.pixel_size()
    parts = []
    for mark in scene.marks:
        if mark.number == scene.number:
            if mark.is_box:
                parts.append(_rectangle(mark.place, size, ""))
            else:
                parts.append(_spot(mark.place[0], mark.place[1], size, "inside" if mark.inside else "outside"))
    return parts


def _found_words(scene: Scene) -> str:
    """What is seen of the masks in this slice, for those who do not see it."""
    if scene.answer is None:
        return ""
    labels = _cut(scene, scene.answer.segmentation.label_map)
    shown = [name for k, name in enumerate(scene.answer.segmentation.found.names) if (labels == k + 1).any()]
    return f"; shows {', '.join(shown)}" if shown else "; shows nothing that was asked for"
