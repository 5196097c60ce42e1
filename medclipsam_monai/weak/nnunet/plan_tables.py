"""Tables of what nnU-Net 2.8 writes into its plans: names of classes and functions, and the values beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from torch import nn

from medclipsam_monai.base.value_checks import BOOLEAN, NULL, Kind, either, integer, number, one_of

_MODULE = "dynamic_network_architectures.architectures.unet"
NETWORKS: Mapping[str, type[nn.Module]] = {
    f"{_MODULE}.PlainConvUNet": PlainConvUNet,
    f"{_MODULE}.ResidualEncoderUNet": ResidualEncoderUNet,
}
NONLINEARITIES: Mapping[str, type[nn.Module]] = {
    "torch.nn.LeakyReLU": nn.LeakyReLU,
    "torch.nn.ReLU": nn.ReLU,
    "torch.nn.modules.activation.LeakyReLU": nn.LeakyReLU,
    "torch.nn.modules.activation.ReLU": nn.ReLU,
}
LAYERS: Mapping[int, Mapping[str, Mapping[str, type[nn.Module]]]] = {
    2: {
        "conv_op": {"torch.nn.modules.conv.Conv2d": nn.Conv2d},
        "norm_op": {
            "torch.nn.modules.instancenorm.InstanceNorm2d": nn.InstanceNorm2d,
            "torch.nn.modules.batchnorm.BatchNorm2d": nn.BatchNorm2d,
        },
        "dropout_op": {"torch.nn.modules.dropout.Dropout2d": nn.Dropout2d},
        "nonlin": NONLINEARITIES,
    },
    3: {
        "conv_op": {"torch.nn.modules.conv.Conv3d": nn.Conv3d},
        "norm_op": {
            "torch.nn.modules.instancenorm.InstanceNorm3d": nn.InstanceNorm3d,
            "torch.nn.modules.batchnorm.BatchNorm3d": nn.BatchNorm3d,
        },
        "dropout_op": {"torch.nn.modules.dropout.Dropout3d": nn.Dropout3d},
        "nonlin": NONLINEARITIES,
    },
}
"""By number of dimensions and by key: the layers that plans may name. This list is looked up, not the file's."""

READERS = (
    "NaturalImage2DIO",
    "SimpleITKIO",
    "SimpleITKIOWithReorient",
    "NibabelIO",
    "NibabelIOWithReorient",
    "Tiff3DIO",
)
PLANNERS = (
    "ExperimentPlanner",
    "ResEncUNetPlanner",
    "nnUNetPlannerResEncM",
    "nnUNetPlannerResEncL",
    "nnUNetPlannerResEncXL",
    "nnUNetPlanner_torchres",
    "nnUNetPlannerResEncL_torchres",
    "nnUNetPlannerResEncL_torchres_sepz",
    "nnUNetPlannerResEncL_noResampling",
)
NORMALISATIONS = (
    "ZScoreNormalization",
    "CTNormalization",
    "NoNormalization",
    "RescaleTo01Normalization",
    "RGBTo01Normalization",
)
POSITIVE = number(1e-4, 1e6)
_SPLINE: Mapping[str, Kind] = {
    "is_seg": BOOLEAN,
    "order": integer(0, 5),
    "order_z": integer(0, 5),
    "force_separate_z": either(NULL, BOOLEAN),
    "separate_z_anisotropy_threshold": number(1, 1000),
}
_TORCH: Mapping[str, Kind] = {
    "is_seg": BOOLEAN,
    "force_separate_z": either(NULL, BOOLEAN),
    "separate_z_anisotropy_threshold": number(1, 1000),
    "memefficient_seg_resampling": BOOLEAN,
    "num_threads": integer(1, 64),
    "mode": one_of("linear", "nearest", "nearest-exact"),
    "aniso_axis_mode": one_of("linear", "nearest", "nearest-exact"),
}
RESAMPLING: Mapping[str, Mapping[str, Kind]] = {
    "resample_data_or_seg_to_shape": _SPLINE,
    "resample_torch_fornnunet": _TORCH,
    "no_resampling_hack": {},
}
LAYER_SETTINGS: Mapping[str, Mapping[str, Kind]] = {
    "norm_op_kwargs": {
        "eps": number(1e-12, 1),
        "affine": BOOLEAN,
        "momentum": either(NULL, number(0, 1)),
        "track_running_stats": BOOLEAN,
    },
    "dropout_op_kwargs": {"p": number(0, 1), "inplace": BOOLEAN},
}
NONLINEARITY_SETTINGS: Mapping[type, Mapping[str, Kind]] = {
    nn.LeakyReLU: {"inplace": BOOLEAN, "negative_slope": number(0, 1)},
    nn.ReLU: {"inplace": BOOLEAN},
}
INTENSITIES = dict.fromkeys(
    ("max", "mean", "median", "min", "percentile_00_5", "percentile_99_5", "std"),
    either(number(-1e30, 1e30), Kind("NaN", lambda given: type(given) is float and math.isnan(given))),
)
