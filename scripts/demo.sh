#!/usr/bin/env bash
# Install into .venv and segment by text: shipped phantom pictures with the demo weights, which know phantoms, and a phantom
# CT with the default ones. All is left in demo_output/; the last line says how a picture of your own is segmented.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/install.sh
install_environment .venv requirements/core.txt
.venv/bin/medclipsam demo "${1:-demo_output}"
