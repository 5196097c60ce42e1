"""Every dictionary transform leaves data without its keys alone, and raises where that is not allowed."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest
from monai.transforms import MapTransform

import medclipsam_monai

ARGUMENTS = {
    "WritePredictiond": {"names": ("background", "heart")},
    "KeepRequestd": {"names": ("text", "threshold")},
    "Overlayd": {"mask_keys": "mask"},
    "CoarseMaskd": {},
}
WITHOUT = (".archive", ".deploy", ".label", ".napari", ".web", ".__main__", ".trainer")
"""Of other environments; they define none."""


def dictionary_transforms() -> list[type[MapTransform]]:
    """All that are defined in the package, by name."""
    found = {}
    for module in pkgutil.walk_packages(medclipsam_monai.__path__, "medclipsam_monai."):
        if any(
            part in module.name
            for part in (".archive", ".label", ".deploy", ".napari", ".web", ".__main__", ".trainer")
        ):
            continue  # of other environments, and they define none
        for one in vars(importlib.import_module(module.name)).values():
            if isinstance(one, type) and issubclass(one, MapTransform) and one.__module__.startswith("medclipsam"):
                found[one.__name__] = one
    return [found[name] for name in sorted(found)]


def make(transform: type[MapTransform], folder: Path, **options: object) -> MapTransform:
    arguments = ARGUMENTS.get(transform.__name__, {})
    if "output_dir" in transform.__init__.__annotations__:
        arguments = {**arguments, "output_dir": folder / "out"}
    return transform("nothing", **arguments, **options)


def test_there_are_as_many_as_the_package_promises():
    names = [one.__name__ for one in dictionary_transforms()]
    assert {"ReadImaged", "ReadLabeld", "WriteMaskd", "LabelMapd", "ReadCased", "WritePredictiond"} <= set(names)
    assert len(names) >= 13


@pytest.mark.parametrize("transform", dictionary_transforms(), ids=lambda one: one.__name__)
def test_without_its_keys_nothing_is_read_written_or_changed(transform, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = {"other": object(), "name": "x"}
    for given in ({}, data):
        found = make(transform, tmp_path, allow_missing_keys=True)(given)
        assert found == given and found is not given
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyError, match="nothing"):
        make(transform, tmp_path)(data)
    assert list(tmp_path.iterdir()) == []
