"""What the small networks are told of a picture: kinds of pictures, concepts, and the sentences that name them.

A concept is present in a picture (then a mask shows where), absent, or unknown: of a phantom all is known, of a real
image only what its table says. A caption claims one concept or its absence, perhaps the kind of picture as well; which
captions hold for which pictures, or may, follows from that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medclipsam_monai.phantoms import captions as drawn
from tools.small.texts.descriptions import ORDINARY, describe, describe_strange

PRESENT, ABSENT, UNKNOWN = 1, 0, -1


@dataclass(frozen=True)
class Concept:
    """Something captions name.

    Attributes:
        names: what it is called.
        kinds: of pictures it can be seen in.
        plural: whether its names take "are".
        members: concepts of which any makes it present; empty for those with a mask of their own.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    plural: bool = False
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class Caption:
    """A text, the concept it claims (None: no one) as present or absent, and the kind of picture it names (or None)."""

    text: str
    concept: str | None
    present: bool
    kind: str | None


KINDS: dict[str, tuple[str, ...]] = {
    **drawn.MODALITIES,
    "fetal_ultrasound": ("fetal ultrasound", "obstetric ultrasound", "prenatal ultrasound", "ultrasound of the fetus",
                         "ultrasound image", "sonogram", "fetal sonogram"),
    "cardiac_mri": ("cardiac MRI", "cine MRI of the heart", "cardiac MR", "short axis cine MRI", "MRI of the heart",
                    "MR image", "heart MRI", "MRI scan"),
    "cell_microscopy": ("microscopy image", "light microscopy", "fluorescence microscopy", "micrograph",
                        "histology image", "stained tissue", "microscope picture", "cell image"),
    "liver_ct": ("abdominal CT", "CT of the abdomen", "CT scan", "CT slice", "axial CT", "CT image",
                 "computed tomography"),
    "nerve_ultrasound": ("ultrasound of a nerve", "peripheral nerve ultrasound", "ultrasound image", "sonogram",
                         "ultrasound of the arm", "ultrasound of the neck"),
    "skin_dermoscopy": ("dermoscopy image", "dermoscopic image", "photograph of the skin", "dermatoscopy",
                        "skin photograph"),
    "hippocampus_mri": ("brain MRI", "MRI of the temporal lobe", "cropped brain MRI", "MR image", "T1-weighted MRI",
                        "MRI scan"),
    "torso_ct": ("CT scan", "CT slice", "axial CT", "CT image", "computed tomography", "abdominal CT", "chest CT",
                 "CT of the abdomen"),
}  # fmt: skip
"""Kinds of pictures and what they are called."""

_REAL: dict[str, Concept] = {
    "fetal head": Concept(
        ("fetal head", "head of the fetus", "fetal skull", "foetal head", "baby's head", "head of the baby",
         "fetal cranium", "skull of the fetus", "the fetus's head", "head"),
        ("fetal_ultrasound",),
    ),
    "left ventricle": Concept(
        ("left ventricle", "left ventricular cavity", "left ventricle of the heart", "LV cavity", "LV", "LV blood pool",
         "left ventricular blood pool", "cavity of the left ventricle", "ventricle", "left heart chamber",
         "chamber of the heart", "blood in the left ventricle"),
        ("cardiac_mri",),
    ),
    "cell nuclei": Concept(
        ("cell nuclei", "nuclei", "cell nucleus", "nucleus", "nuclei of cells", "nuclei of the cells", "stained nuclei",
         "cells", "nuclear stain", "individual nuclei"),
        ("cell_microscopy",), plural=True,
    ),
    "nerve": Concept(
        ("nerve", "peripheral nerve", "nerve bundle", "nerve fibres", "nerve in cross-section", "nerve fascicles",
         "median nerve", "brachial plexus", "ulnar nerve"),
        ("nerve_ultrasound",),
    ),
    "blood vessel": Concept(
        ("blood vessel", "vessel", "blood vessels", "artery", "vein", "vessel lumen", "vascular lumen",
         "artery or vein", "vessel in cross-section", "lumen of the vessel"),
        ("nerve_ultrasound",),
    ),
    "skin lesion": Concept(
        ("skin lesion", "mole", "melanoma", "nevus", "naevus", "pigmented lesion", "lesion of the skin",
         "pigmented skin lesion", "spot on the skin"),
        ("skin_dermoscopy",),
    ),
    "hippocampus": Concept(
        ("hippocampus", "hippocampal formation", "hippocampi", "hippocampal region", "head of the hippocampus",
         "hippocampus in the temporal lobe", "hippocampal body"),
        ("hippocampus_mri",),
    ),
    "spleen": Concept(
        ("spleen", "splenic tissue", "splenic parenchyma", "spleen parenchyma", "spleen on CT", "the spleen organ"),
        ("torso_ct", "liver_ct"),
    ),
    "aorta": Concept(
        ("aorta", "abdominal aorta", "thoracic aorta", "descending aorta", "aortic lumen"),
        ("torso_ct", "liver_ct"),
    ),
}  # fmt: skip
_MORE_NAMES = {
    "liver": ("hepatic tissue", "the liver organ", "liver on CT", "hepatic organ"),
    "lungs": ("air-filled lungs", "left and right lung", "lung areas", "pulmonary tissue", "lung tissue"),
    "brain tumour": ("tumor", "brain lesion", "intracranial lesion", "pituitary tumor", "neoplasm of the brain",
                     "enhancing lesion", "enhancing mass"),
}  # fmt: skip
_MORE_KINDS = {"liver": ("liver_ct", "torso_ct")} | dict.fromkeys(("lungs", "heart", "kidneys"), ("torso_ct",))
_GROUPS = {name: (*members, *(["skin lesion"] if name == "abnormality" else [])) for name, (members, _) in
           drawn.GROUPS.items()}  # fmt: skip

