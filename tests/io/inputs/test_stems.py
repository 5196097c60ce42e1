"""Names of files without their suffixes: dots in a name are part of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import supported_suffixes
from medclipsam_monai.io.inputs.stems import by_stem, distinct_stems, file_stem
from medclipsam_monai.phantoms.samples import pair_by_name

UIDS = ("1.2.840.113619.2.5.1", "1.2.840.113619.2.5.2", "1.2.840.113619.2.5.21")


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        *((f"a.b{suffix}", "a.b") for suffix in supported_suffixes()),
        ("scan.SEG.NRRD", "scan"),
        ("CT.NII.GZ", "CT"),
        ("folder/1.2.840.png", "1.2.840"),
        ("1.2.840", "1.2.840"),
        ("v2.1_final.tiff", "v2.1_final"),
        (".png", ".png"),
        ("notes.txt", "notes.txt"),
    ],
)
def test_only_a_known_suffix_is_cut_off(name: str, stem: str) -> None:
    assert file_stem(name) == stem


def test_images_named_by_uids_get_their_own_labels() -> None:
    images, labels = [f"i/{uid}.png" for uid in UIDS], [f"l/{uid}.nii.gz" for uid in reversed(UIDS)]
    assert pair_by_name(images, labels) == [{"image": f"i/{u}.png", "label": f"l/{u}.nii.gz"} for u in sorted(UIDS)]
    with pytest.raises(
        InputError, match=r"1 of 3 images have no label of their name, the first is 1.2.840.113619.2.5.1"
    ):
        pair_by_name(images, labels[:2])


def test_two_files_of_one_name_are_an_error_that_names_both() -> None:
    with pytest.raises(InputError, match=r"i/a.b.png and i/a.b.jpg have the same name"):
        pair_by_name(["i/a.b.png", "i/a.b.jpg"], ["l/a.b.png"])
    with pytest.raises(InputError, match=r"l/a.png and l/a.nii.gz have the same name"):
        pair_by_name(["i/a.png"], ["l/a.png", "l/a.nii.gz"])
    assert by_stem(["x/a.png", "x/a.png"]) == {"a": "x/a.png"}


def test_equal_names_are_told_apart_by_the_folders_above(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("p1/t/a.png", "p2/t/a.png", "p2/t/b.c.png", "p2/d.png", "p2/d.nii.gz")]
    assert distinct_stems(paths) == ["p1_t_a", "p2_t_a", "b.c", "d_png", "d_nii_gz"]
