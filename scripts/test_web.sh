#!/usr/bin/env bash
# Install Gradio and Playwright with this package into .venv-web and run the tests of the page there, in a Chromium
# without a screen: the system's own (apt-get install chromium), for none is downloaded. Without one the tests that need
# it are skipped, and say so. Words after it go to pytest; WEB_SHOTS=FOLDER has each test leave a picture of the page
# there.
#
# The lock is made after each change of the extras web, web_test and seg by
#   uv pip compile setup.cfg --extra test --extra web --extra web_test --extra seg --universal --python-version 3.10 \
#       --constraint <(grep -v "^pillow=" requirements/core.txt) --no-header -o requirements/web.txt
# Gradio wants an older Pillow than the core's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/install.sh
install_environment .venv-web requirements/web.txt
# One process: the tests share a server and a browser.
OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" .venv-web/bin/python -m pytest -n 0 tests/web "$@"
