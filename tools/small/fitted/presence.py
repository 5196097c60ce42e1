"""Fit the factors by which a preset decides whether a picture shows what is asked.

    python -m tools.small.fitted.presence DATA          # factors for preset small, and how well they do

DATA holds open/segmentation.csv and segmentation.csv. The factors are fitted on the side to choose by and on drawn
pictures, in wordings drawn by chance; what is printed is of the test side. A pair of a picture and a text counts where
it is known whether the picture shows it: the target of its own table, what its kind of picture can hold and the table
tells, what only other kinds hold, and words that are none of medicine. Slices of volumes have factors of their own,
fitted on sections of bodies: there the question is not whether such a picture can hold a thing, but how near it lies.
"""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
import typer
from numpy.typing import NDArray
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.metrics.localisation import presence_auc
from medclipsam_monai.networks.known_texts import KnownTexts
from medclipsam_monai.networks.protocols import TextImageEncoder
from medclipsam_monai.phantoms import make_phantom
from medclipsam_monai.phantoms.phantom import TASKS as PHANTOMS
from medclipsam_monai.phantoms.seeds import REAL_TRAINING
from medclipsam_monai.presets.parameters import PresenceParameters
from medclipsam_monai.presets.preset import load_preset
from medclipsam_monai.zero_shot.build import build_network
from medclipsam_monai.zero_shot.encoded import denials
from medclipsam_monai.zero_shot.presence import CalibratedPresence
from tools.small.anatomy import WAYS, draw_head_section, draw_torso
from tools.small.course import training_rows
from tools.small.pictures import HALVES, Picture, half_of, read_pictures, read_rows
from tools.small.texts.words import ABSENT, CONCEPTS, NAMES, PRESENT, STRANGERS, UNKNOWN, say, states

_WORDINGS = 10
Shares = tuple[float, float, float]
"""Weights of the pairs that are there, of those absent in a kind of picture that can hold them, and of all others."""
ASKED: Shares = (0.85, 0.075, 0.075)
"""Of pictures people mostly ask what they expect to see."""
SECTIONS: Shares = (0.45, 0.55, 0.0)
"""Of a volume they ask what its body has, which is there in some of its slices."""
_SECTION_KINDS = ("liver_ct", "brain_mri")
_NONSENSE = (
    "hello world", "stock prices", "my holiday", "asdf qwer", "the answer", "a person on a beach", "guitar", "pizza",
    "blorp vint", "yes please", "tsk tsk tsk", "how is the weather?", "three blind mice", "quarterly revenue",
    "import numpy as np", "xqzt", "a red bicycle", "to be or not to be", "football match", "no idea",
)  # fmt: skip


@dataclass(frozen=True)
class Pairs:
    """Pictures and texts of which it is known whether the one shows the other.

    Attributes:
        features: (N, 4), see `CalibratedPresence.features`.
        shown: (N,) bool.
        weight: (N,), by which each thing in each kind of picture counts alike.
        hard: (N,) bool, absent in a kind of picture that can hold it.
    """

    features: Tensor
    shown: NDArray[np.bool_]
    weight: NDArray[np.float64]
    hard: NDArray[np.bool_]


def gather(data: Path, half: str, limit: int) -> list[Picture]:
    """Real pictures of one side of the split, at most so many of a kind, and drawn ones of seeds for that side."""
    rows = training_rows(data, half)
    rows += [r for r in read_rows(data / "segmentation.csv", {"lung_xray": "chest_xray"}) if half_of(r.group) == half]
    pictures = []
    for kind in dict.fromkeys(row.kind for row in rows):
        images = list(dict.fromkeys(row.image for row in rows if row.kind == kind))
        order = np.random.default_rng(0).permutation(len(images))[: limit or None]
        chosen = {images[k] for k in order}
        pictures += read_pictures([row for row in rows if row.image in chosen])
    side = HALVES.index(half)
    for task in PHANTOMS:
        for seed in REAL_TRAINING.seeds(limit or 60, 30_000 * side):
            phantom = make_phantom(task, seed, captions=0)
            pixels = np.repeat(np.round(phantom.image * 255).astype(np.uint8)[..., None], 3, axis=2)
            shown = set(phantom.masks) & CONCEPTS.keys()
            pictures.append(Picture(task, pixels, dict(phantom.masks), states(task, shown)))
    for place, draw in enumerate(draw for ways in WAYS.values() for draw in ways):
        rng = np.random.default_rng([91, side, place])
        pictures += [draw(rng) for _ in range(limit or 60)]
    return pictures


def gather_sections(data: Path, half: str, limit: int) -> list[Picture]:
    """Drawn sections of head and torso, five times so many of each, and real ones, of one side of the split."""
    pictures = read_pictures([row for row in training_rows(data, half) if row.kind in _SECTION_KINDS])
    for place, draw in enumerate((draw_head_section, draw_torso)):
        rng = np.random.default_rng([92, HALVES.index(half), place])
        pictures += [draw(rng) for _ in range(5 * (limit or 60))]
    return pictures


