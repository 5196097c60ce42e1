#!/usr/bin/env bash
# Install the deploy application into an environment of its own, .venv-deploy, and run its tests there.
# Words after it go to pytest: scripts/test_deploy.sh -k geometry
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/install.sh
install_environment .venv-deploy requirements/deploy.txt
# The checker of DICOM files: its tests are skipped where there is none and none can be fetched.
DCIODVFY=${DCIODVFY:-$(scripts/fetch_dciodvfy.sh)} || unset DCIODVFY
[ -z "${DCIODVFY:-}" ] || export DCIODVFY
[ $# -gt 0 ] || set -- -m "not minutes" # scripts/test_slow.sh runs those
OMP_NUM_THREADS=1 .venv-deploy/bin/python -m pytest -n "${TEST_WORKERS:-2}" --dist loadfile tests/deploy "$@"
