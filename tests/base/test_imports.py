"""Libraries imported without what they bring along."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from medclipsam_monai.base.imports import without


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Three packages: `eager` takes `rider` where it is there; `deep.er` is a module within a package."""
    (tmp_path / "rider.py").write_text("")
    (tmp_path / "eager.py").write_text("try:\n    import rider\nexcept ImportError:\n    rider = None\n")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "__init__.py").write_text("")
    (tmp_path / "deep" / "er.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield
    for name in ("rider", "eager", "deep", "deep.er"):
        sys.modules.pop(name, None)


def test_a_package_is_missing_within_the_block_and_there_after_it(packages):
    with without("rider"):
        assert importlib.import_module("eager").rider is None
        with pytest.raises(ModuleNotFoundError, match="No module named 'rider'"):
            importlib.import_module("rider")
    assert importlib.import_module("rider").__name__ == "rider"


def test_modules_within_a_package_are_missing_too_and_others_of_like_name_are_not(packages):
    with without("deep", "eag"), pytest.raises(ModuleNotFoundError):
        importlib.import_module("deep.er")
    with without("eag"):
        assert importlib.import_module("eager")


def test_a_part_of_a_package_is_missing_and_the_rest_of_it_is_not(packages):
    with without("deep.er"):
        assert importlib.import_module("deep")
        with pytest.raises(ModuleNotFoundError, match=r"No module named 'deep\.er'"):
            importlib.import_module("deep.er")


def test_what_is_imported_already_stays(packages):
    first = importlib.import_module("rider")
    with without("rider"):
        assert importlib.import_module("rider") is first


def test_the_block_ends_after_an_error(packages):
    before = list(sys.meta_path)
    with pytest.raises(KeyError), without("rider"):
        raise KeyError
    assert sys.meta_path == before


def test_monai_alone_can_all_that_segmenting_takes():
    code = (
        "import sys; from medclipsam_monai.base.imports import import_monai_alone; import_monai_alone();"
        "assert not {'ignite', 'transformers', 'matplotlib', 'torchvision', 'scipy.signal'} & sys.modules.keys();"
        "import medclipsam_monai.zero_shot.batch, transformers, ignite.engine;"
        "print(ignite.engine.Engine.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "Engine\n"