def encode(encoder: TextImageEncoder, pictures: Sequence[Picture]) -> Tensor:
    """Pictures to unit vectors (B, E)."""
    squares = (torch.from_numpy(p.pixels.transpose(2, 0, 1).astype(np.float32) / 255)[None] for p in pictures)
    with torch.inference_mode():
        return torch.cat([encoder.encode_image(square).cpu() for square in squares])


def pair(
    encoder: TextImageEncoder,
    presence: CalibratedPresence,
    pictures: Sequence[Picture],
    seed: int,
    shares: Shares = ASKED,
) -> Pairs:
    """Every picture with every concept in some wordings, and with what no image teaches."""
    rng = np.random.default_rng(seed)
    texts, concepts, open_kinds = list[str](), list[int](), list[tuple[str, ...]]()
    for name, concept in CONCEPTS.items():
        for number in range(_WORDINGS):
            kind = concept.kinds[int(rng.integers(len(concept.kinds)))]
            texts.append(concept.names[number % len(concept.names)] if number < 4 else say(name, kind, rng).text)
            concepts.append(NAMES.index(name))
            open_kinds.append(concept.kinds)
    for kinds, every in STRANGERS:
        names = _understood(encoder, every)
        texts += names
        concepts += [-1] * len(names)
        open_kinds += [kinds] * len(names)
    with torch.inference_mode():
        vectors, denied = encoder.encode_text(texts).cpu(), encoder.encode_text(denials(texts)).cpu()
        features = presence.features(encode(encoder, pictures), vectors, denied)
    state = np.stack([picture.state for picture in pictures])
    stranger = np.array([[UNKNOWN if p.kind in kinds else ABSENT for kinds in open_kinds] for p in pictures])
    truth = np.where(np.array(concepts) >= 0, state[:, concepts], stranger)
    own = np.array([[p.kind in kinds for kinds in open_kinds] for p in pictures])
    groups = [[f"{p.kind} {c if o else -1} {t}" for c, o, t in zip(concepts, row, shown, strict=True)]
              for p, row, shown in zip(pictures, own, truth, strict=True)]  # fmt: skip
    known = truth != UNKNOWN
    _, index, count = np.unique(np.array(groups)[known], return_inverse=True, return_counts=True)
    shown, weight = truth[known] == PRESENT, 1 / count[index]
    hard = own[known] & ~shown
    for part, share in zip((shown, hard, ~shown & ~hard), shares, strict=True):
        if part.any():
            weight[part] *= share / weight[part].sum()
    counted = weight > 0
    features = features[torch.from_numpy(known)][torch.from_numpy(counted)]
    return Pairs(features, shown[counted], weight[counted], hard[counted])


def _understood(encoder: TextImageEncoder, texts: Sequence[str]) -> list[str]:
    """Those of some texts that the encoder can take; what it has no word of is refused before anything is decided."""
    found = []
    for text in texts:
        with contextlib.suppress(InputError):
            encoder.encode_text([text])
            found.append(text)
    return found


