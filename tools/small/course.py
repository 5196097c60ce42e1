"""Which pictures a step of the small networks' training sees, and how often each kind: real, and drawn in two ways."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medclipsam_monai.phantoms.seeds import REAL_PARTNERS, REAL_TRAINING
from tools.small.anatomy import WAYS
from tools.small.lungs import lung_rows
from tools.small.pictures import Picture, Row, drawn_pictures, half_of, read_pictures, read_rows
from tools.small.texts.words import KINDS
from tools.training.corpus import Corpus, build_corpus

_PHANTOMS = 0.28
"""Share of the pictures that are drawn."""
_FEW = 150
"""A kind with fewer images is drawn less often, by the root of its number."""
_MANY_TARGETS = {"torso_ct": 3.0, "brain_mri": 5.0}
"""Kinds whose pictures show many things, and at many heights of a body, are drawn as often as so many kinds."""
_ANATOMY = 0.6
"""Of the pictures of a kind that has drawn anatomies, how many are such, all where there are no images; the kind counts
as one of many images."""


def training_rows(data: Path, half: str) -> list[Row]:
    """The images that may be learnt from, of one side of the split.

    Args:
        data: folder of segmentation.csv and open/segmentation.csv.
        half: one of `pictures.HALVES`.
    """
    rows = read_rows(data / "open" / "segmentation.csv")
    rows += read_rows(data / "segmentation.csv", {"brain_mri": "brain_mri"})
    return [row for row in rows if half_of(row.group) == half]


class Course:
    """Draws pictures: phantoms in pairs that differ in one target, and real ones of every kind.

    Args:
        real: real pictures.
        corpus: phantoms.
    """

    def __init__(self, real: Sequence[Picture], corpus: Corpus) -> None:
        self.by_kind: dict[str, list[Picture]] = defaultdict(list)
        for picture in real:
            self.by_kind[picture.kind].append(picture)
        self.corpus = corpus
        self.kinds = phantom_kinds(corpus)
        shares = {kind: min(1.0, (len(of) / _FEW) ** 0.5) for kind, of in self.by_kind.items()}
        shares |= dict.fromkeys(WAYS, 1.0) | _MANY_TARGETS
        self.shares = {kind: share / sum(shares.values()) for kind, share in shares.items()}

    def __call__(self, count: int, rng: np.random.Generator) -> list[Picture]:
        """A number of pictures."""
        drawn = 2 * round(_PHANTOMS * count / 2)
        first = 2 * rng.integers(0, len(self.corpus) // 2, drawn // 2)
        chosen = list(drawn_pictures(self.corpus, np.stack([first, first + 1], 1).ravel(), self.kinds))
        names = list(self.shares)
        for kind in rng.choice(len(names), count - drawn, p=list(self.shares.values())):
            name, images = names[kind], self.by_kind.get(names[kind], [])
            ways = WAYS.get(name, ())
            if ways and (not images or rng.random() < _ANATOMY):
                chosen.append(ways[int(rng.integers(len(ways)))](rng))
            else:
                chosen.append(images[int(rng.integers(len(images)))])
        return chosen


def phantom_kinds(corpus: Corpus) -> list[str]:
    """The kind of each phantom of a corpus."""
    from medclipsam_monai.phantoms.captions import all_facts

    columns = [all_facts().index(kind) for kind in list(KINDS)[:4]]
    return [list(KINDS)[int(row.argmax())] for row in corpus.facts[:, columns]]


def open_course(data: Path, output: Path, pairs: int) -> Course:
    """The training half of the images, phantoms, which are drawn into a folder, and X-rays with masks of `lungs`.

    Args:
        data: folder of segmentation.csv and open/segmentation.csv.
        output: of the training, with phantoms/ and perhaps lungs/.
        pairs: of phantoms.
    """
    rows = training_rows(data, "train")
    if (output / "lungs").is_dir():
        rows += lung_rows(output / "lungs")
    return Course(read_pictures(rows), build_corpus(output / "phantoms", pairs, REAL_TRAINING, REAL_PARTNERS))
