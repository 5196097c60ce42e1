"""Plans and preprocesses the raw data set by nnU-Net, for a network of the size asked, with the cyclic schedule.

"nnunet" leaves nnU-Net's own plan as it is. "small" is a network for minutes on a CPU; pictures larger than its patch
are resampled by nnU-Net's preprocessing (predictions come back at full size), so that a patch shows the whole picture:
with patches of a quarter of the picture it learnt the heart as well as everything that looks like it elsewhere.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import read_object, write_json
from medclipsam_monai.weak.folders import CONFIGURATIONS, DATASET_ID, PLANS, WorkFolders
from medclipsam_monai.weak.nnunet.pickle_checks import check_case_pickles
from medclipsam_monai.weak.nnunet.plan_checks import check_dataset, check_plans
from medclipsam_monai.weak.nnunet.process import nnunet_environment, run_nnunet
from medclipsam_monai.weak.nnunet.raw_data import read_dataset
from medclipsam_monai.weak.nnunet.schedule import CyclicSchedule, check_cyclic

_PICTURES = (".png", ".bmp", ".tif")  # what nnU-Net reads as 2-D
_CASES_PER_WORKER = 16  # starting a worker takes nnU-Net seconds


@dataclass(frozen=True)
class NetworkSize:
    """A network smaller than nnU-Net would plan.

    Args:
        features: channels of each stage, at most as many stages as nnU-Net plans.
        patch: longest sides of a patch, of a 2-D and a 3-D one.
        batch: patches in a batch, 2-D and 3-D.
        longest: rows and columns of the median picture are resampled to at most this many.
    """

    features: tuple[int, ...]
    patch: tuple[tuple[int, ...], tuple[int, ...]]
    batch: tuple[int, int]
    longest: int


SIZES: dict[str, NetworkSize | None] = {
    "nnunet": None,
    "small": NetworkSize((16, 32, 64, 64, 64), ((128, 128), (32, 64, 64)), (8, 2), 128),
    "tiny": NetworkSize((4, 8, 8), ((32, 32), (8, 32, 32)), (2, 2), 64),
}
"""By name: nnU-Net's own plan, one for minutes on a CPU, one for tests."""


def plan(folders: WorkFolders, cyclic: CyclicSchedule, size: str = "nnunet", configuration: str = "2d") -> None:
    """Plan and preprocess the raw data set.

    What is there already for the same data and size is kept; what an earlier run left half made is made again.

    Args:
        folders: of the run; the raw data set and splits_final.json are there.
        cyclic: written into the plans, key "cyclic", where the trainer reads it.
        size: one of ``SIZES``.
        configuration: "2d", or for volumes "3d_fullres".

    Raises:
        InputError: the data set is not whole, the configuration does not fit it, or nnU-Net failed.
    """
    if size not in SIZES:
        raise InputError(f"size must be one of {', '.join(SIZES)}, got {size!r}")
    if configuration not in CONFIGURATIONS:
        raise InputError(f"configuration must be one of {', '.join(CONFIGURATIONS)}, got {configuration!r}")
    cases = _check_raw(folders, configuration)
    wanted = {"size": size, "configuration": configuration, "data": _data_hash(folders)}
    planned = read_planned(folders)
    if {key: planned.get(key) for key in wanted} != wanted:
        _remove_made(folders)
        _make(folders, cases, size, configuration)
    write_cyclic(folders, cyclic, wanted)


def read_planned(folders: WorkFolders) -> dict[str, Any]:
    """What is planned: "size", "configuration", "data" (a hash) and "cyclic"; empty where nothing is, or half of it."""
    try:
        planned = read_object(folders.planned_json)
        check_cyclic(planned.get("cyclic", {}))
    except InputError:
        return {}
    whole = {"size", "configuration", "data", "cyclic"} <= planned.keys()
    return planned if whole and folders.plans_json.is_file() else {}


def check_planned(folders: WorkFolders) -> None:
    """Make sure that a work folder holds what nnU-Net writes, before its training looks up names and opens pickles.

    Raises:
        InputError: naming the first place that holds anything else.
    """
    plans, dataset = read_object(folders.plans_json), read_object(folders.preprocessed / "dataset.json")
    check_dataset(dataset)
    check_plans(plans, folders.configuration, len(dataset["channel_names"]))
    check_case_pickles(folders.preprocessed)


