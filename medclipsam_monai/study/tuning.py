"""M2IB's gamma and layer for a kind of image: by a few labelled images, as published, or by none.

The papers choose both by the Dice coefficient of the map at a threshold of 0.3 on three labelled images. Without labels
the choice goes to the map that best explains the agreement it is of: the image fits the text by the salient pixels
sooner than by the others (`insertion_minus_deletion`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medclipsam_monai.base.devices import resolve_device
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import read_object, write_json
from medclipsam_monai.io import ImageSource, find_inputs, hash_files, read_image
from medclipsam_monai.io.label_maps import find_given, read_label_map
from medclipsam_monai.metrics import insertion_minus_deletion, score_masks
from medclipsam_monai.networks.protocols import TextImageEncoder
from medclipsam_monai.presets.networks import load_encoder
from medclipsam_monai.presets.preset import Preset, preset_names
from medclipsam_monai.prompts import parse_targets
from medclipsam_monai.saliency.method import make_saliency
from medclipsam_monai.transforms import DisplayRange
from medclipsam_monai.weights.registry import resolve, weight_hash, weights_folder
from medclipsam_monai.zero_shot.encoded import mean_direction

PUBLISHED_GAMMAS, PUBLISHED_LAYERS, PUBLISHED_THRESHOLD = (0.1, 1.0, 2.0), (7, 8, 9), 0.3


@dataclass(frozen=True)
class TuningImage:
    """An image to choose by.

    Attributes:
        picture: (3, H, W) in [0, 1].
        mask: (H, W) bool, or None: there is no label.
    """

    picture: Tensor
    mask: Tensor | None = None


@dataclass(frozen=True, order=True)
class Candidate:
    """A choice of M2IB's two parameters."""

    gamma: float
    layer: int


def choose(
    encoder: TextImageEncoder,
    preset: Preset,
    images: Sequence[TuningImage],
    text: Tensor,
    candidates: Iterable[Candidate],
    known: Mapping[Candidate, float] | None = None,
    notify: Callable[[Candidate, float], None] = lambda candidate, score: None,
) -> dict[Candidate, float]:
    """Score candidates; the best has the highest score.

    Args:
        encoder: the CLIP.
        preset: whose other parameters of M2IB are kept; its method must be M2IB.
        images: all with a mask (score: mean Dice at a threshold of 0.3) or all without (insertion minus deletion).
        text: (E,), unit vector of what is looked for.
        candidates: what to try.
        known: scores from before.
        notify: called with each candidate when it is scored.

    Returns:
        The score of every candidate.

    Raises:
        InputError: no image, some labelled and some not, another saliency method, or a layer that the CLIP lacks.
    """
    if not images:
        raise InputError("there is no image to choose gamma and layer by; give at least one")
    if len({image.mask is None for image in images}) > 1:
        raise InputError("some images have a label and some have none; give labels for all or for none")
    method = preset.settings.saliency.get("method")
    if method != "m2ib":
        raise InputError(f"gamma and layer are M2IB's; preset {preset.name} uses {method}")
    tried = list(candidates)
    wrong = next((c.layer for c in tried if not 0 <= c.layer < encoder.num_blocks), None)
    if wrong is not None:
        raise InputError(f"layers go from 0 to {encoder.num_blocks - 1} in this CLIP, got {wrong}")
    scores = dict(known or {})
    for candidate in tried:
        if candidate not in scores:
            settings = {"saliency.gamma": candidate.gamma, "saliency.layer": candidate.layer}
            saliency = make_saliency(preset.with_settings(settings).settings.saliency)
            each = [_score(encoder, saliency, image, text[None]) for image in images]
            scores[candidate] = sum(each) / len(each)
        notify(candidate, scores[candidate])
    return scores


def _score(encoder: TextImageEncoder, method: Any, image: TuningImage, text: Tensor) -> float:
    saliency = method(encoder, image.picture[None].to(encoder.device), text)[0]
    if image.mask is None:
        return float(insertion_minus_deletion(encoder, image.picture, text, saliency)[0])
    return score_masks(saliency.cpu() >= PUBLISHED_THRESHOLD, image.mask[None]).dsc[0]


class ScoreCache:
    """Scores of candidates on disk, one file a preset, task and question.

    Args:
        folder: where they lie.
        preset: name of the preset.
        task: name of the task.
        question: all else that a score depends on (weights, parameters, texts, hashes of the images).
    """

    def __init__(self, folder: Path, preset: str, task: str, question: Mapping[str, Any]) -> None:
        digest = hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()[:16]
        self.path = folder / f"{preset}_{task}_{digest}.json"

    def read(self) -> dict[Candidate, float]:
        """What is known; nothing where the file is not there or damaged."""
        try:
            lines = read_object(self.path)
            return {Candidate(line["gamma"], line["layer"]): line["score"] for line in lines["scores"]}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def write(self, scores: Mapping[Candidate, float]) -> None:
        """Keep scores; the file is whole at any time."""
        lines = [{"gamma": c.gamma, "layer": c.layer, "score": score} for c, score in sorted(scores.items())]
        write_json({"scores": lines}, self.path)