CONCEPTS: dict[str, Concept] = {
    **{
        name: Concept((*c.names, *_MORE_NAMES.get(name, ())), (*c.tasks, *_MORE_KINDS.get(name, ())), c.plural)
        for name, c in drawn.CONCEPTS.items()
    },
    **_REAL,
}
for _name, (_, _names) in drawn.GROUPS.items():
    _members = _GROUPS[_name]
    _kinds = tuple(dict.fromkeys(kind for member in _members for kind in CONCEPTS[member].kinds))
    CONCEPTS[_name] = Concept((*_names, *(("breast lesion", "mass in the breast") if "breast" in _name else ())),
                              _kinds, members=_members)  # fmt: skip
NAMES = tuple(CONCEPTS)
COLUMN = {name: k for k, name in enumerate(NAMES)}

OPEN: dict[str, tuple[str, ...]] = {
    "breast_ultrasound": ("cyst",),
    "brain_mri": ("ventricles", "haematoma", "hippocampus"),
    "chest_xray": ("heart", "pleural effusion", "lung mass", "pacemaker", "lungs", "aorta"),
    "cardiac_mri": ("heart", "lungs", "liver", "aorta"),
    "liver_ct": ("kidneys", "heart", "lungs", "spleen", "aorta", "tumour", "abnormality", "blood vessel"),
    "hippocampus_mri": ("ventricles", "blood vessel"),
    "nerve_ultrasound": (),
    "skin_dermoscopy": ("tumour", "abnormality"),
}
"""What the tables of real images leave untold, by kind."""
UNDRAWN = {
    "chest_xray": ("aorta",),
    "chest_ct": ("spleen", "aorta", "left ventricle"),
    "torso_ct": ("blood vessel", "left ventricle"),
}
"""What may be seen in drawn pictures, but has no mask there, by kind."""


STRANGERS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("liver_ct", "chest_ct", "torso_ct"),
     ("stomach", "gallbladder", "pancreas", "colon", "small bowel", "bowel loops", "vertebra", "spine", "adrenal gland",
      "psoas muscle", "portal vein", "urinary bladder", "duodenum")),
    (("cardiac_mri", "chest_ct", "chest_xray", "torso_ct"),
     ("right ventricle", "left atrium", "right atrium", "myocardium", "trachea", "esophagus", "ribs",
      "clavicle", "diaphragm", "pulmonary artery", "mediastinum", "pneumothorax", "rib fracture")),
    (("brain_mri", "hippocampus_mri", "fetal_ultrasound"),
     ("cerebellum", "brain stem", "thalamus", "white matter", "grey matter", "eye", "orbit", "corpus callosum",
      "amygdala", "multiple sclerosis plaques", "stroke", "pituitary gland", "caudate nucleus")),
    (("nerve_ultrasound", "breast_ultrasound", "fetal_ultrasound", "skin_dermoscopy"),
     ("muscle", "tendon", "lymph node", "subcutaneous fat", "bone surface", "calcification", "skin", "hair", "fascia")),
    (("cell_microscopy",), ("cytoplasm", "cell membrane", "mitochondria", "bacteria", "red blood cells", "cell wall")),
    (("fetal_ultrasound",), ("placenta", "umbilical cord", "fetal femur", "fetal abdomen", "amniotic fluid")),
    ((),
     ("knee", "meniscus", "patella", "femur", "tibia", "hip joint", "tooth", "teeth", "mandible", "optic disc",
      "retina", "macula", "cornea", "colon polyp", "polyp", "prostate", "uterus", "ovary", "testis", "thyroid gland",
      "tonsil", "finger", "wrist", "ankle", "shoulder joint", "cochlea", "larynx", "appendix", "cervix", "toe", "nail",
      "cat", "dog", "car", "house", "tree", "stock prices", "hello world", "a person on a beach", "weather", "guitar",
      "pizza", "the answer", "lorem ipsum", "my holiday", "airplane", "river", "yes please", "what is this", "anything",
      "everything", "background", "nothing", *ORDINARY)),
)  # fmt: skip
"""What the images do not teach: kinds of pictures in which it may be seen all the same, and names of such things."""
REQUESTS = (
    "please outline the {n}", "outline of the {n}", "segment the {n}", "where {is} the {n}?", "show me the {n}",
    "find the {n}", "{n} segmentation", "delineate the {n}", "mask of the {n}", "the whole {n}", "{n} in this {m}",
    "{n} in this picture", "locate {n}", "{n}.", "mark the {n} in the {m}", "all {n}",
)  # fmt: skip
"""How people ask, beside what captions say."""
_LETTERS = "aeiourstlnmdpkbgvfzhj"
_DESCRIBED = 0.2
"""Share of what is said that describes in place of naming."""


