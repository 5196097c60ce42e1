#!/usr/bin/env bash
# Install MONAI Label with this package into .venv-label and run the tests that need it; MLflow comes with it.
# Words after it go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/install.sh
install_environment .venv-label requirements/label.txt
[ $# -gt 0 ] || set -- -m "not minutes" # scripts/test_slow.sh runs those
OMP_NUM_THREADS=1 .venv-label/bin/python -m pytest -n "${TEST_WORKERS:-2}" --dist loadfile \
    tests/label tests/bundles/test_tracking.py "$@"