def write_tuned_preset(path: Path, base: str, preset: Preset, task: str, best: Candidate, how: str) -> Path:
    """Write, or add to, a preset file with the task's parameters.

    Args:
        path: the file; where it is a tuned preset already its other tasks stay.
        base: name or path of the preset that it extends.
        preset: that preset.
        task: name of the task.
        best: the choice.
        how: one line about it, shown by `medclipsam presets`.

    Raises:
        InputError: the file is there and is no preset, or cannot be written.
    """
    content: dict[str, Any] = {"extends": base, "description": f"{preset.name}, gamma and layer chosen."}
    if base not in preset_names():
        content["extends"] = str(Path(base).resolve())
    tasks: dict[str, Any] = dict(preset.tasks)
    if path.is_file():
        tasks |= _tasks_there(path, content["extends"])
    own = {**tasks.get(task, {}), "description": how, "saliency.gamma": best.gamma, "saliency.layer": best.layer}
    content["tasks"] = {**tasks, task: own}
    write_json(content, path)
    return path


def _tasks_there(path: Path, base: str) -> dict[str, Any]:
    """The tasks of a tuned preset that is there already."""
    try:
        there = read_object(path)
        if there["extends"] == base:
            return dict(there["tasks"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise InputError(f"{path} is there and is no tuned preset of {base}; give another file")


def tune_folder(
    images: Sequence[str | Path],
    text: str,
    task: str,
    output: Path,
    *,
    labels: Path | None,
    preset: Preset,
    base: str,
    candidates: Sequence[Candidate],
    limit: int = 0,
    clip: str | None = None,
    device: str = "auto",
    notify: Callable[[Candidate, float], None] = lambda candidate, score: None,
) -> Candidate:
    """Choose for a folder of pictures and write the preset; scores are kept in the weights' folder.

    Args:
        images: files, folders or globs.
        text: what to look for, one class; see `parse_targets`.
        task: name of the task.
        output: preset file.
        labels: folder of masks, see `find_given`; None to choose without.
        preset: to start from.
        base: its name or path.
        candidates: what to try.
        limit: images at most; 0 for all.
        clip: CLIP weights in place of the preset's.
        device: see `resolve_device`.
        notify: see `choose`.

    Raises:
        InputError: see `choose`; images, labels or weights that cannot be used, or more than one class.
    """
    targets = parse_targets(text)
    if len(targets) != 1:
        raise InputError(f"gamma and layer are chosen for one class, got {len(targets)}")
    sources = find_inputs(images)[: limit or None]
    loaded = load_images(sources, labels)
    weights = resolve(preset.clip if clip is None else clip)
    encoder = load_encoder(preset.encoder, weights, preset.settings.fit, resolve_device(device))
    vector = mean_direction(encoder.encode_text(list(targets[0].sentences)))
    question = {
        "clip": weight_hash(weights),
        "fit": preset.settings.fit,
        "saliency": {k: v for k, v in preset.settings.saliency.items() if k not in ("gamma", "layer")},
        "sentences": targets[0].sentences,
        "images": [hash_files(source.files) for source in sources],
        "labelled": labels is not None and hash_tensors(image.mask for image in loaded),
    }
    cache = ScoreCache(weights_folder() / "tuned", preset.name, task, question)
    scores = cache.read()

    def keep(candidate: Candidate, score: float) -> None:
        scores[candidate] = score
        cache.write(scores)
        notify(candidate, score)

    found = choose(encoder, preset, loaded, vector, candidates, cache.read(), keep)
    best = max(candidates, key=found.__getitem__)
    kind = "labelled images" if labels is not None else "images without labels"
    write_tuned_preset(output, base, preset, task, best, f"gamma and layer chosen on {len(loaded)} {kind}")
    return best


def load_images(sources: Sequence[ImageSource], labels: Path | None) -> list[TuningImage]:
    """Pictures, with their masks where a folder of them is given.

    Raises:
        InputError: a file that cannot be used, a volume, or an image without a mask.
    """
    given = None if labels is None else find_given(labels, [source.stem for source in sources])
    loaded = []
    for source in sources:
        stored = read_image(source)
        picture = torch.as_tensor(DisplayRange()(stored)).as_subclass(Tensor)
        if picture.ndim != 3:
            raise InputError(f"{source.stem}: is a volume; give pictures to choose gamma and layer by")
        mask = None
        if given is not None:
            if source.stem not in given:
                raise InputError(f"{labels} has no mask of {source.stem}; give one for every image, or none")
            mask = torch.from_numpy(read_label_map(given[source.stem], stored.meta["geometry"], ["target"]) > 0)
        loaded.append(TuningImage(picture, mask))
    return loaded


def hash_tensors(tensors: Iterable[Tensor | None]) -> str:
    """SHA-256 over masks."""
    digest = hashlib.sha256()
    for tensor in tensors:
        if tensor is not None:
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
