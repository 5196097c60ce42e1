"""Many files, one request: what ``medclipsam segment`` does."""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medclipsam_monai.base.errors import InputError, InputWarning, plain_reason
from medclipsam_monai.base.files import check_writable
from medclipsam_monai.base.interrupts import stop_if_interrupted
from medclipsam_monai.base.quiet import collected, silenced
from medclipsam_monai.io import ImageSource, hash_files
from medclipsam_monai.io.dicom_seg.algorithm import require_highdicom
from medclipsam_monai.io.dicom_seg.segmentation import not_dicom
from medclipsam_monai.io.inputs.discovery import search_inputs
from medclipsam_monai.io.inputs.sources import Found
from medclipsam_monai.io.outputs import ImageOutputs, InUseError, Question, Replace, clear_interrupted, open_outputs
from medclipsam_monai.io.records import read_record
from medclipsam_monai.zero_shot.segmentation import Request, output_names
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

Notify = Callable[[str, str], None]


@dataclass
class Summary:
    """What became of a batch.

    Attributes:
        done: inputs segmented now.
        skipped: inputs that an earlier run, or another process, had finished with the same request.
        failed: inputs that cannot be used, each with the reason.
        left_out: files among the inputs that are no images to segment, each with the reason.
    """

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)

    @property
    def line(self) -> str:
        """For people, such as "2 done, 0 skipped, 1 failed"."""
        counts = f"{len(self.done)} done, {len(self.skipped)} skipped, {len(self.failed)} failed"
        return f"{counts}, {len(self.left_out)} left out" if self.left_out else counts


@dataclass(frozen=True)
class Outputs:
    """What is written for each image, and what it may replace.

    Attributes:
        folder: for masks, pictures and records.
        overlay: a picture of each mask.
        save_saliency: the saliency maps.
        save_probability: the probabilities.
        format: see `Segmentation.save`.
        dicom_seg: a DICOM SEG of each image, which must be DICOM.
        replace: see `Replace`.
        protected: files that are never replaced, besides the images.
    """

    folder: Path
    overlay: bool = True
    save_saliency: bool = False
    save_probability: bool = False
    format: str | None = None
    dicom_seg: bool = False
    replace: Replace = Replace.SAME_REQUEST
    protected: tuple[Path, ...] = ()

    @property
    def kinds(self) -> dict[str, Any]:
        """Which files are written, as a request says it."""
        names = ("overlay", "save_saliency", "save_probability", "format", "dicom_seg")
        return {name: getattr(self, name) for name in names}


def segment_files(
    segmenter: TextSegmenter,
    inputs: Sequence[str | Path] | Found,
    text: Any,
    output: str | Path,
    opposites: Any = None,
    window: Any = None,
    slice_axis: str = "acquired",
    overlay: bool = True,
    save_saliency: bool = False,
    save_probability: bool = False,
    format: str | None = None,
    dicom_seg: bool = False,
    overwrite: bool = False,
    replace_own: bool = False,
    protected: Iterable[Path] = (),
    progress: bool = False,
    debug: bool = False,
    notify: Notify = lambda kind, message: None,
) -> Summary:
    """Segment files, folders and globs; what cannot be used is named and the rest goes on.

    Without ``overwrite`` nothing is replaced but this package's own unchanged outputs of the same request for the same
    image, and an image whose outputs would replace more fails before it is segmented. Inputs are never replaced.

    Args:
        segmenter: loaded networks.
        inputs: files, folders and globs, or what `search_inputs` found behind them.
        text: see `parse_targets`.
        output: folder for masks, pictures and records.
        opposites: see `parse_targets`.
        window: see `DisplayRange`.
        slice_axis: "acquired", "axial", "coronal" or "sagittal".
        overlay: write a picture of each mask.
        save_saliency: write the saliency maps.
        save_probability: write the probabilities.
        format: see `Segmentation.save`.
        dicom_seg: write a DICOM SEG too; an image that is not DICOM fails.
        overwrite: do again what is done, and replace what is in the way.
        replace_own: replace this package's own unchanged outputs of other requests and images, and nothing else.
        protected: further files that are never replaced.
        progress: show a bar over the slices of a volume.
        debug: print the traceback of an unexpected error.
        notify: called with a kind and a line: "done", "skipped" or "failed" once for each input, "note" and "warning"
            for what a person should know about one, "waiting" where another process works on it.

    Raises:
        InputError: for a text that is none, an output folder that cannot be written, or DICOM SEG without highdicom,
            before anything is done.
    """
    if dicom_seg:
        require_highdicom()
    replace = Replace.EVERYTHING if overwrite else Replace.OWN if replace_own else Replace.SAME_REQUEST
    kinds = (overlay, save_saliency, save_probability, format, dicom_seg)
    outputs = Outputs(Path(output), *kinds, replace, tuple(protected))
    request = segmenter.request(text, opposites, window, slice_axis, **outputs.kinds)
    check_writable(output)
    clear_interrupted(outputs.folder)
    return _Batch(segmenter, request, outputs, progress, debug, notify).run(inputs)


