"""Whether an image is done, whether its outputs may be written, and writing them: for `segment_files` and others.

What lies between, reading and segmenting, may run in other processes: who writes asks again whether it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from medclipsam_monai.base.errors import InputWarning
from medclipsam_monai.base.quiet import collected, silenced
from medclipsam_monai.io import ImageSource, hash_files
from medclipsam_monai.io.dicom_seg.segmentation import not_dicom
from medclipsam_monai.io.outputs import ImageOutputs, Question, Replace
from medclipsam_monai.io.records import read_record
from medclipsam_monai.zero_shot.output_files import OutputFiles
from medclipsam_monai.zero_shot.segmentation import Request, Segmentation


@dataclass(frozen=True)
class ImageSteps:
    """What is asked of each image, and what its outputs may replace.

    Attributes:
        request: what is asked.
        files: what is written besides masks and records.
        replace: what may be replaced.
        kept: resolved files that never are, besides the image's own.
    """

    request: Request
    files: OutputFiles
    replace: Replace = Replace.SAME_REQUEST
    kept: frozenset[Path] = frozenset()

    def is_done(self, source: ImageSource, place: ImageOutputs) -> bool:
        """Whether the image's outputs are there, unchanged, and of this request; never where all is to be replaced.

        Raises:
            InputError: they are not, and something else is in the way, or the image cannot have such outputs.
        """
        if self.files.dicom_seg and source.kind != "dicom":
            raise not_dicom(source.label)
        question = self._question(source, place)
        if self.replace is not Replace.EVERYTHING and place.is_finished(question.request):
            return True
        place.check(self.names(source), question)
        return False

    def names(self, source: ImageSource) -> list[str]:
        """Names that an image's outputs may have, all but the record's."""
        return self.files.names(source.stem, source.kind, len(self.request.targets))

    def write(self, source: ImageSource, segmentation: Segmentation, place: ImageOutputs) -> list[Path]:
        """Write what was found in an image: the files, the record last.

        Raises:
            InputError: something is in the way, or cannot be written.
        """
        return segmentation.save_in(place, self._asked(source, segmentation.input_sha256), self.files)

    def _question(self, source: ImageSource, place: ImageOutputs) -> Question:
        """What is asked of an image; its files are hashed only where a record is there to compare them with.

        Otherwise that is left to the reading, which opens them anyway.
        """
        record = read_record(place.record_path)
        if record is None or self.replace is Replace.EVERYTHING:
            return self._asked(source, "")
        of_this_request = record["request"] == self.request.key(record["input_sha256"])
        if of_this_request or self.replace is Replace.SAME_REQUEST:
            return self._asked(source, hash_files(source.files))
        return self._asked(source, "")

    def _asked(self, source: ImageSource, sha256: str) -> Question:
        own = frozenset(path.resolve() for path in source.files)
        return Question(self.request.key(sha256), sha256, self.replace, self.kept | own)


@contextmanager
def notes(label: str, notify: Callable[[str, str], None]) -> Iterator[None]:
    """Turns what this package warns about an image into a line each; what libraries tell their users is dropped.

    Args:
        label: what to call the image.
        notify: called with "note" and a line.
    """
    with collected(InputWarning) as messages, silenced(dropped=(Warning,), kept=(InputWarning,)):
        try:
            yield
        finally:
            for message in dict.fromkeys(messages):
                line = " ".join(message.split())
                notify("note", line if label in line else f"{label}: {line}")
