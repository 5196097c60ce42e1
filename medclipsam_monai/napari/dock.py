"""The dock widget: a text, an image layer, and a button."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from magicgui.widgets import CheckBox, ComboBox, Container, Label, LineEdit, ProgressBar, PushButton, TextEdit
from napari.layers import Image, Labels, Points, Shapes
from napari.utils.colormaps import DirectLabelColormap

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.windows import CT_WINDOWS
from medclipsam_monai.io import SLICE_AXES
from medclipsam_monai.napari import layer_arguments as arguments
from medclipsam_monai.napari.corrections import Correction
from medclipsam_monai.napari.layers import AS_SHOWN, WORLDS, read_layer
from medclipsam_monai.napari.run import LayerLabels, Question, Session, sentences
from medclipsam_monai.napari.work import Work
from medclipsam_monai.presets import DEFAULT_PRESET, load_preset, preset_names
from medclipsam_monai.zero_shot.volumes.planes import ALL_AXES

_DEVICES = ("auto", "cpu", "cuda", "mps")
_AUTOMATIC, _LAYERS_OWN = "automatic", "as the layer is shown"
_CORRECTIONS = (arguments.INSIDE, arguments.OUTSIDE, arguments.BOXES)


class SegmentByText(Container):
    """Segment an image layer by text, and correct what was found by points and boxes.

    Args:
        napari_viewer: whose layers are offered, and which gets the labels.
    """

    def __init__(self, napari_viewer: Any) -> None:
        self.viewer, self.session, self.work = napari_viewer, Session(), Work()
        self._then: Callable[[Any], None] = self._say
        self.image = ComboBox(label="Image", choices=partial(self._layers, Image))
        self.texts = LineEdit(label="Text", value="lungs", tooltip="lungs; heart, or NAME=a sentence")
        self.preset = ComboBox(label="Preset", choices=preset_names(), value=DEFAULT_PRESET)
        self.known = Label(value="")
        self.device = ComboBox(label="Device", choices=_DEVICES)
        self.window = ComboBox(label="Grey levels", choices=(_AUTOMATIC, _LAYERS_OWN, *CT_WINDOWS))
        worlds = [(f"{code}: {told}", code) for code, told in WORLDS.items()]
        self.world = ComboBox(label="World axes", choices=[("by the layer", ""), (AS_SHOWN, AS_SHOWN), *worlds])
        self.slice_axis = ComboBox(label="Slices", choices=(*SLICE_AXES, ALL_AXES))
        self.always = CheckBox(label="", text="Always a mask")
        self.run = PushButton(text="Segment")
        self.labelled = ComboBox(label="Labels", choices=partial(self._layers, Labels), nullable=True)
        self.corrected = ComboBox(label="Class", choices=self._classes)
        self.by = {
            use: ComboBox(label=use.capitalize(), choices=partial(self._layers, kind), nullable=True)
            for use, kind in zip(_CORRECTIONS, (Points, Points, Shapes), strict=True)
        }
        self.new_layers = PushButton(text="New layers to correct by")
        self.correct = PushButton(text="Correct")
        self.cancel = PushButton(text="Cancel", enabled=False)
        self.bar = ProgressBar(label="", value=0, max=1, visible=False)
        self.report = TextEdit(label="")
        self.report.read_only = True
        asked = [self.image, self.texts, self.preset, self.known, self.device, self.window, self.world]
        corrections = [self.labelled, self.corrected, *self.by.values(), self.new_layers, self.correct]
        answered = [self.cancel, self.bar, self.report]
        super().__init__(widgets=[*asked, self.slice_axis, self.always, self.run, *corrections, *answered])
        self._connect()

    def _connect(self) -> None:
        for button, action in (
            (self.run, self._run),
            (self.correct, self._correct),
            (self.new_layers, self._add_correction_layers),
        ):
            button.changed.connect(partial(self._refusing, action))
        self.cancel.changed.connect(self._cancel)
        self.preset.changed.connect(self._describe)
        self.labelled.changed.connect(self.corrected.reset_choices)
        for event in ("inserted", "removed"):
            getattr(self.viewer.layers.events, event).connect(self._refresh)
        self.viewer.layers.selection.events.active.connect(self._follow)
        self.work.told.connect(self._told)
        self.work.done.connect(self._done)
        self.work.failed.connect(self._say)
        self.work.warned.connect(lambda line: self._say(f"Warning: {line}", more=True))
        self.work.ended.connect(self._ended)
        self._describe()
        self._refresh()

    def _layers(self, kind: Any, _: Any = None) -> list[tuple[str, Any]]:
        return [(layer.name, layer) for layer in self.viewer.layers if isinstance(layer, kind)]

    def _classes(self, _: Any = None) -> list[tuple[str, int]]:
        labels = self.labelled.value
        if labels is None:
            return []
        record = labels.metadata.get(arguments.RECORD_KEY)
        if record is None:
            return [(f"label {number}", int(number)) for number in np.unique(np.asarray(labels.data)) if number]
        return [(one["name"], one["label"]) for one in record["classes"]]

    def _refresh(self, _: Any = None) -> None:
        for box in (self.image, self.labelled, self.corrected, *self.by.values()):
            box.reset_choices()
        self._follow()

    def _follow(self, _: Any = None) -> None:
        """Offer the layer that is selected."""
        active = self.viewer.layers.selection.active
        if isinstance(active, Image):
            self.image.value = active
        elif isinstance(active, Labels):
            self.labelled.value = active

    def _describe(self, _: Any = None) -> None:
        self.known.native.setWordWrap(True)
        self.known.value = load_preset(self.preset.value).description

    def question(self) -> Question:
        """What is asked with the widgets as they are.

        Raises:
            InputError: there is no image.
        """
        layer = self._chosen_image()
        window = {_AUTOMATIC: None, _LAYERS_OWN: None}.get(self.window.value, self.window.value)
        if self.window.value == _LAYERS_OWN and not layer.rgb:
            low, high = map(float, layer.contrast_limits)
            window = ((low + high) / 2, high - low)
        texts = tuple(text.strip() for text in self.texts.value.split(";") if text.strip())
        return Question(texts, self.preset.value, self.device.value, self.always.value, window, self.slice_axis.value)

    def _chosen_image(self) -> Any:
        if self.image.value is None:
            raise InputError("there is no image layer; open an image first, for example by File > Open Sample")
        return self.image.value

    def _refusing(self, action: Callable[[], None], _: Any = None) -> None:
        try:
            action()
        except InputError as error:
            self._say(str(error))

    def _run(self) -> None:
        layer, question = self._chosen_image(), self.question()
        image = read_layer(layer, self.world.value or None)
        self._start(partial(self.session.segment, image, question), partial(self._add_labels, layer))

    def _correct(self) -> None:
        layer, labels, question = self._chosen_image(), self.labelled.value, self.question()
        if labels is None or self.corrected.value is None:
            raise InputError("there are no labels to correct; segment by text first, or add a labels layer")
        image, record = read_layer(layer, self.world.value or None), labels.metadata.get(arguments.RECORD_KEY)
        target = sentences(record, self.corrected.current_choice) if record else None
        correction = Correction(*(self._drawn(layer, use) for use in _CORRECTIONS))
        found, number = np.asarray(labels.data), self.corrected.value

        def correct(tell: Any) -> np.ndarray:
            tell("correcting", 0, 0)
            return self.session.correct(image, question, correction, found, number, target)

        self._start(correct, partial(self._replace_labels, labels))

    def _drawn(self, image: Any, use: str) -> list[np.ndarray]:
        """Points, or each box's corners, of the layer chosen for a use, as indices of the image."""
        layer = self.by[use].value
        if layer is None:
            return []
        if use == arguments.BOXES:
            return [_onto(image, layer, corners) for corners in layer.data]
        return list(_onto(image, layer, layer.data))

    def _start(self, function: Callable[..., Any], then: Callable[[Any], None]) -> None:
        if self.work.running:
            return
        self.run.enabled = self.correct.enabled = False
        self.cancel.enabled = self.bar.visible = True
        self.bar.max = 0  # until the first step is known
        self._say("")
        self._then = then
        self.work.start(function)

    def _done(self, found: Any) -> None:
        if found is not None:
            self._then(found)

    def _told(self, doing: str, done: int, total: int) -> None:
        self.bar.max, self.bar.value = total, done
        self.bar.label = doing

    def _cancel(self, _: Any = None) -> None:
        self.work.cancel()

    def _ended(self, cancelled: bool) -> None:
        self.run.enabled = self.correct.enabled = True
        self.cancel.enabled = self.bar.visible = False
        if cancelled:
            self._say("cancelled")

    def _add_labels(self, layer: Any, found: LayerLabels) -> None:
        classes = len(found.record["classes"])
        colours = DirectLabelColormap(color_dict=arguments.label_colours(classes))
        added = self.viewer.add_labels(colormap=colours, **arguments.labels_arguments(layer, found))
        self.labelled.value = added
        self.image.value = layer
        self._say("\n".join(found.report), more=True)

    def _replace_labels(self, layer: Any, corrected: np.ndarray) -> None:
        changed = int((np.asarray(layer.data) != corrected).sum())
        layer.data = corrected
        self._say(f"corrected: {changed:,} {'pixels' if corrected.ndim == 2 else 'voxels'} changed", more=True)

    def _add_correction_layers(self) -> None:
        layer = self._chosen_image()
        made = arguments.correction_arguments(layer)
        for use in _CORRECTIONS:
            add = self.viewer.add_shapes if use == arguments.BOXES else self.viewer.add_points
            added = add(**made[use])
            self.by[use].value = added
            added.mode = "add_rectangle" if use == arguments.BOXES else "add"
        self.image.value = layer

    def _say(self, words: str, more: bool = False) -> None:
        self.report.value = "\n".join(line for line in (self.report.value if more else "", words) if line)


def _onto(image: Any, layer: Any, points: Any) -> np.ndarray:
    """Points (n, d) of a layer as indices of an image layer, by way of the world."""
    places = [image.world_to_data(layer.data_to_world(point)) for point in np.asarray(points, dtype=float)]
    return np.array(places, dtype=float).reshape(len(places), image.ndim)
