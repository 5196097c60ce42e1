#!/usr/bin/env bash
# Install into .venv and segment shipped phantom pictures by text with the demo weights, which know phantoms; the pictures
# are left in demo_output/, and the last lines say how a picture of your own is segmented.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/install.sh
install_environment .venv requirements/core.txt
.venv/bin/medclipsam demo "${1:-demo_output}"
