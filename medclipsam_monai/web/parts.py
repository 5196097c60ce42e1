"""The parts of the page, without what they do: see `events`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import gradio as gr

from medclipsam_monai.base.windows import CT_WINDOWS
from medclipsam_monai.io import DISPLAY_CODES, SLICE_AXES
from medclipsam_monai.presets import Preset
from medclipsam_monai.web.shown.suggestions import sentences_of_sets
from medclipsam_monai.web.visits.question import BOXES, Tuning
from medclipsam_monai.web.visits.samples import SAMPLES
from medclipsam_monai.zero_shot.volumes.planes import ALL_AXES

AUTOMATIC, OWN_WINDOW = "automatic", "centre and width"
NO_TASK = "none"
CUTS = (*SLICE_AXES, ALL_AXES)
TOOLS = {"Inside": "inside", "Outside": "outside", "Box": "box"}
LAYER_NAMES = {
    "Mask": "mask",
    "Saliency": "saliency",
    "Coarse mask": "coarse",
    "Visual prompts": "prompts",
    "Wordings": "words",
    "Corrections": "clicks",
}
SHOWN_FIRST = ["mask", "clicks"]
EMPTY = (
    '<div class="empty"><p><strong>Open an image</strong>: PNG, JPG, TIFF, DICOM, NIfTI, NRRD or MetaImage; the files, '
    "the folder or a zip of a series.</p><p>Or begin with a drawn example above.</p></div>"
)
NOTHING_FOUND = '<p class="nothing">What is found stands here: presence, area or volume, and the files to download.</p>'
_HEADER = (
    '<div class="title" data-most="{most}"><h1>MedCLIP-SAM</h1><p>Segment a medical image by describing what to '
    "segment. <strong>For research, not for diagnosis.</strong></p></div>"
    '<button type="button" class="theme" aria-label="Light or dark">◐</button>'
)
_HINT = (
    '<p class="hint">Click to correct, with Shift for outside; drag for a box.<span class="keys"> By keyboard: arrows '
    "move, Enter clicks, O is outside, B begins and ends a box, Page Up and Page Down change the slice.</span></p>"
)


def asset(name: str) -> str:
    """The text of a file of `assets`."""
    return (files("medclipsam_monai.web") / "assets" / name).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Parts:
    """Every part that an event reads or changes, by what it is."""

    token: Any
    files: Any
    folder: Any
    samples: dict[str, Any]
    image: Any
    text: Any
    segment: Any
    chips: Any
    status: Any
    cancel: Any
    viewer: Any
    volume: Any
    number: Any
    plane: Any
    layers: Any
    tool: Any
    classes: Any
    undo: Any
    clear: Any
    facts: Any
    downloads: Any
    sentences: Any
    opposites: Any
    always: Any
    preset: Any
    task: Any
    threshold: Any
    gamma: Any
    boxes: Any
    points: Any
    window: Any
    centre: Any
    width: Any
    cut: Any
    reword: Any
    words: Any
    example_files: Any
    example_folder: Any
    no_examples: Any


def lay_out(presets: dict[str, Preset], first: str, most_bytes: int) -> Parts:
    """Put all parts on the page that is open, see `gradio.Blocks`.

    Args:
        presets: to choose from, by name.
        first: that is chosen.
        most_bytes: that may be sent at once.
    """
    made: dict[str, Any] = {"token": gr.Textbox(visible=False)}
    gr.HTML(_HEADER.format(most=most_bytes), elem_id="header", js_on_load=asset("page.js"))
    made |= _image_parts()
    with gr.Row(elem_id="work"):
        with gr.Column(scale=7, min_width=340, elem_id="left"):
            made |= _question_parts()
            made |= _viewer_parts()
        with gr.Column(scale=4, min_width=320, elem_id="right"):
            made["facts"] = gr.HTML(NOTHING_FOUND, elem_id="facts")
            made["downloads"] = gr.HTML(elem_id="downloads")
            made |= _method_parts(presets, first)
            made |= _grey_parts()
            made |= _words_parts()
            made |= _example_parts()
    return Parts(**made)


def _image_parts() -> dict[str, Any]:
    made: dict[str, Any] = {}
    with gr.Row(elem_id="open"):
        with gr.Column(scale=4, min_width=300, elem_id="sent"):
            gr.HTML('<p class="label">Open a picture, a volume, the files or a zip of a series</p>')
            made["files"] = gr.File(
                label="Open files", show_label=False, file_count="multiple", height=64, elem_id="files"
            )
        with gr.Column(scale=5, min_width=300, elem_id="samples"):
            gr.HTML('<p class="label">Or a folder, or a drawn example</p>')
            with gr.Row(elem_classes="buttons"):
                made["folder"] = gr.UploadButton(
                    "Open a folder …", file_count="directory", size="md", min_width=90, elem_id="folder"
                )
                made["samples"] = {
                    name: gr.Button(one.label, size="md", min_width=90, elem_id=f"sample-{name}")
                    for name, one in SAMPLES.items()
                }
    made["image"] = gr.Dropdown(label="Image", visible=False, elem_id="image")
    return made


def _question_parts() -> dict[str, Any]:
    made: dict[str, Any] = {}
    with gr.Row(elem_id="ask"):
        made["text"] = gr.Textbox(
            label="What to segment", placeholder="lungs, or several: lungs; heart", elem_id="text", scale=5, max_lines=1
        )
        made["segment"] = gr.Button("Segment", variant="primary", elem_id="segment", scale=1, min_width=110)
    made["chips"] = gr.HTML(elem_id="chips", js_on_load=asset("chips.js"))
    with gr.Row(elem_id="state"):
        made["status"] = gr.HTML(elem_id="status")
        made["cancel"] = gr.Button("Cancel", size="sm", visible=False, elem_id="cancel", scale=0, min_width=90)
    return made


def _viewer_parts() -> dict[str, Any]:
    made: dict[str, Any] = {}
    made["viewer"] = gr.HTML(
        EMPTY,
        html_template='<div class="stage" tabindex="0" role="group" aria-label="Image with its layers">${value}</div>'
        + _HINT,
        js_on_load=asset("viewer.js"),
        elem_id="viewer",
    )
    with gr.Row(visible=False, elem_id="volume") as volume:
        made["number"] = gr.Slider(1, 2, 1, step=1, label="Slice", elem_id="slice", scale=4)
        made["plane"] = gr.Radio(list(DISPLAY_CODES), label="Plane", elem_id="plane", scale=3, min_width=260)
    made["volume"] = volume
    made["layers"] = gr.CheckboxGroup(list(LAYER_NAMES.items()), value=SHOWN_FIRST, label="Layers", elem_id="layers")
    with gr.Row(elem_id="correct"):
        made["tool"] = gr.Radio(
            list(TOOLS.items()), value="inside", label="Correct by clicks or a box", elem_id="tool", scale=3
        )
        made["classes"] = gr.Radio([], label="Class", elem_id="classes", visible=False, scale=2, min_width=160)
        made["undo"] = gr.Button("Undo", size="sm", elem_id="undo", scale=0, min_width=80)
        made["clear"] = gr.Button("Clear", size="sm", elem_id="clear", scale=0, min_width=80)
    return made


def _method_parts(presets: dict[str, Preset], first: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    own = Tuning.of(presets[first])
    with gr.Accordion("Wording and method", open=True):
        made["sentences"] = gr.Dropdown(
            sentences_of_sets(), value=None, label="Take a wording from the prompt sets", elem_id="sentences"
        )
        made["threshold"] = gr.Slider(0, 1, own.threshold, step=0.01, label="Threshold", elem_id="threshold")
        made["gamma"] = gr.Slider(0.1, 5, own.gamma or 1, step=0.1, label="Gamma of the saliency", elem_id="gamma")
        made["boxes"] = gr.Radio(list(BOXES), value=own.boxes, label="Visual prompts: boxes", elem_id="boxes")
        made["points"] = gr.Slider(0, 20, own.points, step=1, label="Visual prompts: points in each", elem_id="points")
        with gr.Row():
            made["preset"] = gr.Dropdown(list(presets), value=first, label="Preset", elem_id="preset", min_width=120)
            made["task"] = gr.Dropdown(
                [NO_TASK, *presets[first].tasks],
                value=NO_TASK,
                label="Task of the preset",
                elem_id="task",
                min_width=160,
            )
        made["opposites"] = gr.Textbox(
            label="Opposite: what is seen where it is absent", placeholder="no tumor", elem_id="opposites", max_lines=1
        )
        made["always"] = gr.Checkbox(label="Always a mask, also where it is likely absent", elem_id="always")
    return made


def _grey_parts() -> dict[str, Any]:
    made: dict[str, Any] = {}
    with gr.Accordion("Grey levels and cut", open=False):
        made["window"] = gr.Dropdown(
            [AUTOMATIC, *CT_WINDOWS, OWN_WINDOW], value=AUTOMATIC, label="Window", elem_id="window"
        )
        with gr.Row():
            made["centre"] = gr.Number(40, label="Centre (level)", elem_id="centre", min_width=120)
            made["width"] = gr.Number(400, label="Width", elem_id="width", min_width=120)
        made["cut"] = gr.Radio(list(CUTS), value=CUTS[0], label="Cut a volume for the networks", elem_id="cut")
    return made


def _words_parts() -> dict[str, Any]:
    with gr.Accordion("The same request in other words", open=False):
        button = gr.Button("Ask in other words", size="sm", elem_id="reword")
        return {"reword": button, "words": gr.HTML(elem_id="words")}


def _example_parts() -> dict[str, Any]:
    made: dict[str, Any] = {}
    with gr.Accordion("Examples instead of words", open=False):
        gr.HTML(
            "<p>1 to 16 images with their masks (<code>a.png</code> and <code>a_mask.png</code>), or a zip of them. "
            "Leave the text empty, or keep it to say whether the target is there.</p>"
        )
        made["example_files"] = gr.File(
            label="Images and masks", show_label=False, file_count="multiple", height=64, elem_id="example-files"
        )
        with gr.Row():
            made["example_folder"] = gr.Button("Drawn lungs as examples", size="sm", elem_id="example-lungs")
            made["no_examples"] = gr.Button("No examples", size="sm", elem_id="no-examples")
    return made