def write_cyclic(folders: WorkFolders, cyclic: CyclicSchedule, planned: Mapping[str, Any]) -> None:
    """Put the schedule into the plans, and last of all note that they are whole."""
    plans = read_object(folders.plans_json)
    write_json({**plans, "cyclic": asdict(cyclic)}, folders.plans_json)
    write_json({**planned, "cyclic": asdict(cyclic)}, folders.planned_json)


def _check_raw(folders: WorkFolders, configuration: str) -> int:
    """The number of cases, once images, labels and the split are known to belong together."""
    raw = read_dataset(folders)
    if raw.ending in _PICTURES and configuration != "2d":
        raise InputError(f"configuration must be 2d for the pictures in {folders.raw}, got {configuration!r}")
    if not raw.train or not raw.validation:
        raise InputError(
            "the split must have at least one training and one validation case: fold 0 of splits_final.json"
        )
    cases = sorted({*raw.train, *raw.validation})
    for case in cases:
        files = (folders.images / f"{case}_0000{raw.ending}", folders.labels / f"{case}{raw.ending}")
        if not all(file.is_file() for file in files):
            raise InputError(f"image or label of {case} is missing in {folders.raw}: build the data set again")
    return len(cases)


def _data_hash(folders: WorkFolders) -> str:
    """SHA-256 over dataset.json and over name, size and time of every image and label."""
    digest = hashlib.sha256(folders.dataset_json.read_bytes())
    for folder in (folders.images, folders.labels):
        for path in sorted(folder.iterdir()):
            stat = path.stat()
            digest.update(f"{folder.name}/{path.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _remove_made(folders: WorkFolders) -> None:
    """Remove what nnU-Net makes, and only that: the split and whatever else lies there stay."""
    folders.planned_json.unlink(missing_ok=True)
    for name in ("dataset.json", "dataset_fingerprint.json", folders.plans_json.name):
        (folders.preprocessed / name).unlink(missing_ok=True)
    for made in (folders.preprocessed / "gt_segmentations", *folders.preprocessed.glob(f"{PLANS}_*")):
        shutil.rmtree(made, ignore_errors=True)


def _make(folders: WorkFolders, cases: int, size: str, configuration: str) -> None:
    workers = str(max(1, min(os.cpu_count() or 1, cases // _CASES_PER_WORKER)))
    run_nnunet(
        f"{__name__}:plan_here",
        [str(folders.root), size, configuration, workers],
        nnunet_environment(folders, int(workers)),
        folders.logs / "plan.log",
    )


def plan_here() -> None:
    """What ``plan`` runs in a process that has nnU-Net's environment; arguments: root, size, configuration, workers."""
    from nnunetv2.experiment_planning import plan_and_preprocess_api as nnunet

    root, size, configuration, workers = sys.argv[1:]
    folders, network = WorkFolders(Path(root)), SIZES[size]
    nnunet.extract_fingerprints([DATASET_ID], num_processes=int(workers), show_progress_bar=False)
    nnunet.plan_experiments([DATASET_ID])
    if network is not None:
        plans = read_object(folders.plans_json)
        shrink(plans["configurations"][configuration], network)
        write_json(plans, folders.plans_json)
    nnunet.preprocess(
        [DATASET_ID], configurations=[configuration], num_processes=[int(workers)], show_progress_bar=False
    )


def shrink(configuration: dict[str, Any], size: NetworkSize) -> None:
    """Change a configuration of nnU-Net's plans to a smaller network, in place.

    Args:
        configuration: an entry of plans["configurations"].
        size: of the network; a side of the patch becomes a multiple of what the network pools it by.
    """
    network = configuration["architecture"]["arch_kwargs"]
    stages = min(network["n_stages"], len(size.features))
    network["n_stages"] = stages
    network["features_per_stage"] = list(size.features[:stages])
    for key in ("strides", "kernel_sizes", "n_conv_per_stage"):
        network[key] = network[key][:stages]
    network["n_conv_per_stage_decoder"] = network["n_conv_per_stage_decoder"][: stages - 1]
    volume = len(configuration["patch_size"]) - 2
    pooled = [prod(strides) for strides in zip(*network["strides"], strict=True)]
    sides = zip(configuration["patch_size"], size.patch[volume], pooled, strict=True)
    configuration["patch_size"] = [max(1, min(planned, wanted) // pool) * pool for planned, wanted, pool in sides]
    configuration["batch_size"] = size.batch[volume]
    factor = max(1.0, max(configuration["median_image_size_in_voxels"][-2:]) / size.longest)
    for key, scale in (("spacing", factor), ("median_image_size_in_voxels", 1 / factor)):
        configuration[key] = [*configuration[key][:-2], *(scale * value for value in configuration[key][-2:])]
