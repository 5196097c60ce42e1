"""``segment --dicom-seg`` says nothing of what breaks the rules of its element, and writes valid objects alone."""

from __future__ import annotations

import logging

import pydicom
import pytest
from bad_elements import CASES, NAME, SECRET, UIDS, WORD, WORDS, write_bad

from medclipsam_monai.io.dicom_seg.identifiers import valid_uid

pytestmark = pytest.mark.seg
REFUSED = [case for case in CASES if case.startswith(tuple(keyword for keyword in UIDS if keyword[0] != "F"))]
WRITTEN = ["FrameOfReferenceUID, a name", "ReferencedImageSequence, a name", "StudyDate, a name", "PatientAge, a name"]
WRITTEN += [f"{keyword}, a word" for keyword in WORDS[:3]]


@pytest.fixture
def segment(tmp_path, run, caplog):
    """Segment the files of some cases: (exit code, all that was said and written in text)."""

    def call(cases: list[str]) -> tuple[int, str]:
        for number, case in enumerate(cases):
            write_bad(case, tmp_path / "in" / str(number))
        caplog.clear()
        caplog.set_level(logging.DEBUG)
        code, out, error = run(tmp_path / "in", "--text", "lungs", "--set", "coarse.threshold=0.01", "--dicom-seg")
        texts = [path.read_text() for path in tmp_path.glob("out/**/*") if path.suffix in (".json", ".txt")]
        names = [path.name for path in tmp_path.glob("out/**/*")]
        return code, "\n".join([out, error, caplog.text, *texts, *names])

    return call


def test_images_with_invalid_identifiers_are_refused_in_one_line_each(segment, tmp_path):
    code, said = segment(REFUSED)
    assert code == 2 and SECRET not in said.lower()
    assert said.count("of the source images must be a valid UID of digits and dots") == len(REFUSED)
    assert list(tmp_path.glob("out/**/*_seg.dcm")) == []


def test_other_elements_do_not_stop_it_and_are_not_copied(segment, tmp_path):
    code, said = segment(WRITTEN)
    assert code == 0 and SECRET not in said.lower()
    written = list(tmp_path.glob("out/**/*_seg.dcm"))
    assert len(written) == len(WRITTEN)
    for path in written:
        seg = pydicom.dcmread(path)
        assert NAME.encode() not in path.read_bytes() and WORD.encode() not in path.read_bytes()
        assert all(valid_uid(element.value) for element in seg.iterall() if element.VR == "UI")
