#!/usr/bin/env bash
# The slow suite, which scripts/test.sh leaves out: every command of the bundles' pages as it stands there, a whole
# fine-tuning, the tools that train on real images, downloads at full size, the label client's rounds, scripts/supply.sh;
# the napari plugin in an environment of its own, which wants the system's libraries for Qt; the page in
# a browser; the documentation; and 1,000 damaged files of each kind, with their count.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/test.sh -m minutes
scripts/test_deploy.sh -m minutes
scripts/test_label.sh -m minutes
scripts/test_napari.sh
scripts/test_web.sh
scripts/test_archive.sh
scripts/docs.sh
OMP_NUM_THREADS=1 .venv/bin/python -m tools.robustness.fuzz_inputs
