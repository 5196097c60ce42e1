#!/usr/bin/env bash
# Install the oldest versions that setup.cfg allows into .venv-oldest and run the core tests there; then ask a resolver,
# which needs a network, whether the package can be installed beside the versions that research environments have.
# Words after it go to pytest. scripts/test.sh does not call this: it takes 8 GB, and as long as the core tests.
#
# The lock is made from the lower bounds, after each change of them, by
#   uv pip compile setup.cfg --extra test --resolution lowest-direct --universal --python-version 3.10 --no-header \
#       -o requirements/oldest.txt
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/install.sh
install_environment .venv-oldest requirements/oldest.txt
run() {
    OMP_NUM_THREADS=1 .venv-oldest/bin/python -m pytest -n "${TEST_WORKERS:-2}" --dist worksteal \
        --ignore tests/label --ignore tests/deploy "$@"
}
run -m "not slow and not seg" "$@"
# DICOM SEG needs pydicom 3: the oldest of the extra `seg` lie over the environment for its tests and those of DICOM.
if [ $# -eq 0 ]; then
    .venv-oldest/bin/python -m uv pip install --quiet --python .venv-oldest/bin/python --target .venv-oldest/seg \
        --upgrade --no-deps pydicom==3.0.0 highdicom==0.28.0
    PYTHONPATH=.venv-oldest/seg run -m "not slow" tests/io/dicom tests/io/dicom_seg tests/cli/test_cli_dicom_seg.py \
        tests/cli/test_cli_refusals.py
fi
for python in 3.10 3.11 3.12; do
    for wanted in "torch==2.8.* numpy<2" "torch==2.8.* numpy>=2" "torch==2.12.*" "torch"; do
        tr ' ' '\n' <<<". $wanted" | .venv-oldest/bin/python -m uv pip compile --quiet --python-version "$python" - \
            >/dev/null || { echo "no versions fit Python $python with $wanted" >&2 && exit 1; }
        echo "Python $python with $wanted: can be installed"
    done
done