class _Batch:
    """One run over many images."""

    def __init__(
        self,
        segmenter: TextSegmenter,
        request: Request,
        outputs: Outputs,
        progress: bool,
        debug: bool,
        notify: Notify,
    ) -> None:
        self.segmenter, self.request, self.outputs = segmenter, request, outputs
        self.progress, self.debug, self.notify = progress, debug, notify
        self.summary = Summary()
        self.total = 0

    def run(self, inputs: Sequence[str | Path] | Found) -> Summary:
        """Segments all; an image that another process works on is left to the end."""
        sources = self._usable(inputs)
        self.total = len(sources) + len(self.summary.failed)
        self.inputs = frozenset(path.resolve() for source in sources for path in source.files)
        queue = deque((source, False) for source in sources)
        while queue:
            stop_if_interrupted()
            source, wait = queue.popleft()
            if wait:
                self.notify("waiting", f"{source.label}: another process works on it")
            try:
                with _notes(source.label, self.notify):
                    self._one(source, wait)
            except InUseError:
                queue.append((source, True))
            except Exception as error:
                if self.debug and not isinstance(error, InputError):
                    traceback.print_exception(error)
                self._failed(source.label, plain_reason(error))
        return self.summary

    def _one(self, source: ImageSource, wait: bool) -> None:
        """Segment an image, or find that it is done.

        Raises:
            InUseError: another process works on it, and ``wait`` is false.
        """
        if self.outputs.dicom_seg and source.kind != "dicom":
            raise not_dicom(source.label)
        with open_outputs(self.outputs.folder, source.stem, wait) as place:
            question = self._question(source, place)
            if self.outputs.replace is not Replace.EVERYTHING and place.is_finished(question.request):
                self.summary.skipped.append(source.label)
                self.notify("skipped", self._numbered(source.label))
                return
            names = output_names(source.stem, source.kind, len(self.request.targets), **self.outputs.kinds)
            place.check(names, question)
            segmentation = self.segmenter.answer(source, self.request, self.progress)
            files = segmentation.save_in(place, self._asked(segmentation.input_sha256), **self.outputs.kinds)
        self.summary.done.append(source.label)
        record = read_record(files[-1]) or segmentation.record({})
        found, concerns = describe(record, self.request.parameters["presence_threshold"])
        took = f"{segmentation.seconds:.1f} s"
        self.notify("done", self._numbered(f"{source.label}: {'; '.join(found)}; {files[0]} ({took})"))
        for concern in concerns:
            self.notify("warning", f"{source.label}: {concern}")

    def _question(self, source: ImageSource, place: ImageOutputs) -> Question:
        """What is asked of an image; its files are hashed only where a record is there to compare them with.

        Otherwise that is left to the reading, which opens them anyway.
        """
        record = read_record(place.record_path)
        if record is None or self.outputs.replace is Replace.EVERYTHING:
            return self._asked("")
        of_this_request = record["request"] == self.request.key(record["input_sha256"])
        if of_this_request or self.outputs.replace is Replace.SAME_REQUEST:
            return self._asked(hash_files(source.files))
        return self._asked("")

    def _asked(self, sha256: str) -> Question:
        protected = frozenset(path.resolve() for path in self.outputs.protected)
        return Question(self.request.key(sha256), sha256, self.outputs.replace, self.inputs | protected)

    def _failed(self, label: str, reason: str) -> None:
        line = reason if label in reason else f"{label}: {reason}"
        self.summary.failed.append((label, line))
        self.notify("failed", self._numbered(line))

    def _left_out(self, files: Iterable[tuple[str, str]]) -> None:
        """Name the files among the inputs that are no images to segment, with the reason."""
        for name, reason in files:
            self.summary.left_out.append((name, reason))
            self.notify("left out", f"{name} ({reason})")

    def _numbered(self, line: str) -> str:
        """How many of how many, where there are several."""
        summary = self.summary
        count = len(summary.done) + len(summary.skipped) + len(summary.failed)
        return f"[{count}/{self.total}] {line}" if self.total > 1 else line

    def _usable(self, inputs: Sequence[str | Path] | Found) -> list[ImageSource]:
        """The images behind the inputs; what is no image, and an input without any, is named."""
        with _notes("inputs", self.notify):
            found = inputs if isinstance(inputs, Found) else search_inputs(inputs)
        for label, reason in found.failed:
            self._failed(label, reason)
        self._left_out((str(one.path), one.reason) for one in found.left_out)
        return list(found.sources)


@contextmanager
def _notes(label: str, notify: Notify) -> Iterator[None]:
    """Turns what this package warns about an image into a line each; what libraries tell their users is dropped."""
    with collected(InputWarning) as messages, silenced(dropped=(Warning,), kept=(InputWarning,)):
        try:
            yield
        finally:
            for message in dict.fromkeys(messages):
                line = " ".join(message.split())
                notify("note", line if label in line else f"{label}: {line}")


def describe(record: Mapping[str, Any], presence_threshold: float) -> tuple[list[str], list[str]]:
    """What was found, a part for each class, and what a person should look at before using it.

    Args:
        record: see `build_record`.
        presence_threshold: a class with a presence below it was left empty.
    """
    found, concerns = [], []
    for entry in record["classes"]:
        name, presence, agreement = entry["name"], entry["presence"], entry["agreement"]
        if presence is not None and presence < presence_threshold:
            found.append(f"{name} absent (presence {presence:.2f})")
        elif not entry["pixels"]:
            found.append(f"{name} not found, its mask is empty")
        else:
            found.append(f"{name} {entry['fraction']:.1%} of the image, agreement {agreement:.2f}")
            if agreement == 0:
                concerns.append(f"the mask of {name} does not touch what the text lit up; look at it before you use it")
    return found, concerns
