"""What the parts of the page do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gradio as gr

from medclipsam_monai.web import fields
from medclipsam_monai.web.handlers import LAST, QUIET, Updates, in_a_line, page_of, sent_with
from medclipsam_monai.web.parts import NO_TASK, Parts
from medclipsam_monai.web.shown.look import Look, first_look
from medclipsam_monai.web.shown.marks import marks_of
from medclipsam_monai.web.uploads.intake import sent_examples
from medclipsam_monai.web.visits.answer import told
from medclipsam_monai.web.visits.jobs import Job
from medclipsam_monai.web.visits.networks import offered_preset
from medclipsam_monai.web.visits.question import Question
from medclipsam_monai.web.visits.registry import Visits
from medclipsam_monai.web.visits.samples import SAMPLES, labelled_examples
from medclipsam_monai.web.visits.visit import Visit

_SOON = 0.3  # seconds before the page says that something takes time
_LOOK = 0.25  # seconds between two looks at how far it is
_KEEP_TOKEN = "(token) => { sessionStorage.setItem('medclipsam-visit', token); }"
_FIND_TOKEN = "() => [sessionStorage.getItem('medclipsam-visit') || '']"


class Events:
    """Connects the parts of a page with the visits of a server.

    Args:
        page: the `gradio.Blocks` that the parts are on.
        parts: of it.
        visits: of the server.
    """

    def __init__(self, page: Any, parts: Parts, visits: Visits) -> None:
        self.page, self.parts, self.visits = page, parts, visits
        self.presets = dict(visits.networks.presets)
        self._fields = fields.question_fields(parts)
        self._shown = [
            *(parts.status, parts.cancel, parts.viewer, parts.volume, parts.number, parts.plane, parts.classes),
            *(parts.facts, parts.downloads, parts.chips, parts.words, parts.image),
        ]

    def connect(self) -> None:
        """Let every part do what it is for."""
        parts = self.parts
        arrived = self.page.load(
            self._arrive, [parts.token], [parts.token, parts.text, *self._shown], js=_FIND_TOKEN, **QUIET
        )
        arrived.then(None, [parts.token], None, js=_KEEP_TOKEN)
        self.page.unload(self._leave)
        self._connect_images()
        self._connect_questions()
        self._connect_view()
        parts.cancel.click(self._cancel, None, [parts.status, parts.cancel], **QUIET)

    def _connect_images(self) -> None:
        parts = self.parts
        for source in (parts.files, parts.folder):
            source.upload(self._receive, [source, *self._fields], [source, *self._shown], **QUIET).then(
                lambda: None, None, [source], **QUIET
            )
        for name, button in parts.samples.items():
            outputs = [parts.text, parts.window, parts.cut, *self._shown]
            button.click(self._sample(name), self._fields, outputs, **QUIET)
        parts.image.input(self._choose, [parts.image, *self._fields], self._shown, **QUIET)
        parts.example_files.upload(
            self._examples, [parts.example_files, *self._fields], [parts.example_files, *self._shown], **QUIET
        )
        parts.example_folder.click(self._drawn_examples, self._fields, self._shown, **QUIET)
        parts.no_examples.click(self._no_examples, self._fields, self._shown, **QUIET)

    def _connect_questions(self) -> None:
        parts = self.parts
        ask = {"fn": self._ask, "inputs": self._fields, "outputs": self._shown, **QUIET}
        gr.on([parts.segment.click, parts.text.submit, parts.opposites.submit], **ask)
        tuned = [one.input for one in (parts.threshold, parts.gamma, parts.boxes, parts.points, parts.always)]
        gr.on(tuned, **{**ask, "fn": self._ask_again, **LAST})
        texts = [parts.text, *self._shown]
        parts.chips.select(self._chip, self._fields, texts, **QUIET)
        parts.sentences.input(self._sentences, [parts.sentences, *self._fields], texts, **QUIET)
        method = [parts.task, parts.threshold, parts.gamma, parts.boxes, parts.points]
        parts.preset.input(self._preset, self._fields, [*method, *self._shown], **QUIET)
        parts.task.input(self._task, self._fields, [*method[1:], *self._shown], **QUIET)
        grey = [parts.window.input, parts.centre.submit, parts.width.submit, parts.cut.input]
        gr.on(grey, self._reopen, self._fields, self._shown, **QUIET)
        parts.reword.click(self._reword, self._fields, self._shown, **QUIET)

    def _connect_view(self) -> None:
        parts = self.parts
        view = [parts.status, parts.viewer, parts.volume, parts.number, parts.plane]
        parts.number.input(self._slice, [parts.number], view, **LAST)
        parts.plane.input(self._plane, [parts.plane], view, **LAST)
        parts.classes.input(self._class, [parts.classes], view, **LAST)
        several = {**QUIET, "trigger_mode": "multiple"}
        parts.viewer.select(self._on_picture, [parts.classes, *self._fields], self._shown, **several)
        parts.undo.click(self._undo, self._fields, self._shown, **several)
        parts.clear.click(self._clear, self._fields, self._shown, **several)
        parts.layers.change(None, [parts.layers], None, js="(v) => { document.body.dataset.layers = v.join(' '); }")
        parts.tool.change(None, [parts.tool], None, js="(v) => { document.body.dataset.tool = v; }")

    @in_a_line
    def _arrive(self, token: str, request: gr.Request) -> Updates:
        """A page is loaded, perhaps anew: then it finds its image."""
        visit = self.visits.resume(page_of(request), token)
        visit.sent.clear()
        text = visit.asked.text if visit.asked is not None else gr.skip()
        first = {self.parts.token: visit.token, self.parts.text: text}
        preset = self.visits.networks.first
        yield {**first, **fields.all_updates(self.parts, visit, self.presets, preset)}
        if visit.job is not None and visit.job.is_running:
            yield from self._follow(visit, visit.job, preset)

    def _leave(self, request: gr.Request) -> None:
        self.visits.leave(page_of(request))

    @in_a_line
    def _receive(self, files: Any, request: gr.Request, *values: Any) -> Updates:
        sent = self.visits.arrivals.found(files)
        yield from self._do(request, values, lambda visit, asked: visit.receive(sent, replace(asked, task=None)))

    def _sample(self, name: str) -> Callable[..., Updates]:
        def open_sample(request: gr.Request, *values: Any) -> Updates:
            yield from self._open_sample(name, request, *values)

        return open_sample

    @in_a_line
    def _open_sample(self, name: str, request: gr.Request, *values: Any) -> Updates:
        text, parts = SAMPLES[name].text, self.parts
        yield {parts.text: text, parts.window: fields.AUTOMATIC, parts.cut: "acquired"}

        def begin(visit: Visit, asked: Question) -> Job:
            plain = replace(asked, text=text, window="", slice_axis="acquired", opposites="")
            return visit.receive_sample(name, plain)

        yield from self._do(request, values, begin)

    @in_a_line
    def _choose(self, number: int, request: gr.Request, *values: Any) -> Updates:
        yield from self._do(request, values, lambda visit, question: visit.choose(int(number), question))

    @in_a_line
    def _examples(self, files: Any, request: gr.Request, *values: Any) -> Updates:
        sent = self.visits.arrivals.found(files)
        yield from self._do(
            request, values, lambda visit, asked: visit.show_examples(sent_examples(sent, visit.limits.upload), asked)
        )
        yield {self.parts.example_files: None}

    @in_a_line
    def _drawn_examples(self, request: gr.Request, *values: Any) -> Updates:
        yield from self._do(request, values, lambda visit, asked: visit.show_examples(labelled_examples, asked))

    @in_a_line
    def _no_examples(self, request: gr.Request, *values: Any) -> Updates:
        yield from self._do(request, values, lambda visit, question: visit.show_examples(None, question))

    @in_a_line
    def _ask(self, request: gr.Request, *values: Any) -> Updates:
        yield from self._do(request, values, Visit.ask)

    @in_a_line
    def _ask_again(self, request: gr.Request, *values: Any) -> Updates:
        """After a change beside the text: where something was asked."""
        if self.visits.of(page_of(request)).asked is None:
            yield {self.parts.status: gr.skip()}
        else:
            yield from self._ask(request, *values)

    @in_a_line
    def _chip(self, event: gr.EventData, request: gr.Request, *values: Any) -> Updates:
        sent, text = sent_with(event), values[0] or ""
        chosen = str(sent.get("text", ""))
        yield from self._with_text(f"{text}; {chosen}" if sent.get("add") and text.strip() else chosen, values, request)

    @in_a_line
    def _sentences(self, text: str | None, request: gr.Request, *values: Any) -> Updates:
        yield from self._with_text(text or "", values, request)

    def _with_text(self, text: str, values: tuple[Any, ...], request: gr.Request) -> Updates:
        yield {self.parts.text: text}
        if self.visits.of(page_of(request)).sources:
            yield from self._ask(request, text, *values[1:])

    @in_a_line
    def _preset(self, request: gr.Request, *values: Any) -> Updates:
        preset = offered_preset(values[2], self.presets)
        tasks = gr.update(choices=[NO_TASK, *preset.tasks], value=NO_TASK)
        yield from self._tuned(values, None, {self.parts.task: tasks}, request)

    @in_a_line
    def _task(self, request: gr.Request, *values: Any) -> Updates:
        yield from self._tuned(values, values[3], {}, request)

    def _tuned(self, values: tuple[Any, ...], task: str | None, more: dict[Any, Any], request: gr.Request) -> Updates:
        """The method of a preset and a task as it stands, and what it finds."""
        of_task = None if task in (None, NO_TASK) else task
        preset = offered_preset(values[2], self.presets).for_task(of_task)
        yield {**more, **fields.tuning_updates(self.parts, preset)}
        if self.visits.of(page_of(request)).asked is not None:
            yield from self._do(
                request, values, lambda visit, question: visit.ask(replace(question, task=of_task, tuning=None))
            )

    @in_a_line
    def _reopen(self, request: gr.Request, *values: Any) -> Updates:
        if self.visits.of(page_of(request)).sources:
            yield from self._do(request, values, Visit.reopen)
        else:
            yield {self.parts.status: gr.skip()}

    @in_a_line
    def _reword(self, request: gr.Request, *values: Any) -> Updates:
        yield from self._do(request, values, lambda visit, _: visit.reword())

    @in_a_line
    def _undo(self, request: gr.Request, *values: Any) -> Updates:
        yield from self._do(request, values, lambda visit, _: visit.unmark(last_only=True))

    @in_a_line
    def _clear(self, request: gr.Request, *values: Any) -> Updates:
        yield from self._do(request, values, lambda visit, _: visit.unmark(last_only=False))

    @in_a_line
    def _slice(self, number: float, request: gr.Request) -> Updates:
        yield self._looking(request, lambda visit, look: look.at(visit.opened, None, int(number) - 1))

    @in_a_line
    def _plane(self, plane: str, request: gr.Request) -> Updates:
        yield self._looking(request, lambda visit, look: look.at(visit.opened, plane))

    @in_a_line
    def _class(self, name: str, request: gr.Request) -> Updates:
        def chosen(visit: Visit, look: Look) -> Look:
            names = [] if visit.answer is None else list(visit.answer.segmentation.found.names)
            return replace(look, shown_class=names.index(name) if name in names else 0)

        yield self._looking(request, chosen)

    def _looking(self, request: gr.Request, change: Callable[[Any, Look], Look]) -> dict[Any, Any]:
        """Look at the image in another way; nothing is computed."""
        visit = self.visits.of(page_of(request))
        if visit.opened is None:
            return {self.parts.status: fields.opened_words(visit)}
        visit.look = change(visit, visit.look or first_look(visit.opened))
        return fields.view_updates(self.parts, visit)

    @in_a_line
    def _on_picture(self, event: gr.EventData, name: str | None, request: gr.Request, *values: Any) -> Updates:
        sent = sent_with(event)
        if sent.get("kind") == "step":
            visit = self.visits.of(page_of(request))
            last = visit.look.number + 1 if visit.look else 0
            yield from self._slice(last + int(sent.get("by", 0)), request)
        else:
            yield from self._do(request, values, lambda visit, _: visit.mark(marks_of(visit, sent, name)))

    @in_a_line
    def _cancel(self, request: gr.Request) -> Updates:
        visit = self.visits.of(page_of(request))
        if visit.job is not None:
            visit.job.cancel()
        yield {self.parts.status: fields.status("cancelled"), self.parts.cancel: gr.update(visible=False)}

    def _do(self, request: gr.Request, values: tuple[Any, ...], begin: Callable[[Visit, Question], Job]) -> Updates:
        """Begin a job of the visit whose page this is with what its fields ask, and show what comes of it."""
        visit = self.visits.of(page_of(request))
        yield from self._follow(visit, begin(visit, fields.question_of(values, self.presets)), values[2])

    def _follow(self, visit: Visit, job: Job, preset: str) -> Updates:
        parts, patience, shown = self.parts, _SOON, visit.opened
        while not job.wait(patience):
            patience = _LOOK
            if job.is_cancelled:
                break
            new, shown = visit.opened is not shown, visit.opened
            first = fields.all_updates(parts, visit, self.presets, preset) if new else {}
            yield {**first, parts.status: fields.progress(job), parts.cancel: gr.update(visible=True)}
        if job is not visit.job or job.is_cancelled:  # another one shows what comes of it, or nobody wants it
            yield {parts.status: gr.skip()}
            return
        try:
            job.outcome()
            yield fields.all_updates(parts, visit, self.presets, preset)
        except Exception as error:
            yield {parts.status: fields.status(told(error), "error"), parts.cancel: gr.update(visible=False)}