def fit(pairs: Pairs, ridge: float = 1e-4, familiar: float | None = None) -> PresenceParameters:
    """The factors of the logistic function that fits best.

    Args:
        pairs: to fit them on.
        ridge: weight of the sum of their squares.
        familiar: that factor, where the pairs do not tell it; None where they do.
    """
    factors = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    x = torch.cat([pairs.features.double(), torch.ones(len(pairs.features), 1, dtype=torch.float64)], 1)
    given = torch.zeros(len(x), dtype=torch.float64)
    if familiar is not None:
        given, x[:, 3] = familiar * x[:, 3], 0
    truth, weight = torch.from_numpy(pairs.shown).double(), torch.from_numpy(pairs.weight)
    optimiser = torch.optim.LBFGS([factors], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        entropy = F.binary_cross_entropy_with_logits(x @ factors + given, truth, reduction="none")
        total: Tensor = (entropy * weight).sum() + ridge * factors[:4].square().sum()
        total.backward()
        return total.detach()

    optimiser.step(loss)
    text, denial, known, found, bias = (round(float(value), 2) for value in factors.detach())
    return PresenceParameters(
        bias=bias, text=text, denial=denial, known=known, familiar=found if familiar is None else familiar
    )


def probabilities(pairs: Pairs, of: PresenceParameters) -> NDArray[np.float64]:
    """(N,) by the factors."""
    found = (pairs.features @ torch.tensor([of.text, of.denial, of.known, of.familiar]) + of.bias).sigmoid()
    return found.double().numpy()


def calibration_error(found: NDArray[np.float64], pairs: Pairs, bins: int = 15) -> float:
    """Expected calibration error: how far the share of what is shown is from the probability, over bins of it."""
    place = np.minimum((found * bins).astype(int), bins - 1)
    total = 0.0
    for k in range(bins):
        part = place == k
        if part.any():
            weight = pairs.weight[part]
            total += abs(float((weight * (pairs.shown[part] - found[part])).sum()))
    return total / float(pairs.weight.sum())


def report(pairs: Pairs, of: PresenceParameters) -> str:
    """How well the factors do, in words."""
    found, shown = probabilities(pairs, of), pairs.shown
    w = pairs.weight
    share = lambda part, hit: float(w[part & hit].sum() / w[part].sum())  # noqa: E731
    others = ~shown & ~pairs.hard
    elsewhere = f", in other kinds {share(others, found >= 0.5):.3f}" if others.any() else ""
    return (
        f"AUC {presence_auc(found, shown):.3f}; at 0.5: lost {share(shown, found < 0.5):.3f}, "
        f"painted where absent in its kind of picture {share(pairs.hard, found >= 0.5):.3f}{elsewhere}; "
        f"expected calibration error "
        f"{calibration_error(found, pairs):.3f}"
    )


def nonsense_painted(encoder: TextImageEncoder, presence: CalibratedPresence, pictures: Sequence[Picture]) -> float:
    """Share of pictures and words that are none of medicine where the words would be painted."""
    with torch.inference_mode():
        texts = _understood(encoder, _NONSENSE)
        vectors = [encoder.encode_text(said).cpu() for said in (texts, denials(texts))]
        return float((presence(encode(encoder, pictures), *vectors) >= 0.5).float().mean())


def within_a_kind(encoder: TextImageEncoder, presence: CalibratedPresence, data: Path) -> str:
    """How well breasts with a tumour are told from those without, of a set that nothing was learnt from, in words."""
    rows = read_rows(data / "segmentation.csv", {"breast_ultrasound": "breast_ultrasound"})
    findings = {row.image: row.finding for row in rows}
    with torch.inference_mode():
        vectors = [encoder.encode_text([text]).cpu() for text in ("breast tumor", "no breast tumor")]
        found = presence(encode(encoder, read_pictures(rows)), *vectors)[:, 0].numpy()
    tumour = np.array([finding != "normal" for finding in findings.values()])
    return (
        f"breast tumors of segmentation.csv, {tumour.sum()} images with and {(~tumour).sum()} without: AUC "
        f"{presence_auc(found, tumour):.3f}; at 0.5: lost {(found[tumour] < 0.5).mean():.3f}, painted "
        f"{(found[~tumour] >= 0.5).mean():.3f}"
    )


def main(
    data: Annotated[Path, typer.Argument(help="Folder of open/segmentation.csv and segmentation.csv.")],
    preset: Annotated[str, typer.Option(help="A name or a JSON file that says what its weights know.")] = "small",
    limit: Annotated[int, typer.Option(help="Pictures of a kind; 0 for all.")] = 60,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "cpu",
) -> None:
    """Print the factors, as the preset's "presence" and "slice_presence", and how well they do."""
    warnings.simplefilter("ignore")
    try:
        chosen = load_preset(preset).with_settings({"presence_threshold": 0.0})
        network = build_network(chosen, device)
        choose, test = gather(data, "choose", limit), gather(data, "test", limit)
        sections = {half: gather_sections(data, half, limit) for half in ("choose", "test")}
    except InputError as error:
        typer.echo(f"presence: {error}", err=True)
        raise typer.Exit(2) from error
    encoder = network.encoder
    known = KnownTexts(encoder, chosen.knows, chosen.stranger_below).vectors.cpu()
    plain = CalibratedPresence(PresenceParameters(), known)
    factors = fit(pair(encoder, plain, choose, 0))
    presence = CalibratedPresence(factors, known)
    typer.echo(f'"presence": {json.dumps(asdict(factors))}')
    near = {half: pair(encoder, plain, of, 0, SECTIONS) for half, of in sections.items()}
    of_slices = fit(near["choose"], familiar=factors.familiar)
    typer.echo(f'"slice_presence": {json.dumps(asdict(of_slices))}')
    for half, pairs in near.items():
        typer.echo(f"{half}, {len(sections[half])} sections: {report(pairs, of_slices)}")
    for name, pictures, seed in (("chosen by", choose, 0), ("test", test, 1)):
        typer.echo(f"{name}, {len(pictures)} pictures: {report(pair(encoder, presence, pictures, seed), factors)}")
    typer.echo(f"nonsense painted: {nonsense_painted(encoder, presence, test):.2%}")
    typer.echo(within_a_kind(encoder, presence, data))


if __name__ == "__main__":
    typer.run(main)
