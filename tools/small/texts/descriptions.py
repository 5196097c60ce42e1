"""Words that describe a structure and do not name it, as people ask who do not know its name or want it told apart.

What a phrase says first (the thing) and last (its place) is drawn apart, so that words are learnt and not phrases; none
is a wording of the package's prompt sets, which measure what came of it.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping

import numpy as np

_Parts = tuple[tuple[str, ...], tuple[str, ...]]
_PLACES = {"in", "on", "under", "below", "beside", "between", "behind", "within", "inside", "around", "next", "left",
           "right",
           "deep", "outside", "at", "over", "surrounded", "beneath", "above", "before"}  # fmt: skip
_LIES = ("that lies ", "which is ", "that is ", "lying ", "seen ")

DESCRIPTIONS: Mapping[str, tuple[_Parts, ...]] = {
    "liver": (
        (("large organ", "largest organ", "big solid organ", "big organ", "large solid organ", "biggest organ",
          "large gland", "large grey organ", "big homogeneous organ", "main organ"),
         ("on the right side of the abdomen", "under the right lung", "in the right upper abdomen",
          "of the upper belly", "under the right dome of the diaphragm", "next to the right kidney",
          "in the right upper quadrant", "below the heart and the right lung", "beneath the diaphragm on the right",
          "below the right side of the diaphragm", "of the upper abdomen", "to the right of the stomach and spine")),
        (("organ",), ("that makes bile", "that holds the gallbladder", "below the right lung", "right of the stomach")),
    ),
    "spleen": (
        (("organ", "small solid organ", "soft organ", "smooth organ", "solid organ", "smaller organ"),
         ("on the left side of the abdomen", "under the left lung", "in the left upper abdomen",
          "next to the left kidney", "under the left dome of the diaphragm", "behind the stomach on the left",
          "in the left upper quadrant", "left of the stomach", "that filters the blood on the left",
          "beneath the diaphragm on the left",
          "below the left side of the diaphragm", "to the left of the stomach and spine", "below the left lung")),
    ),
    "kidneys": (
        (("two organs", "both organs", "bean-shaped organs", "paired bean-shaped organs",
          "pair of kidney-shaped organs", "pair of organs", "two bean-shaped organs", "organs that make urine"),
         ("on both sides of the spine", "left and right of the spine", "at the back of the abdomen",
          "next to the spine", "behind the bowel", "in the flanks", "to the left and right of the vertebra",
          "along both sides of the spine")),
    ),
    "aorta": (
        (("largest artery", "main artery", "big artery", "round vessel", "largest vessel", "great artery",
          "large round vessel",
          "large vessel"),
         ("of the body", "before the spine", "along the spine", "in the middle of the trunk", "that leaves the heart",
          "next to the vertebra", "of the chest and abdomen", "in front of the vertebra", "in front of the backbone",
          "left of the middle, close to the spine")),
    ),
    "heart": (
        (("muscle", "organ", "large organ", "beating organ", "white area", "bright area", "bright silhouette",
          "white silhouette", "white organ", "pear-shaped shadow"),
         ("in the middle of the chest", "between both lungs", "between the left and the right lung",
          "left of the middle of the chest", "that pumps the blood", "behind the breastbone")),
    ),
    "lungs": (
        (("dark areas", "black areas", "dark regions", "dark fields", "air-filled spaces", "air-filled regions",
          "two dark areas", "organs full of air", "air-filled areas", "air-filled fields", "black air-filled organs",
          "two organs", "paired organs", "dark organs"),
         ("of the chest", "of the thorax", "left and right of the heart", "on both sides of the heart",
          "within the ribs", "on both sides of the chest", "beside the mediastinum",
          "of the chest film", "with which one breathes", "of the chest X-ray", "of the radiograph",
          "of the chest CT", "in the chest", "within the chest wall")),
    ),
    "pleural effusion": (
        (("fluid", "white fluid", "liquid"),
         ("around the lung", "between lung and chest wall", "at the bottom of the chest", "beside the lung")),
    ),
    "lung mass": (
        (("round white spot", "round shadow", "white lump", "growth", "bright round spot"),
         ("in the lung", "within the lung", "inside the dark lung", "surrounded by lung")),
    ),
    "pacemaker": (
        (("metal box", "electronic device", "metal implant", "small device"),
         ("under the collarbone", "with wires to the heart", "in the chest wall", "that drives the heart")),
    ),
    "left ventricle": (
        (("main chamber", "pumping chamber", "round cavity", "inner cavity", "cavity", "bright round chamber",
          "chamber", "round chamber", "blood-filled cavity", "blood pool", "thick-walled chamber",
          "chamber filled with blood"),
         ("of the heart", "of the left heart", "inside the thick muscle of the heart", "within the heart muscle",
          "surrounded by thick heart muscle", "within the thick ring of muscle", "in the middle of the heart",
          "of the heart that pumps blood into the aorta", "with a thick muscular wall", "whose wall is thick",
          "of the heart whose wall is thickest", "of the heart with a muscular wall",
          "enclosed by the thick wall of the heart")),
    ),
    "brain tumour": (
        (("bright growth", "enhancing area", "bright lump", "abnormal mass", "round growth", "space-occupying lesion",
          "abnormal growth",
          "enhancing growth", "bright enhancing area", "swelling", "focal lesion"),
         ("in the brain", "within the brain", "inside the head", "between the halves of the brain", "of the brain",
          "inside the cranium", "inside the skull", "within the head")),
    ),
    "ventricles": (
        (("fluid-filled cavities", "dark cavities", "chambers filled with fluid", "two fluid spaces", "cavities",
          "fluid-filled chambers",
          "fluid spaces"),
         ("of the brain", "inside the brain", "within the brain", "between the halves of the brain",
          "deep in the brain", "in the centre of the brain", "in the middle of the head")),
    ),
    "haematoma": (
        (("blood", "bright crescent", "blood clot", "crescent"),
         ("under the skull", "between skull and brain", "outside the brain", "on the surface of the brain")),
    ),
    "hippocampus": (
        (("small curved structure", "grey structure", "seahorse-shaped structure",
          "memory centre", "elongated structure"),
         ("of the temporal lobe", "deep in the temporal lobe", "of the medial temporal lobe", "that serves memory")),
    ),
    "fetal head": (
        (("round bright ring", "oval ring", "bright oval outline", "bony oval", "large oval"),
         ("of the unborn child", "of the baby", "of the fetus", "in the womb", "in the uterus")),
    ),
    "cell nuclei": (
        (("dark round spots", "round bodies", "bright round spots", "stained spots", "small round objects"),
         ("in the cells", "inside the cells", "of the cells", "that hold the DNA", "within each cell")),
    ),
    "nerve": (
        (("honeycomb structure", "bundle of fibres", "bundle", "cord of fibres", "oval bundle"),
         ("that carries signals", "of fascicles", "between the muscles", "that carries sensation")),
    ),
    "blood vessel": (
        (("dark round lumen", "black circle", "dark tube", "round dark hole", "black oval"),
         ("that carries blood", "filled with blood", "beside the nerve", "through which blood flows")),
    ),
    "skin lesion": (
        (("brown spot", "dark patch", "brown patch", "pigmented patch", "pigmented area", "dark mark", "brown mark"),
         ("on the skin", "of the skin", "in the middle of the skin", "on the patient's skin")),
    ),
    "cyst": (
        (("black round area", "fluid-filled hole", "dark round area", "fluid-filled sac"),
         ("in the breast", "of the breast", "within the breast tissue")),
    ),
    "benign tumour": (
        (("smooth dark oval", "well-defined dark area", "smooth lump", "smooth solid nodule"),
         ("in the breast", "of the breast", "within the breast tissue")),
    ),
    "malignant tumour": (
        (("irregular dark area", "spiky dark area", "irregular lump", "ragged dark area"),
         ("in the breast", "of the breast", "within the breast tissue")),
    ),
    "breast tumour": (
        (("lump", "suspicious area", "solid lump", "hypoechoic area", "dark lump", "suspicious lump"),
         ("in the breast", "of the breast", "within the breast", "inside the breast tissue")),
    ),
}  # fmt: skip
"""By concept, pairs of what it is and where; each of a pair's first goes with each of its last."""

