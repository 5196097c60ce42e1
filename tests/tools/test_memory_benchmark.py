"""The benchmark of memory: its volume, its high-water mark, and a small run of it."""

from __future__ import annotations

import json
import mmap

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from medclipsam_monai.base.errors import InputError
from tools.benchmarks import memory


def test_the_volume_is_whole_numbers_of_16_bits_with_a_brighter_ball(tmp_path):
    memory.write_volume(tmp_path / "v.nii", (8, 10, 6))
    image = nib.load(tmp_path / "v.nii")
    values = np.asarray(image.dataobj)
    assert image.get_data_dtype() == np.int16 and values.shape == (8, 10, 6)
    assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
    assert values.min() >= -1000 and 200 <= values.max() < 800
    assert values[3:5, 4:6, 2:4].mean() > values[[0, -1]].mean() + 300


def held(megabytes: int) -> mmap.mmap:
    """Memory of its own: a freed array may stay with the process, and the next one lie in it."""
    region = mmap.mmap(-1, megabytes * 2**20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for start in range(0, len(region), mmap.PAGESIZE):
        region[start] = 1
    return region


def test_the_mark_is_set_back_and_rises_by_what_is_held():
    region = held(64)
    high = memory.reset_peak()
    region.close()
    low = memory.reset_peak()
    assert high - low > 50e6
    region = held(32)
    assert 30e6 < memory.status("VmHWM") - low < 60e6
    region.close()
    assert memory.status("VmHWM") - low > 30e6, "it is the highest, not the last"


@pytest.mark.parametrize("text", ["512,512", "512,512,0", "a,b,c", "512,512,-3", ""])
def test_what_is_no_shape_is_refused(text):
    with pytest.raises(InputError, match="three positive whole numbers with commas between them, got"):
        memory.sides(text)


@pytest.mark.slow
def test_a_small_run_prints_bytes_a_voxel():
    import typer

    app = typer.Typer()
    app.command()(memory.main)
    result = CliRunner().invoke(app, ["--shape", "40,48,3", "--keep", "saliency"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["shape"] == [40, 48, 3] and found["keep"] == ["saliency"] and found["networks_mb"] > 100
    assert found["bytes_a_voxel"] >= found["bytes_a_voxel_segmented"] >= 0
    assert found["times_the_image_as_float32"] == pytest.approx(found["bytes_a_voxel"] / 4, abs=0.02)
