"""What nnU-Net's plans may hold: every name, every value, as nnU-Net 2.8 writes them.

nnU-Net finds classes and functions by the names in its plans, and calls them with the values beside. Plans travel
inside model files, so each place that nnU-Net looks at has its own table here: nothing else is let through.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.value_checks import (
    ANYTHING,
    BOOLEAN,
    NAME,
    NULL,
    Kind,
    check_object,
    each,
    either,
    integer,
    number,
    one_of,
    shown,
    text,
)
from medclipsam_monai.weak.nnunet.plan_tables import (
    INTENSITIES,
    LAYER_SETTINGS,
    LAYERS,
    NETWORKS,
    NONLINEARITIES,
    NONLINEARITY_SETTINGS,
    NORMALISATIONS,
    PLANNERS,
    POSITIVE,
    READERS,
    RESAMPLING,
)
from medclipsam_monai.weak.nnunet.schedule import check_cyclic

_WINDOW = either(NULL, text(100), each(number(-1e9, 1e9), 2))
_RESAMPLED = ("data", "seg", "probabilities")
_MOST_STAGES = 12
_MOST_PATCH = 1 << 25  # pixels or voxels
_MOST_FEATURES = 1 << 30  # numbers between two layers, 4 GB; nnU-Net's largest preset has a quarter of that


def check_plans(plans: Any, dimensions_of: str, channels: int) -> dict[str, Any]:
    """Make sure that plans hold what nnU-Net writes, in every place that it looks at.

    Args:
        plans: content of plans.json.
        dimensions_of: name of the configuration that is used, "2d" or "3d_...".
        channels: of an image.

    Returns:
        The configuration, with what it inherits.

    Raises:
        InputError: naming the first place that holds anything else.
    """
    names: dict[str, Kind] = {
        "image_reader_writer": one_of(*READERS),
        "transpose_forward": each(integer(0, 2), 3),
        "transpose_backward": each(integer(0, 2), 3),
        "configurations": ANYTHING,
        "foreground_intensity_properties_per_channel": ANYTHING,
        "original_median_spacing_after_transp": each(POSITIVE, 3),
    }
    optional = {
        "dataset_name": NAME,
        "plans_name": NAME,
        "original_median_shape_after_transp": each(number(0, 1e6), 3),
        "experiment_planner_used": one_of(*PLANNERS),
        "label_manager": one_of("LabelManager"),
        "cyclic": ANYTHING,
    }
    check_object(plans, names, optional, "the plans")
    forward, backward = plans["transpose_forward"], plans["transpose_backward"]
    if [forward[axis] for axis in backward] != [0, 1, 2]:
        raise InputError(f"transpose_backward in the plans must undo {list(forward)}, got {list(backward)}")
    check_cyclic(plans.get("cyclic", {}))
    configuration = _inherited(plans["configurations"], dimensions_of)
    _check_configuration(configuration, channels)
    _check_intensities(plans["foreground_intensity_properties_per_channel"], configuration, channels)
    return configuration


def check_dataset(dataset: Any) -> None:
    """Make sure that dataset.json tells channels and labels, and nothing that nnU-Net would look up.

    Raises:
        InputError: naming what it holds instead.
    """
    required = {"channel_names": ANYTHING, "labels": ANYTHING}
    known = {
        **required,
        "file_ending": Kind(
            "an ending such as .png or .nii.gz",
            lambda given: type(given) is str and NAME.holds(given[1:]) and given[:1] == "." and ".." not in given,
        ),
        "numTraining": integer(0, 10**9),
        "overwrite_image_reader_writer": one_of(*READERS, "None"),
        "regions_class_order": NULL,
        "medclipsam": ANYTHING,
    }
    given = dataset if type(dataset) is dict else None
    if given is not None:  # a name, a licence, a reference: nothing reads those
        given = {key: value for key, value in dataset.items() if key in known}
    check_object(given, required, {key: kind for key, kind in known.items() if key not in required}, "dataset.json")
    channels, labels = dataset["channel_names"], dataset["labels"]
    if type(channels) is not dict or len(channels) not in (1, 3) or not all(map(text().holds, channels.values())):
        raise InputError(f"channel_names in dataset.json must name 1 or 3 channels, got {shown(channels)}")
    if list(map(str, channels)) != [str(number) for number in range(len(channels))]:
        raise InputError(f"channel_names in dataset.json must be numbered from 0, got {list(map(shown, channels))}")
    if type(labels) is not dict or not 2 <= len(labels) <= 1000 or not all(map(text(200).holds, labels)):
        raise InputError(f"labels in dataset.json must be an object of 2 to 1000 names, got {shown(labels)}")
    if not all(type(label) is int for label in labels.values()) or sorted(labels.values()) != list(range(len(labels))):
        raise InputError(f"labels must be numbered 0, 1, ... without regions or an ignore label, got {shown(labels)}")
    if "ignore" in labels or labels.get("background") != 0:
        raise InputError("labels in dataset.json must have the background at 0 and no ignore label")
    own = {"window": _WINDOW, "slice_axis": one_of("axial", "coronal", "sagittal", "acquired"), "fingerprint": text()}
    check_object(dataset.get("medclipsam", {}), {}, own, "medclipsam in dataset.json")


def _inherited(configurations: Any, name: str) -> dict[str, Any]:
    """A configuration over those that it inherits from, as nnU-Net resolves them."""
    if type(configurations) is not dict or not 1 <= len(configurations) <= 50:
        raise InputError(f"configurations in the plans must be an object of 1 to 50, got {shown(configurations)}")
    found: dict[str, Any] = {}
    for _ in range(len(configurations) + 1):
        if type(name) is not str or name not in configurations:
            raise InputError(f"the plans have no configuration {shown(name)}")
        if type(configurations[name]) is not dict:
            raise InputError(f"configuration {name} in the plans must be an object, got {shown(configurations[name])}")
        found = {**configurations[name], **found}
        if "inherits_from" not in configurations[name]:
            return {key: value for key, value in found.items() if key != "inherits_from"}
        name = configurations[name]["inherits_from"]
    raise InputError("the plans' configurations inherit from each other in a circle")


def _check_configuration(configuration: Any, channels: int) -> None:
    size = configuration.get("patch_size")
    dimensions = len(size) if type(size) in (list, tuple) and len(size) in LAYERS else 2
    steps: dict[str, Kind] = {}
    for what in _RESAMPLED:
        steps |= {f"resampling_fn_{what}": one_of(*RESAMPLING), f"resampling_fn_{what}_kwargs": ANYTHING}
    required = {
        "preprocessor_name": one_of("DefaultPreprocessor"),
        "patch_size": each(integer(1, 1 << 14), dimensions),
        "spacing": each(POSITIVE, dimensions),
        "normalization_schemes": each(one_of(*NORMALISATIONS), channels),
        "use_mask_for_norm": each(BOOLEAN, channels),
        "architecture": ANYTHING,
        **steps,
    }
    optional = {
        "data_identifier": NAME,
        "batch_size": integer(1, 10**5),
        "median_image_size_in_voxels": each(number(0, 1e6), dimensions),
        "batch_dice": BOOLEAN,
    }
    check_object(configuration, required, optional, "the plans' configuration")
    if math.prod(configuration["patch_size"]) > _MOST_PATCH:
        raise InputError(f"patch_size in the plans must be at most {_MOST_PATCH:,} pixels, got {shown(size)}")
    for what in _RESAMPLED:
        key = f"resampling_fn_{what}_kwargs"
        check_object(configuration[key], {}, RESAMPLING[configuration[f"resampling_fn_{what}"]], f"{key} in the plans")
    _check_architecture(configuration["architecture"], configuration["patch_size"])


def _check_architecture(architecture: Any, patch_size: Any) -> None:
    required = {"network_class_name": one_of(*NETWORKS), "arch_kwargs": ANYTHING, "_kw_requires_import": ANYTHING}
    check_object(architecture, required, {}, "architecture in the plans")
    dimensions = len(patch_size)
    layers = LAYERS[dimensions]
    imported = architecture["_kw_requires_import"]
    if type(imported) not in (list, tuple) or list(imported) != list(layers):
        raise InputError(f"_kw_requires_import in the plans must be {', '.join(layers)}, got {shown(imported)}")
    kwargs = architecture["arch_kwargs"]
    if type(kwargs) is not dict:
        raise InputError(f"arch_kwargs in the plans must be an object, got {shown(kwargs)}")
    stages: Any = kwargs.get("n_stages")
    if not integer(1, _MOST_STAGES).holds(stages):
        raise InputError(f"n_stages in the plans must be a whole number from 1 to {_MOST_STAGES}, got {shown(stages)}")
    is_plain = architecture["network_class_name"].endswith(".PlainConvUNet")
    counts = each(integer(1, 20), stages)
    required = {
        "n_stages": integer(1, _MOST_STAGES),
        "features_per_stage": each(integer(1, 4096), stages),
        "kernel_sizes": each(each(one_of(1, 3, 5, 7), dimensions), stages),
        "strides": each(each(integer(1, 8), dimensions), stages),
        "n_conv_per_stage" if is_plain else "n_blocks_per_stage": counts,
        "n_conv_per_stage_decoder": each(integer(1, 20), stages - 1),
        "conv_op": one_of(*layers["conv_op"]),
    }
    optional = {
        "conv_bias": BOOLEAN,
        "norm_op": one_of(*layers["norm_op"], None),
        "dropout_op": one_of(*layers["dropout_op"], None),
        "nonlin": one_of(*layers["nonlin"], None),
        **dict.fromkeys((*LAYER_SETTINGS, "nonlin_kwargs"), ANYTHING),
        **({"nonlin_first": BOOLEAN} if is_plain else {}),
    }
    check_object(kwargs, required, optional, "arch_kwargs in the plans")
    tables = {**LAYER_SETTINGS, "nonlin_kwargs": _nonlin_settings(kwargs.get("nonlin"))}
    for key, table in tables.items():
        if kwargs.get(key) is not None:
            check_object(kwargs[key], {}, table, f"{key} in the plans")
    pixels = math.prod(patch_size)
    for features, strides in zip(kwargs["features_per_stage"], kwargs["strides"], strict=True):
        pixels //= math.prod(strides)
        if pixels * features > _MOST_FEATURES:
            raise InputError(
                f"the plans' network has {pixels * features:,} numbers between two layers; expected at most "
                f"{_MOST_FEATURES:,}"
            )
    for axis, side in enumerate(patch_size):
        pooled = math.prod(stride[axis] for stride in kwargs["strides"])
        if side % pooled:
            raise InputError(f"patch_size in the plans must be a multiple of its strides ({pooled}), got {side}")


def _nonlin_settings(name: str | None) -> Mapping[str, Kind]:
    return {} if name is None else NONLINEARITY_SETTINGS[NONLINEARITIES[name]]


def _check_intensities(intensities: Any, configuration: Mapping[str, Any], channels: int) -> None:
    """Only CT's normalisation reads them; a data set of empty masks has NaN there."""
    where = "foreground_intensity_properties_per_channel in the plans"
    names = [str(channel) for channel in range(channels)]
    check_object(intensities, dict.fromkeys(names, ANYTHING), {}, where)
    finite = {name: number(-1e30, 1e30) for name in INTENSITIES}
    for name, scheme in zip(names, configuration["normalization_schemes"], strict=True):
        is_read = scheme == "CTNormalization"
        check_object(intensities[name], finite if is_read else {}, {} if is_read else INTENSITIES, where)
