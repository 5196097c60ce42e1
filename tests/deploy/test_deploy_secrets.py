"""What breaks the rules of its element is never said: in no log, report, name of a file, nor an invalid object."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from pathlib import Path

import pytest
from bad_elements import CASES, NESTED, OTHERS, SECRET, UIDS, WORDS, write_bad
from dicom_checks import dciodvfy_errors, needs_dciodvfy
from highdicom.seg import segread
from threshold_engine import ThresholdEngine

from medclipsam_monai.deploy import __main__ as command
from medclipsam_monai.deploy import run as run_module

REFUSED = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "SOPClassUID")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """All cases in one study, at level DEBUG: (exit code, what was said, output folder, series by case)."""
    study, output = tmp_path_factory.mktemp("study"), tmp_path_factory.mktemp("output")
    for number, case in enumerate(CASES):
        write_bad(case, study / str(number))
    rules = study / "rules.json"
    conditions = [
        *({keyword: "1", "Modality": "SEG"} for keyword in (*OTHERS, *WORDS) if keyword != "ImageOrientationPatient"),
        {},
    ]
    rules.write_text(json.dumps({"selections": [{"text": 0.4, "conditions": one} for one in conditions]}))
    records: list[logging.LogRecord] = []
    watch = logging.Handler(logging.DEBUG)
    watch.emit = records.append
    root, before = logging.getLogger(), logging.getLogger().level
    root.addHandler(watch)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(record=True) as shown:
        patch.setattr(run_module, "load_engine", lambda *_: ThresholdEngine())
        words = ["-i", study, "-o", output, "--rules", rules, "-l", "DEBUG", "--pictures", "1", "--overwrite"]
        patch.setattr(sys, "argv", ["deploy", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            command.main()
    root.removeHandler(watch)
    root.setLevel(before)
    said = [f"{record.getMessage()} {record.exc_text or ''}" for record in records]
    return stop.value.code, "\n".join([*said, *(str(one.message) for one in shown)]), output


def reports(output: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in output.glob("*/report.json")]


def test_log_reports_and_names_of_files_say_nothing_of_it(ran, capfd):
    code, said, output = ran
    assert code == 3 and "segmenting" in said and "took" in said
    assert SECRET not in said.lower()
    assert SECRET not in " ".join(capfd.readouterr()).lower()
    assert [path for path in output.rglob("*") if SECRET in path.name.lower()] == []
    assert [path for path in output.rglob("*.json") if SECRET in path.read_text().lower()] == []


def test_none_is_a_fault_of_the_program(ran):
    _, _, output = ran
    reasons = {report["reason"] for report in reports(output) if report["status"] == "failed"}
    assert reasons and [reason for reason in reasons if "fault of the program" in reason] == []
    for keyword in REFUSED:
        assert any(f"the {keyword} of the source images must be a valid UID" in reason for reason in reasons), keyword


def test_most_are_segmented_all_the_same(ran):
    _, _, output = ran
    states = [report["status"] for report in reports(output)]
    assert len(states) >= len(CASES) - 2 and states.count("done") > len(CASES) / 2


@needs_dciodvfy
def test_what_is_written_is_valid_and_names_no_one_but_the_patient(ran):
    _, _, output = ran
    written = sorted(output.glob("*/*.dcm"))
    assert len(written) > len(CASES)
    assert {path.name: dciodvfy_errors(path) for path in written if dciodvfy_errors(path)} == {}
    for path in output.glob("*/segmentation.dcm"):
        seg = segread(path)
        seg.PatientName = seg.PatientID = seg.AccessionNumber = seg.StudyID = ""
        assert SECRET not in str(seg).lower()


def test_the_cases_are_of_every_element_that_holds_a_uid():
    assert {case.split(",")[0] for case in CASES} >= {*UIDS, *NESTED}
