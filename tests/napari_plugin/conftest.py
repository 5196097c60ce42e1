"""The tests of the dock need napari and a Qt: they run in an environment of their own, see scripts/test_napari.sh."""

from __future__ import annotations

from importlib.util import find_spec

import nibabel as nib
import pytest

from medclipsam_monai.phantoms.seeds import VOLUMES
from medclipsam_monai.phantoms.volumes import make_phantom_volume, save_phantom_volume

collect_ignore_glob = [] if find_spec("napari") else ["test_dock*.py"]


@pytest.fixture(scope="session")
def oblique(tmp_path_factory) -> tuple:
    """An oblique phantom CT as NIfTI: the file, and its array and affine as nibabel reads them."""
    phantom = make_phantom_volume("chest_abdomen_ct", VOLUMES.first, (40, 40, 12), oblique=True)
    file, _, _ = save_phantom_volume(phantom, tmp_path_factory.mktemp("oblique"))
    image = nib.load(file)
    return file, image.get_fdata(dtype="float32"), image.affine
