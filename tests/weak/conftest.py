"""One small data set of phantoms, planned and trained once for all tests of weak supervision."""

from __future__ import annotations

import pytest
from phantom_work import TINY_CYCLES, leave_half_made, train_copy, write_raw

from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.nnunet.planning import plan


@pytest.fixture(scope="session")
def tiny_work(tmp_path_factory: pytest.TempPathFactory) -> WorkFolders:
    """A work folder of 8 phantoms of 64 x 64, planned and preprocessed for the smallest network; do not change it."""
    folders = WorkFolders(tmp_path_factory.mktemp("work"))
    write_raw(folders)
    leave_half_made(folders)
    plan(folders, TINY_CYCLES, size="tiny")
    return folders


@pytest.fixture(scope="session")
def trained_work(tiny_work: WorkFolders, tmp_path_factory: pytest.TempPathFactory) -> WorkFolders:
    """The same after a training of 2 cycles of 3 epochs, with 2 members of each; do not change it."""
    return train_copy(tiny_work, tmp_path_factory.mktemp("trained"))
