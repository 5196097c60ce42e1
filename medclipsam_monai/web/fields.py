"""From the values of the page's fields to a question, and from a visit to what the page shows."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import gradio as gr

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.presets import Preset
from medclipsam_monai.web.parts import AUTOMATIC, CUTS, EMPTY, NO_TASK, NOTHING_FOUND, OWN_WINDOW, Parts
from medclipsam_monai.web.shown.facts import facts, reworded_facts
from medclipsam_monai.web.shown.layers import Scene, drawing
from medclipsam_monai.web.shown.look import Look, first_look, look_at_answer
from medclipsam_monai.web.shown.planes import planes_of
from medclipsam_monai.web.shown.suggestions import chips, suggested
from medclipsam_monai.web.visits.downloads import WORDS, offered
from medclipsam_monai.web.visits.jobs import Job
from medclipsam_monai.web.visits.networks import offered_preset
from medclipsam_monai.web.visits.question import Question, Tuning
from medclipsam_monai.web.visits.visit import Visit

DOWNLOADS = "/download"


def question_fields(parts: Parts) -> list[Any]:
    """The fields that `question_of` reads, in its order."""
    return [
        *(parts.text, parts.opposites, parts.preset, parts.task, parts.threshold, parts.gamma, parts.boxes),
        *(parts.points, parts.always, parts.window, parts.centre, parts.width, parts.cut),
    ]


def question_of(values: tuple[Any, ...], presets: Mapping[str, Preset]) -> Question:
    """What the fields ask.

    Raises:
        InputError: a preset or a cut that is not offered, or a value that its field cannot have.
    """
    if not all(isinstance(value, kind) for value, kind in zip(values, _KINDS, strict=True)):
        raise InputError("the page sent what its fields cannot hold; load it anew")
    text, opposites, preset, task, threshold, gamma, boxes, points, always, window, centre, width, cut = values
    own = Tuning.of(offered_preset(preset, presets))
    level = own.threshold if threshold is None else float(threshold)  # a field that was emptied is the preset's
    power = own.gamma if own.gamma is None or gamma is None else float(gamma)
    tuning = Tuning(level, power, boxes or own.boxes, own.points if points is None else int(points))
    grey = {AUTOMATIC: "", OWN_WINDOW: f"{centre},{width}"}.get(window, window)
    of_task = None if task in (None, NO_TASK) else task
    if cut not in CUTS:
        raise InputError(f"the cut must be one of {', '.join(CUTS)}, got {cut!r}")
    return Question(text or "", opposites or "", preset, of_task, tuning, bool(always), grey, cut)


_WORDS, _NUMBER = str | None, int | float | None
_KINDS = (_WORDS, _WORDS, str, _WORDS, _NUMBER, _NUMBER, _WORDS, _NUMBER, bool | None, str, _NUMBER, _NUMBER, str)
"""Of the values that `question_of` reads."""


def tuning_updates(parts: Parts, preset: Preset) -> dict[Any, Any]:
    """The fields of the method as a preset, perhaps with a task, has them."""
    own = Tuning.of(preset)
    return {
        parts.threshold: own.threshold,
        parts.gamma: gr.update(value=own.gamma or 1, interactive=own.gamma is not None),
        parts.boxes: own.boxes,
        parts.points: own.points,
    }


def scene_of(visit: Visit) -> Scene | None:
    """What is drawn of a visit; None where no image is open."""
    opened, answer = visit.opened, visit.answer
    if opened is None:
        return None
    look: Look = visit.look or first_look(opened)
    if look.plane not in (planes := planes_of(opened)):
        look = look.at(opened)
    visit.look = look
    return Scene(opened, planes[look.plane], look.number, answer, tuple(visit.marks), look.shown_class)


def view_updates(parts: Parts, visit: Visit) -> dict[Any, Any]:
    """The picture, and the slider under it."""
    scene = scene_of(visit)
    if scene is None:
        return {parts.viewer: EMPTY, parts.volume: gr.update(visible=False)}
    plane = scene.plane
    number = gr.update(maximum=max(plane.slices, 2), value=scene.number + 1)
    return {
        parts.viewer: drawing(scene),
        parts.volume: gr.update(visible=plane.slices > 1),
        parts.number: number,
        parts.plane: plane.name or gr.skip(),
    }


def all_updates(parts: Parts, visit: Visit, presets: Mapping[str, Preset], preset: str) -> dict[Any, Any]:
    """Everything that is shown of a visit when its job has ended."""
    answer, opened = visit.answer, visit.opened
    if answer is not None and opened is not None:
        visit.look = look_at_answer(visit.look or first_look(opened), opened, answer)
    names = [] if answer is None else list(answer.segmentation.found.names)
    shown = min(visit.look.shown_class, max(len(names) - 1, 0)) if visit.look else 0
    images = [(source.stem, k) for k, source in enumerate(visit.sources)]
    around = {
        parts.chips: chips(suggested(presets[preset], visit.kinds)) if opened is not None else "",
        parts.classes: gr.update(choices=names, value=names[shown] if names else None, visible=len(names) > 1),
        parts.facts: NOTHING_FOUND if answer is None else facts(answer, len(visit.marks)),
        parts.downloads: downloads_of(visit),
        parts.words: "" if answer is None else reworded_facts(answer.reworded),
        parts.image: gr.update(choices=images, value=visit.chosen, visible=True) if len(images) > 1 else _HIDDEN,
    }
    changed = {part: value for part, value in around.items() if visit.sent.get(part) != value}
    visit.sent.update(changed)
    hidden = gr.update(visible=False)
    return {**view_updates(parts, visit), parts.status: opened_words(visit), parts.cancel: hidden, **changed}


_HIDDEN = gr.update(choices=[], value=None, visible=False)


def opened_words(visit: Visit) -> str:
    """The line on the image that is open."""
    opened = visit.opened
    if opened is None:
        return status("Nothing is kept but while this page is open; what you send goes to this server alone.")
    shape = " × ".join(map(str, opened.display.shape[1:]))
    told = [f"{opened.name}, {shape} {'pixels' if opened.display.ndim == 3 else 'voxels'}"]
    if visit.kinds:
        told.append(f"looks like {visit.kinds[0]}")
    if visit.has_examples:
        told.append("examples are used")
    return status("; ".join([*told, *visit.notes]))


def status(line: str, kind: str = "plain") -> str:
    """The line of the page that says how things stand; a screen reader says it, too."""
    role = "alert" if kind == "error" else "status"
    return f'<p class="{kind}" role="{role}">{escape(line)}</p>'


def progress(job: Job) -> str:
    """How far a job is."""
    if job.before:
        return status(f"waiting for {job.before} before this", "busy")
    if job.progress is None:
        return status("working …", "busy")
    doing, done, total = job.progress
    bar = f'<progress max="{total}" value="{done}"></progress>'
    return f'<p class="busy" role="status">{escape(doing)}: {done} of {total} {bar}</p>'


def downloads_of(visit: Visit) -> str:
    """Links to the files of the last answer."""
    if visit.answer is None:
        return ""
    segmentation = visit.answer.segmentation
    links = (
        f'<a class="download" download href="{DOWNLOADS}/{visit.address}/{what}">{WORDS[what]}</a>'
        for what in offered(segmentation)
    )
    return f'<p class="label">Download</p><div class="links">{"".join(links)}</div>'