STRANGE_DESCRIPTIONS: tuple[_Parts, ...] = (
    (("organ", "large organ", "round organ", "hollow organ", "gland", "muscle", "artery", "bone",
      "fluid-filled organ", "disc", "vessel", "lump", "nodule", "sac", "bright disc", "stone", "nail", "dark area",
      "bright area", "two organs", "growth", "chamber", "tube", "cavity", "round spot"),
     ("of the knee", "of the mouth", "in the neck", "of the eye", "of the foot", "of the hand", "of the ear",
      "in the hip", "under the chin", "behind the nose", "of the shoulder", "of the elbow", "of the leg",
      "in the throat", "of the pelvis", "in the bottom of the pelvis", "under the bladder",
      "in the middle of the lower pelvis", "where the vessels of the eye meet", "behind the bladder", "of the bowel",
      "inside the bowel", "of the tongue", "on the wall of the colon", "of the retina", "of the garden",
      "of the engine", "in the kitchen", "on the street", "in the sky", "of the city", "with a red door")),
    (("small bone", "yellow thing", "green area", "wheel", "colour", "sound", "name", "price", "list of words",
      "two letters", "long story", "small animal"),
     ("of the heart", "in the brain", "on the right side", "in the middle", "of the chest", "of the body",
      "on the left", "that nobody sees", "in this picture", "of the fetus", "in the abdomen", "beside the spine")),
)  # fmt: skip
"""Of what no picture shows that the networks learn from, with the words of what some do show."""


