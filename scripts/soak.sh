#!/usr/bin/env bash
# Let damaged files, kills, full disks and property tests go on for an hour, with new seeds round by round; the last line
# counts what was tried and what was lost. Exit code 1 if anything was.
#
#   scripts/soak.sh [MINUTES]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/install.sh
unset PYTHONDONTWRITEBYTECODE
install_environment .venv-archive requirements/archive.txt
OMP_NUM_THREADS=1 .venv-archive/bin/python -m tools.robustness.soak --minutes "${1:-60}"
