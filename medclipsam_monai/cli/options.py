"""Options that several commands take, each said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Text = Annotated[
    list[str] | None,
    typer.Option("--text", "-t", help="What to segment: 'lungs', or 'NAME=a sentence'. Repeat for more classes."),
]
Opposite = Annotated[
    list[str] | None,
    typer.Option(help="What is seen where the class is absent: 'no tumor', or 'NAME=no tumor'. May be repeated."),
]
Prompts = Annotated[
    str | None, typer.Option(help="Instead of --text: a prompt set, as NAME[:LEVEL[:FINDING]], or a JSON file.")
]
Examples = Annotated[
    Path | None, typer.Option(help="Segment what looks like this: a folder of 1 to 16 images with masks beside them.")
]
ExampleEncoder = Annotated[
    Path | None, typer.Option(help="Compare with the examples by a DINOv2: a local folder of transformers.")
]

Preset = Annotated[str, typer.Option(help="Weights and parameters: a name or a JSON file.")]
Task = Annotated[str | None, typer.Option(help="Parameters for one of the preset's tasks.")]
Clip = Annotated[str | None, typer.Option(help="CLIP weights instead of the preset's.")]
Sam = Annotated[str | None, typer.Option(help="SAM weights instead of the preset's.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", help="Change a parameter of the preset: saliency.gamma=2. Repeatable.")
]
Window = Annotated[
    str | None, typer.Option(help="Grey levels: a CT window's name, 'CENTRE,WIDTH', percentile[:LOW,HIGH], full.")
]
SliceAxis = Annotated[str, typer.Option(help="How volumes are cut: acquired, axial, coronal, sagittal, all.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Amp = Annotated[bool | None, typer.Option(help="Half precision in SAM, if the device has it. (default: only on cuda)")]
Always = Annotated[bool, typer.Option("--always", help="A mask at any price, for who knows that the target is there.")]
Seed = Annotated[int | None, typer.Option(help="Seed of the noise and of the points.")]

Format = Annotated[
    str | None,
    typer.Option("--format", help="nrrd: masks as .seg.nrrd for 3D Slicer. (default: the input's own kind)"),
]
DicomSeg = Annotated[bool, typer.Option("--dicom-seg", help="Of DICOM images write a DICOM SEG too (the extra 'seg').")]
SaveSaliency = Annotated[bool, typer.Option("--save-saliency", help="Write the saliency maps too.")]
SaveProbability = Annotated[bool, typer.Option("--save-probability", help="Write the probabilities too.")]
Overlay = Annotated[bool, typer.Option(help="Write a picture of each mask.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Do again what is done, and replace other files that are in the way.")
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Exit code 2 where files of a folder are left out that are no images.")
]
MaxVoxels = Annotated[int | None, typer.Option(help="Read images of up to so many voxels.")]
Batch = Annotated[int, typer.Option(help="Pictures of one size that go through the networks together.")]
