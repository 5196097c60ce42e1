"""Captions of phantoms and the facts they claim, so that it is known which caption holds for which picture.

A fact is a string: "chest_xray", "lung mass", "no lung mass", "lung mass/large", "lung mass/left". A caption claims
some facts and holds for a picture that has them all; a batch's false negatives follow from that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medclipsam_monai.phantoms.scene import Target


@dataclass(frozen=True)
class Concept:
    """Something captions name: where it can be seen, what it is called, and the names of its kinds."""

    tasks: tuple[str, ...]
    names: tuple[str, ...]
    plural: bool = False
    kinds: Mapping[str, tuple[str, ...]] | None = None


@dataclass(frozen=True)
class Caption:
    """A text and the facts it claims."""

    text: str
    claims: frozenset[str]


MODALITIES: dict[str, tuple[str, ...]] = {
    "breast_ultrasound": (
        "breast ultrasound",
        "ultrasound of the breast",
        "breast sonogram",
        "ultrasound image",
        "sonogram",
    ),
    "brain_mri": ("brain MRI", "MRI of the brain", "head MRI", "axial brain MRI", "MR image of the head", "MRI scan"),
    "chest_xray": ("chest X-ray", "X-ray", "radiograph", "chest radiograph", "frontal radiograph", "X-ray image"),
    "chest_ct": ("chest CT", "CT scan", "CT slice", "axial CT", "computed tomography", "CT image"),
}

_US, _MR, _XR, _CT = MODALITIES

CONCEPTS: dict[str, Concept] = {
    "benign tumour": Concept(
        (_US,),
        ("benign tumor", "benign breast tumor", "benign mass", "benign lesion", "fibroadenoma", "benign breast tumour",
         "well-defined round mass", "smooth oval mass", "benign nodule"),
    ),
    "malignant tumour": Concept(
        (_US,),
        ("malignant tumor", "malignant breast tumor", "malignant mass", "breast cancer", "carcinoma", "spiculated mass",
         "malignant breast tumour", "invasive carcinoma", "irregular spiculated mass", "malignant lesion", "cancer"),
    ),
    "cyst": Concept(
        (_US,), ("cyst", "breast cyst", "simple cyst", "anechoic cyst", "fluid-filled cyst", "black cyst")
    ),
    "brain tumour": Concept(
        (_MR,),
        ("brain tumor", "brain tumour", "intracranial tumor", "brain mass", "intracranial mass", "tumor in the brain"),
        kinds={"glioma": ("glioma", "glioma tumor", "glioblastoma"), "meningioma": ("meningioma", "meningioma tumor")},
    ),
    "ventricles": Concept(
        (_MR,),
        ("ventricles", "lateral ventricles", "cerebral ventricles", "brain ventricles", "ventricular system"),
        plural=True,
    ),
    "haematoma": Concept(
        (_MR,),
        ("subdural haematoma", "subdural hematoma", "haematoma", "hematoma", "extra-axial blood", "subdural bleeding",
         "intracranial hemorrhage", "hemorrhage", "crescent of blood"),
    ),
    "lungs": Concept(
        (_XR, _CT),
        ("lungs", "both lungs", "lung", "lung fields", "pulmonary fields", "aerated lungs", "lung parenchyma"),
        plural=True,
    ),
    "heart": Concept(
        (_XR, _CT), ("heart", "cardiac silhouette", "heart shadow", "cardiac shadow", "heart muscle")
    ),
    "pleural effusion": Concept(
        (_XR,), ("pleural effusion", "effusion", "pleural fluid", "fluid in the pleural space", "costophrenic fluid")
    ),
    "lung mass": Concept(
        (_XR, _CT),
        ("lung mass", "pulmonary mass", "lung nodule", "pulmonary nodule", "lung tumor", "lung cancer", "lung tumour",
         "lung lesion", "nodule"),
    ),
    "pacemaker": Concept(
        (_XR,), ("pacemaker", "cardiac pacemaker", "implanted device", "pacing device", "pacemaker generator")
    ),
    "liver": Concept((_CT,), ("liver", "liver parenchyma", "hepatic parenchyma", "liver tissue", "right liver lobe")),
    "kidneys": Concept((_CT,), ("kidneys", "both kidneys", "kidney", "renal parenchyma", "renal cortex"), plural=True),
}  # fmt: skip

# Wider words: what they mean is there as soon as one of their members is.
GROUPS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "breast tumour": (
        ("benign tumour", "malignant tumour"),
        ("breast tumor", "breast mass", "breast tumour", "solid breast mass", "tumor in the breast"),
    ),
    "tumour": (
        ("benign tumour", "malignant tumour", "brain tumour", "lung mass"),
        ("tumor", "tumour", "mass", "tumor mass", "neoplasm"),
    ),
    "abnormality": (
        ("benign tumour", "malignant tumour", "cyst", "brain tumour", "haematoma", "pleural effusion", "lung mass"),
        ("abnormality", "lesion", "pathology", "abnormal finding", "disease"),
    ),
}

PRESENT_SENTENCES = (
    "{n}", "the {n}", "{n} {is} present", "{n} {is} visible", "there {is} {n}", "{m} showing {n}", "{m} with {n}",
    "a {m} of {n}", "an image of {n}", "a photo of {n}", "findings: {n}", "{n} {is} seen on the {m}",
    "a medical image showing {n}", "evidence of {n}", "presence of {n}", "{m}: {n}", "this {m} shows {n}",
    "a {m} demonstrating {n}", "{n} can be seen", "{m} revealing the presence of {n}",
)  # fmt: skip
_SIDED = (
    "{n} on the {side}",
    "{n} in the {side} half of the picture",
    "{side} sided {n}",
    "{m} with {n} on the {side}",
)
_SIZED = ("{size} {n}", "a {size} {n}", "{m} showing a {size} {n}")
ABSENT_SENTENCES = (
    "no {n}", "without {n}", "no evidence of {n}", "{n} {is} absent", "absence of {n}", "there {is} no {n}",
    "{m} without {n}", "{n} {is} not seen", "{m} with no {n}", "no {n} visible", "no sign of {n}", "{n} not present",
    "no {n} seen on the {m}", "this {m} shows no {n}",
)  # fmt: skip
_NORMAL: dict[str, tuple[str, ...]] = {
    _US: ("normal breast tissue", "healthy breast tissue", "normal breast ultrasound", "unremarkable breast"),
    _MR: ("normal brain", "healthy brain", "normal brain MRI", "unremarkable brain"),
    _XR: ("normal chest X-ray", "healthy chest X-ray", "unremarkable radiograph", "clear chest X-ray"),
    _CT: ("normal CT", "healthy CT slice", "unremarkable CT scan"),
}
_JOIN = (". ", ", ", " and ", "; ")


def facts_of(task: str, targets: Mapping[str, Target]) -> frozenset[str]:
    """Every fact that holds for a picture of `task` with these targets."""
    facts = {task}
    for name in CONCEPTS:
        facts.add(name if name in targets else f"no {name}")
    for group, (members, _) in GROUPS.items():
        facts.add(group if any(name in targets for name in members) else f"no {group}")
    if is_normal(frozenset(facts), task):
        facts.add("normal")
    for name, target in targets.items():
        facts.update(f"{name}/{word}" for word in (target.side, target.size, target.kind) if word)
    return frozenset(facts)


def holds(caption: Caption, facts: frozenset[str]) -> bool:
    """Whether all the caption claims is so."""
    return caption.claims <= facts


def all_facts() -> tuple[str, ...]:
    """Every fact there is, in a fixed order."""
    names = [*CONCEPTS, *GROUPS]
    details = [f"{name}/{word}" for name in CONCEPTS for word in ("left", "right", "small", "large")]
    kinds = [f"{name}/{kind}" for name, concept in CONCEPTS.items() for kind in concept.kinds or ()]
    return (*MODALITIES, *names, *(f"no {name}" for name in names), "normal", *details, *kinds)


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _names(name: str) -> tuple[str, ...]:
    return CONCEPTS[name].names if name in CONCEPTS else GROUPS[name][1]


def _is(name: str) -> str:
    return "are" if name in CONCEPTS and CONCEPTS[name].plural else "is"


def _fill(template: str, rng: np.random.Generator, name: str, words: str, task: str, claims: set[str]) -> Caption:
    """The template filled in; naming the modality claims it."""
    if "{m}" in template:
        claims = claims | {task}
    text = template.format(n=words, m=_pick(rng, MODALITIES[task]), **{"is": _is(name), "side": "", "size": ""})
    return Caption(text, frozenset(claims))


def say_present(name: str, task: str, rng: np.random.Generator, template: str | None = None) -> Caption:
    """A sentence, or a bare word or two, that says `name` (a concept or a group) is there."""
    return _fill(template or _pick(rng, PRESENT_SENTENCES), rng, name, _pick(rng, _names(name)), task, {name})


def say_absent(name: str, task: str, rng: np.random.Generator) -> Caption:
    """A sentence that says `name` (a concept or a group) is not there."""
    return _fill(_pick(rng, ABSENT_SENTENCES), rng, name, _pick(rng, _names(name)), task, {f"no {name}"})


def say_detail(name: str, detail: str, task: str, rng: np.random.Generator) -> Caption:
    """A sentence that says `name` is there with a side, a size or a kind."""
    words, template = _pick(rng, _names(name)), _pick(rng, PRESENT_SENTENCES)
    kinds = CONCEPTS[name].kinds or {}
    if detail in kinds:
        words = _pick(rng, kinds[detail])
    elif detail in ("left", "right"):
        template = _pick(rng, _SIDED).replace("{side}", detail)
    else:
        template = _pick(rng, _SIZED).replace("{size}", detail)
    return _fill(template, rng, name, words, task, {name, f"{name}/{detail}"})


def is_normal(facts: frozenset[str], task: str) -> bool:
    """Nothing abnormal; an X-ray must also show what a chest X-ray should."""
    return "no abnormality" in facts and (task != _XR or {"lungs", "heart"} <= facts)


def _statement(facts: frozenset[str], task: str, rng: np.random.Generator) -> Caption:
    """One true sentence about the picture."""
    here = [name for name in CONCEPTS if name in facts]
    groups = [name for name in GROUPS if name in facts]
    own = [name for name, concept in CONCEPTS.items() if task in concept.tasks]
    gone = [name for name in own if f"no {name}" in facts]
    details = sorted(fact for fact in facts if "/" in fact)
    roll = rng.random()
    if here and roll < 0.55:
        return say_present(_pick(rng, here), task, rng)
    if details and roll < 0.7:
        name, detail = _pick(rng, details).split("/")
        return say_detail(name, detail, task, rng)
    if groups and roll < 0.8:
        return say_present(_pick(rng, groups), task, rng)
    if is_normal(facts, task) and roll < 0.87:
        return Caption(_pick(rng, _NORMAL[task]), frozenset({task, "normal"}))
    if gone and roll < 0.97:
        return say_absent(_pick(rng, gone), task, rng)
    return Caption(_pick(rng, MODALITIES[task]), frozenset({task}))


def sample_captions(facts: frozenset[str], rng: np.random.Generator, count: int) -> list[Caption]:
    """True captions of a picture: bare words, single sentences and pairs of sentences.

    Args:
        facts: what holds for the picture, from `facts_of`.
        rng: source of randomness.
        count: number of captions.
    """
    task = next(task for task in MODALITIES if task in facts)
    captions = []
    for _ in range(count):
        sentences = 1 if rng.random() < 0.85 else 2
        said = [_statement(facts, task, rng) for _ in range(sentences)]
        captions.append(
            Caption(_pick(rng, _JOIN).join(s.text for s in said), frozenset().union(*(s.claims for s in said)))
        )
    return captions
