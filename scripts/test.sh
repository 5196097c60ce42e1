#!/usr/bin/env bash
# Install what the tests need into .venv and run them all, lint and type checks first; then those of the deploy and label
# applications in environments of their own. Words after it go to pytest, in .venv alone: scripts/test.sh tests/io -k dicom
# What takes minutes a test is a script of its own: scripts/test_slow.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/install.sh
unset PYTHONDONTWRITEBYTECODE # the tests start Python a hundred times, and torch without .pyc files takes 10 s more
install_environment .venv requirements/core.txt
bin=.venv/bin
# The dense CRF's package has no wheels: built where there is a compiler (a minute, once), its tests skipped elsewhere.
"$bin/python" -c "import pydensecrf" 2>/dev/null \
    || "$bin/python" -m uv pip install --quiet --python "$bin/python" "pydensecrf2>=1.1,<2" \
    || echo "pydensecrf2 could not be built here: the dense CRF's tests will be skipped" >&2
"$bin/ruff" check .
"$bin/ruff" format --check .
"$bin/mypy" & # takes one core for minutes, while the other environments come from the network
types=$!
if [ $# -eq 0 ]; then
    install_environment .venv-deploy requirements/deploy.txt
    install_environment .venv-label requirements/label.txt
fi
wait "$types"
# One thread a worker: two of them share two cores better than two threads in each would.
run() { OMP_NUM_THREADS=1 "$bin/python" -m pytest -n "${TEST_WORKERS:-2}" --dist worksteal --durations=20 "$@"; }
if [ $# -gt 0 ]; then
    run "$@"
else
    run -m "not minutes"
    bash scripts/test_deploy.sh
    bash scripts/test_label.sh
fi
