#!/usr/bin/env bash
# Install Ray with this package into .venv-archive and run the tests of `medclipsam archive` there.
# Words after it go to pytest.
#
# The lock is made after each change of the extra archive by
#   uv pip compile setup.cfg --extra test --extra archive --extra seg --universal --python-version 3.10 --constraint requirements/core.txt \
#       --no-header -o requirements/archive.txt
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/install.sh
install_environment .venv-archive requirements/archive.txt
# One process: each test that starts Ray starts processes of its own.
OMP_NUM_THREADS=1 .venv-archive/bin/python -m pytest -n 0 tests/archive "$@"