def say_stranger(rng: np.random.Generator) -> tuple[str, tuple[str, ...]]:
    """A sentence on what the images do not teach, or on nothing at all, and the kinds that it may be true of."""
    kinds, names = STRANGERS[int(rng.choice(len(STRANGERS), p=_stranger_shares()))]
    words = _pick(rng, names) if kinds else strange_words(rng)
    template = "{n}" if rng.random() < 0.5 else _pick(rng, (*drawn.PRESENT_SENTENCES, *REQUESTS))
    modality = _pick(rng, KINDS[_pick(rng, list(KINDS))])
    return template.format(n=words, m=modality, **{"is": "is"}), kinds


def strange_words(rng: np.random.Generator) -> str:
    """A name or a description of what no picture shows, or letters that are no words."""
    roll = rng.random()
    if roll < _DESCRIBED:
        return describe_strange(rng)
    if roll < _DESCRIBED + 0.3:
        return " ".join("".join(rng.choice(list(_LETTERS), int(rng.integers(3, 9)))) for _ in range(rng.integers(1, 4)))
    return _pick(rng, next(names for kinds, names in STRANGERS if not kinds))


def _stranger_shares() -> NDArray[np.float64]:
    counts = np.array([len(names) for _, names in STRANGERS], float)
    return counts / counts.sum()


def states(kind: str, shown: frozenset[str] | set[str], told: bool = True) -> NDArray[np.int8]:
    """Of every concept whether a picture shows it.

    Args:
        kind: of the picture.
        shown: concepts that it shows, without groups.
        told: whether all of it is known, as of a phantom, or only what a table says.
    """
    found = np.zeros(len(NAMES), np.int8)
    for name, concept in CONCEPTS.items():
        members = concept.members or (name,)
        if any(member in shown for member in members):
            found[COLUMN[name]] = PRESENT
        elif any(member in (UNDRAWN if told else OPEN).get(kind, ()) for member in (name, *members)):
            found[COLUMN[name]] = UNKNOWN
    return found


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def frame(name: str, kind: str, rng: np.random.Generator, present: bool = True) -> tuple[str, bool]:
    """A sentence with {n} where a concept's name goes, and whether it names the kind of picture."""
    template = _pick(rng, drawn.PRESENT_SENTENCES if present else drawn.ABSENT_SENTENCES)
    roll = rng.random()
    if present and roll < 0.55:
        template = "{n}" if roll < 0.3 else _pick(rng, REQUESTS)
    plural = "are" if CONCEPTS[name].plural else "is"
    return template.format(n="{n}", m=_pick(rng, KINDS[kind]), **{"is": plural}), "{m}" in template


def say(name: str, kind: str, rng: np.random.Generator, present: bool = True) -> Caption:
    """A sentence, or a bare word or two, that says a concept is in a picture of a kind, or is not."""
    sentence, names_kind = frame(name, kind, rng, present)
    described = describe(name, rng) if rng.random() < _DESCRIBED else None
    text = put(described or _pick(rng, CONCEPTS[name].names), sentence)
    return Caption(text, name, present, kind if names_kind else None)


def put(words: str, sentence: str) -> str:
    """Words at the place of a `frame`'s {n}."""
    return sentence.format(n=words).replace("the the ", "the ")


def say_kind(kind: str, rng: np.random.Generator) -> Caption:
    """What kind of picture it is, and no more."""
    return Caption(_pick(rng, KINDS[kind]), None, True, kind)


def true_caption(kind: str, state: NDArray[np.int8], rng: np.random.Generator) -> Caption:
    """One true sentence about a picture."""
    here = [name for name in NAMES if state[COLUMN[name]] == PRESENT]
    gone = [name for name in NAMES if state[COLUMN[name]] == ABSENT and kind in CONCEPTS[name].kinds]
    roll = rng.random()
    if here and roll < 0.75:
        return say(_pick(rng, here), kind, rng)
    if gone and roll < 0.92:
        return say(_pick(rng, gone), kind, rng, present=False)
    return say_kind(kind, rng)


def may_hold(state: NDArray[np.int8], kinds: Sequence[str], captions: Sequence[Caption]) -> NDArray[np.bool_]:
    """Whether caption n holds for picture b, or may: (B, N), from states (B, C) and the pictures' kinds.

    Two kinds that share a name for pictures ("sonogram") are told apart by no caption that says it.
    """
    found = np.ones((len(kinds), len(captions)), bool)
    for n, caption in enumerate(captions):
        if caption.concept is not None:
            wrong = ABSENT if caption.present else PRESENT
            found[:, n] &= state[:, COLUMN[caption.concept]] != wrong
        if caption.kind is not None:
            said = next(words for words in sorted(KINDS[caption.kind], key=len, reverse=True) if words in caption.text)
            found[:, n] &= np.array([said in KINDS[kind] for kind in kinds])
    return found
