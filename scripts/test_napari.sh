#!/usr/bin/env bash
# Install napari with this package into .venv-napari and run the tests of the plugin there, without a screen.
# Words after it go to pytest.
#
# The lock is made after each change of the extras napari and napari_test by
#   uv pip compile setup.cfg --extra test --extra napari --extra napari_test --universal --python-version 3.10 \
#       --constraint requirements/core.txt --no-header -o requirements/napari.txt
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/install.sh
install_environment .venv-napari requirements/napari.txt
[ $# -gt 0 ] || set -- -m "not minutes"
# One process: Qt and its threads are slow to start.
OMP_NUM_THREADS=1 QT_QPA_PLATFORM=offscreen .venv-napari/bin/python -m pytest tests/napari_plugin "$@"
