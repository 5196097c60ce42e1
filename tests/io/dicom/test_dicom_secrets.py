"""What breaks the rules of its element is never quoted: it may be a patient's name."""

from __future__ import annotations

import logging
import warnings

import pydicom
import pytest
from bad_elements import CASES, SECRET, write_bad

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import find_inputs, read_image
from medclipsam_monai.io.dicom.files import DicomFiles, LeftOut


@pytest.mark.parametrize("case", CASES)
def test_reading_quotes_no_value(case, tmp_path, caplog, capfd):
    path = write_bad(case, tmp_path)
    assert SECRET in path.read_bytes().decode("latin-1").lower()
    caplog.clear()
    capfd.readouterr()
    caplog.set_level(logging.DEBUG)
    said = []
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        try:
            (source,) = find_inputs([tmp_path])
            read_image(source)
        except InputError as error:
            said.append(str(error))
            assert "\n" not in said[0]
    said += [str(warning.message) for warning in shown]
    written = " ".join([*said, caplog.text, *capfd.readouterr()])
    assert SECRET not in written.lower()


def test_a_kind_of_object_that_nobody_knows_is_not_called_by_its_value(tmp_path):
    path = write_bad("SOPClassUID, a name", tmp_path)
    header = pydicom.dcmread(path)
    header.Modality = "SEG"
    header.save_as(path)
    assert DicomFiles().look(path) == LeftOut(path, "a DICOM object, not an image")
