#!/usr/bin/env bash
# Install what the tests need into .venv and run them all, lint and type checks first.
# Words after it go to pytest: scripts/test.sh tests/io -k dicom
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/install.sh
install_environment .venv requirements/core.txt
bin=.venv/bin
"$bin/ruff" check .
"$bin/ruff" format --check .
"$bin/mypy"
# One thread a worker: two of them share two cores better than two threads in each would.
OMP_NUM_THREADS=1 "$bin/python" -m pytest -n "${TEST_WORKERS:-2}" --dist worksteal "$@"