ORDINARY = (
    "chair", "table", "window", "money", "music", "computer", "telephone", "letter", "school", "teacher", "summer",
    "winter", "morning", "coffee", "bread", "cheese", "apple", "flower", "garden", "mountain", "ocean", "rain",
    "snow", "train", "ship", "road", "bridge", "kitchen", "door", "book", "story", "question", "number", "price",
    "market", "king", "war", "peace", "love", "friend", "family", "game", "team", "song", "film", "blue", "green",
    "happy", "walk", "run", "sleep", "speak", "think", "write", "buy", "open", "close", "today", "tomorrow",
    "yesterday", "monday", "please help", "thank you", "good morning", "who are you", "what time is it",
    "where are we", "i do not know", "not sure", "nobody", "never", "maybe not", "select all", "function",
    "password", "email address", "paris", "germany", "error message", "null", "true or false", "none of these",
    "one two three", "nothing to see", "no way", "not at all", "no problem", "without a doubt", "no more",
    "absent friends", "the end", "four green bottles", "two old men", "a blue car", "monthly report",
    "import export", "as soon as possible", "is it or is it not", "neither nor", "no comment",
)  # fmt: skip
"""Words of every day, and some that sound like denials."""


def describe(name: str, rng: np.random.Generator) -> str | None:
    """A phrase that tells a concept apart, half of the time with its article; None where there is none."""
    return _drawn(DESCRIPTIONS[name], rng) if name in DESCRIPTIONS else None


def describe_strange(rng: np.random.Generator) -> str:
    """A phrase on what no picture shows."""
    return _drawn(STRANGE_DESCRIPTIONS, rng)


def all_descriptions(name: str) -> list[str]:
    """Every phrase on a concept, without its article."""
    return [" ".join(pair) for parts in DESCRIPTIONS.get(name, ()) for pair in itertools.product(*parts)]


def is_kept(phrase: str) -> bool:
    """Whether a phrase is one of the fifth that nothing learns from, so that it can measure."""
    return hashlib.sha256(phrase.encode()).digest()[0] < 51


def _drawn(options: tuple[_Parts, ...], rng: np.random.Generator) -> str:
    while True:
        parts = options[int(rng.integers(len(options)))]
        what, where = (words[int(rng.integers(len(words)))] for words in parts)
        if not is_kept(f"{what} {where}"):
            break
    lies = _pick(rng, _LIES) if where.split()[0] in _PLACES and rng.random() < 0.2 else ""
    return ("the " if rng.random() < 0.5 else "") + f"{what} {lies}{where}"


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]
