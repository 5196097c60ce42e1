"""A work folder as a training leaves it, with random weights: made in a moment, and readable by nnU-Net itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.nnunet.network_plan import NetworkPlan

_RESAMPLING = "resample_data_or_seg_to_shape"


def make_plans(volumes: bool, channels: int, configuration: str, forward: tuple[int, int, int]) -> dict[str, Any]:
    """Plans of a small network, as nnU-Net writes them."""
    original = (3.0, 0.8, 0.9) if volumes else (999.0, 1.0, 1.0)
    spacing = [original[axis] for axis in forward]
    axes = int(configuration[0])
    patch = [8, 32, 32][-axes:]
    strides = [[1, 1, 1], [1, 2, 2], [2, 2, 2]]
    kwargs = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    settings = {
        "data_identifier": f"nnUNetPlans_{configuration}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": patch,
        "median_image_size_in_voxels": [float(side) for side in patch],
        "spacing": spacing[-axes:],
        "normalization_schemes": ["ZScoreNormalization" if channels == 1 else "RGBTo01Normalization"] * channels,
        "use_mask_for_norm": [False] * channels,
        "resampling_fn_data": _RESAMPLING,
        "resampling_fn_seg": _RESAMPLING,
        "resampling_fn_probabilities": _RESAMPLING,
        "resampling_fn_data_kwargs": kwargs,
        "resampling_fn_seg_kwargs": {**kwargs, "is_seg": True, "order": 1},
        "resampling_fn_probabilities_kwargs": {**kwargs, "order": 1},
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {
                "n_stages": 3,
                "features_per_stage": [4, 8, 16],
                "conv_op": f"torch.nn.modules.conv.Conv{axes}d",
                "kernel_sizes": [[3] * axes] * 3,
                "strides": [stage[-axes:] for stage in strides],
                "n_conv_per_stage": [2, 2, 2],
                "n_conv_per_stage_decoder": [2, 2],
                "conv_bias": True,
                "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{axes}d",
                "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        "batch_dice": True,
    }
    return {
        "dataset_name": "Dataset001_Weak",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": spacing,
        "original_median_shape_after_transp": [1, 32, 32],
        "image_reader_writer": "SimpleITKIO" if volumes else "NaturalImage2DIO",
        "transpose_forward": list(forward),
        "transpose_backward": [forward.index(axis) for axis in range(3)],
        "configurations": {configuration: settings},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(channel): {} for channel in range(channels)},
    }


def make_training(
    root: Path,
    volumes: bool = False,
    channels: int = 1,
    classes: int = 1,
    members: int = 3,
    configuration: str = "2d",
    forward: tuple[int, int, int] = (0, 1, 2),
) -> WorkFolders:
    """Write plans, data set description, checkpoints and their list; the checkpoints hold what nnU-Net asks for too."""
    folders = WorkFolders(root)
    folders.preprocessed.mkdir(parents=True)
    folders.planned_json.write_text(json.dumps({"configuration": configuration}))
    folders.fold.mkdir(parents=True)
    plans = make_plans(volumes, channels, configuration, forward)
    mirrored = tuple(range(int(configuration[0])))
    names = ("lungs", "heart", "spine")[:classes]
    dataset = {
        "channel_names": {str(channel): f"channel {channel}" for channel in range(channels)},
        "labels": {"background": 0, **{name: label for label, name in enumerate(names, start=1)}},
        "numTraining": 8,
        "file_ending": ".nii.gz" if volumes else ".png",
    }
    (folders.results / "plans.json").write_text(json.dumps(plans))
    (folders.results / "dataset.json").write_text(json.dumps(dataset))
    entries = [
        {"file": f"checkpoint_epoch_{epoch:04d}.pth", "epoch": epoch, "cycle": epoch // 2} for epoch in range(members)
    ]
    folders.members_json.write_text(json.dumps({"members": entries, "expected": members}))
    network = NetworkPlan(plans, dataset, configuration, mirrored).build_network()
    for entry in entries:
        torch.manual_seed(int(entry["epoch"]))
        _randomise(network)
        checkpoint = {
            "network_weights": network.state_dict(),
            "epoch": entry["epoch"],
            "trainer_name": "nnUNetTrainer",
            "init_args": {"configuration": configuration},
            "inference_allowed_mirroring_axes": mirrored,
        }
        torch.save(checkpoint, folders.fold / str(entry["file"]))
    return folders


def _randomise(network: torch.nn.Module) -> None:
    """New weights with outputs that are neither flat nor certain."""
    for module in network.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    for layer in network.decoder.seg_layers:
        torch.nn.init.normal_(layer.weight, std=0.6)
