"""The readers and writers as MONAI transforms, for bundles and other MONAI pipelines."""

from __future__ import annotations

from medclipsam_monai.io.transforms.answer import AnswerOnFileD, AnswerOnFiled, AnswerOnFileDict
from medclipsam_monai.io.transforms.labels import (
    LabelMap,
    LabelMapD,
    LabelMapd,
    LabelMapDict,
    LabelsToChannels,
    LabelsToChannelsD,
    LabelsToChannelsd,
    LabelsToChannelsDict,
    ReadLabelD,
    ReadLabeld,
    ReadLabelDict,
)
from medclipsam_monai.io.transforms.read_image import ReadImage, ReadImageD, ReadImaged, ReadImageDict
from medclipsam_monai.io.transforms.request import KeepRequestD, KeepRequestd, KeepRequestDict
from medclipsam_monai.io.transforms.write_mask import WriteMaskD, WriteMaskd, WriteMaskDict
from medclipsam_monai.io.transforms.write_outputs import WriteOutputs

__all__ = [
    "AnswerOnFileD",
    "AnswerOnFileDict",
    "AnswerOnFiled",
    "KeepRequestD",
    "KeepRequestDict",
    "KeepRequestd",
    "LabelMap",
    "LabelMapD",
    "LabelMapDict",
    "LabelMapd",
    "LabelsToChannels",
    "LabelsToChannelsD",
    "LabelsToChannelsDict",
    "LabelsToChannelsd",
    "ReadImage",
    "ReadImageD",
    "ReadImageDict",
    "ReadImaged",
    "ReadLabelD",
    "ReadLabelDict",
    "ReadLabeld",
    "WriteMaskD",
    "WriteMaskDict",
    "WriteMaskd",
    "WriteOutputs",
]
