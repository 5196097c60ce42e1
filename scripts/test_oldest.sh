#!/usr/bin/env bash
# Install the oldest versions that setup.cfg allows into .venv-oldest and run the core tests there; then ask a resolver,
# which needs a network, whether the package can be installed beside the versions that research environments have.
# Words after it go to pytest. scripts/test.sh does not call this: it takes 8 GB, and as long as the core tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/install.sh
install_environment .venv-oldest requirements/oldest.txt
OMP_NUM_THREADS=1 .venv-oldest/bin/python -m pytest -n "${TEST_WORKERS:-2}" --dist worksteal -m "not slow" \
    --ignore tests/label --ignore tests/deploy "$@"
for python in 3.10 3.11 3.12; do
    for wanted in "torch==2.8.* numpy<2" "torch==2.8.* numpy>=2" "torch==2.12.*" "torch"; do
        tr ' ' '\n' <<<". $wanted" | .venv-oldest/bin/python -m uv pip compile --quiet --python-version "$python" - \
            >/dev/null || { echo "no versions fit Python $python with $wanted" >&2 && exit 1; }
        echo "Python $python with $wanted: can be installed"
    done
done
