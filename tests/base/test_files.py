"""Hashes and sizes of files."""

from __future__ import annotations

import hashlib

import pytest

from medclipsam_monai.base.files import file_sha256, size_text


def test_a_hash_is_that_of_all_bytes(tmp_path):
    content = bytes(range(256)) * 5000  # longer than what is read at a time
    (tmp_path / "file").write_bytes(content)
    assert file_sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("size", "text"),
    [(12, "12 bytes"), (1000, "1.0 kB"), (375042383, "375 MB"), (783705670, "784 MB"), (2564550879, "2.6 GB")],
)
def test_sizes_read_as_people_write_them(size, text):
    assert size_text(size) == text
