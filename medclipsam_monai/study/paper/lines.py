"""The lines of the table: which networks and which way each takes, or what has to be trained for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medclipsam_monai.base.errors import InputError, plain_reason
from medclipsam_monai.presets.preset import Preset, load_preset
from medclipsam_monai.study.conditions import FEW_SHOT, PROTOTYPES, RIVALS, UNIVERSEG
from medclipsam_monai.weights.registry import resolve

CHAIN = "chain"
"""The way of MedCLIP-SAM: saliency, coarse mask, visual prompts, SAM."""
OURS = "this package's chain"
RIVAL_PRESET = "biomedclip_sam_h"
"""Networks of the rivals: BiomedCLIP as published, and the SAM of MedCLIP-SAMv2."""
PRESETS = (
    "biomedclip_sam_b",
    "biomedclip_sam_l",
    "biomedclip_sam_h",
    "biomedclip_medsam",
    "biomedclip_sam2_tiny",
    "biomedclip_edgetam",
)
"""The chain with BiomedCLIP as published, in lines that the papers do not have."""


@dataclass(frozen=True, eq=False)
class Line:
    """A method that this command runs.

    Attributes:
        group: the part of the table that it stands in.
        method: as the table calls it.
        preset: whose networks and parameters are used.
        way: `CHAIN`, one of `RIVALS` or one of `FEW_SHOT`.
        published: key of the published figures; empty where there are none.
    """

    group: str
    method: str
    preset: Preset
    way: str
    published: str = ""

    @property
    def folder(self) -> str:
        """Where its scores lie below the output folder."""
        return f"scores/{self.networks}/{self.way}"

    @property
    def networks(self) -> str:
        """As the table calls them: the preset, but of UniverSeg its own network."""
        return UNIVERSEG if self.way == UNIVERSEG else self.preset.name


@dataclass(frozen=True)
class Untrained:
    """A method of the table that needs a training that this command does not do.

    Attributes:
        group: the part of the table that it stands in.
        method: as the table calls it.
        instead: what does it, in one line.
        published: key of the published figures; empty where there are none.
    """

    group: str
    method: str
    instead: str
    published: str = ""


_BUNDLE = "python -m monai.bundle run --config_file {} --dataset_dir IMAGES --text TEXT --test_dir HELD_OUT"
_TRAIN = _BUNDLE.format("configs/train.json")
_TRAIN_RESUNET = _BUNDLE.format("\"['configs/train.json','configs/train_resunet.json']\"")
_SCHEDULE = "--cyclic#epochs 600 --cyclic#per_cycle 10 --cyclic#iterations 250 --network_size nnunet"
_IN_BUNDLE = "not part of this command: train it in bundles/medclipsam_weak_segmentation with"
_PROTOTYPES = "prototypes (ProtoSAM's idea)"
_EXAMPLES = (
    "it needs labelled examples of other patients; run this again with `--examples FOLDER` or `--examples TABLE`"
)
_FEW, _WEAK, _FULL = "few-shot", "weakly supervised", "fully supervised"
UNTRAINED = (
    Untrained(
        _WEAK,
        "MedCLIP-SAM",
        f"{_IN_BUNDLE} `{_TRAIN_RESUNET}`",
        "MedCLIP-SAM, weak",
    ),
    Untrained(
        _WEAK,
        "nnU-Net, one checkpoint",
        f"{_IN_BUNDLE} `{_TRAIN} {_SCHEDULE}`, and take the last checkpoint's line of eval/test/summary.json",
        "nnU-Net, weak",
    ),
    Untrained(_WEAK, "MedCLIP-SAMv2", f"{_IN_BUNDLE} `{_TRAIN} {_SCHEDULE}`", "MedCLIP-SAMv2, weak"),
    Untrained(
        _FULL,
        "nnU-Net",
        f"{_IN_BUNDLE} `{_TRAIN} {_SCHEDULE} --given_dir MASKS`, true masks of all images",
        "nnU-Net, full",
    ),
)


def paper_lines(own: Preset) -> list[Line]:
    """The lines that this command runs, in the order of the table.

    Args:
        own: a preset whose networks run the chain and the rivals in lines of their own, where the table has none.

    Raises:
        InputError: a preset that is called like one of the table's and is another.
    """
    zero = "zero-shot"
    lines = [
        *_rivals(zero, load_preset(RIVAL_PRESET), "SaLIP", "SAMAug"),
        Line(zero, "MedCLIP-SAM", load_preset("biomedclip_v1"), CHAIN, "MedCLIP-SAM"),
        Line(zero, "MedCLIP-SAMv2", load_preset("medclip_samv2"), CHAIN, "MedCLIP-SAMv2"),
        Line(_FEW, _PROTOTYPES, load_preset(RIVAL_PRESET), PROTOTYPES),
        Line(_FEW, "UniverSeg", own, UNIVERSEG),
    ]
    beside = "not in the papers"
    lines += [Line(beside, OURS, load_preset(name), CHAIN) for name in PRESETS]
    there = {(line.preset.name, line.way) for line in lines}
    if any(line.preset.name == own.name and line.preset != own for line in lines):
        raise InputError(
            f"the papers' table has {own.name} with its own settings and weights; "
            "give yours as a preset file of another name"
        )
    added = [Line(beside, OURS, own, CHAIN), *_rivals(beside, own), Line(beside, _PROTOTYPES, own, PROTOTYPES)]
    return lines + [line for line in added if (own.name, line.way) not in there]


def _rivals(group: str, preset: Preset, salip: str = "", samaug: str = "") -> list[Line]:
    """A line for each rival; the published figures say nothing of SAMAug's four ways, and stand beside each."""
    found = []
    for way in RIVALS:
        name, _, how = way.partition("_")
        method = "SaLIP" if name == "salip" else f"SAMAug, {how}"
        found.append(Line(group, method, preset, way, salip if name == "salip" else samaug))
    return found


def what_lacks(line: Line, shown: bool) -> str:
    """Which weights of a line are not on this machine and how they get there, and whether it lacks examples.

    No network is asked.

    Args:
        line: of the table.
        shown: whether examples are given.

    Returns:
        Empty where nothing is missing.
    """
    said = [] if shown or line.way not in FEW_SHOT else [_EXAMPLES]
    for name in dict.fromkeys((UNIVERSEG,) if line.way == UNIVERSEG else (line.preset.clip, line.preset.sam)):
        try:
            resolve(name)
        except InputError as error:
            said.append(f"{name}: {plain_reason(error)}")
    return "; ".join(said)


def presets_of(lines: Sequence[Line]) -> list[Preset]:
    """The presets of some lines, each once, in their order."""
    return list({line.preset.name: line.preset for line in lines}.values())
