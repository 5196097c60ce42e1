#!/usr/bin/env bash
# Install into .venv-deploy, make a phantom study (a CT of chest and abdomen, an MR of the head, an X-ray) and segment it by
# text: DICOM SEG, overlay pictures and reports are left in deploy_demo_output/, on a CPU and without docker.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/install.sh
install_environment .venv-deploy requirements/deploy.txt
output=${1:-deploy_demo_output}
bin=.venv-deploy/bin
ulimit -s 32768 2>/dev/null || true # Holoscan, which monai imports here, warns of a smaller stack
"$bin/python" -m tools.deploy_demo phantoms "$output/study"
"$bin/medclipsam" deploy -i "$output/study" -o "$output/results" --rules "$output/study/rules.json"
"$bin/python" -m tools.deploy_demo picture "$output/results" "$output/demo.png"
echo "results: $output/results, a picture of them: $output/demo.png"
echo "weights: preset small, the default; a study of yours: $bin/medclipsam deploy -i STUDY -o RESULTS --text lungs"
