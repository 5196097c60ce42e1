#!/usr/bin/env bash
# What the package is made of. Builds the wheel into dist/ and its bill of materials (CycloneDX) beside it, writes
# docs/project/licences.md, and asks an advisory service for known vulnerabilities in all locks.
#
#   scripts/supply.sh             # PyPI's service; -s osv for another one: words go to pip-audit
#
# Exit code 1 where a vulnerability is known, 2 where the service did not answer for every package. Needs a network.
#
# The lock is made after each change of the group supply in pyproject.toml by
#   uv pip compile --group supply --universal --python-version 3.10 --no-header -o requirements/supply.txt
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/install.sh
install_environment .venv-supply requirements/supply.txt
install_environment .venv requirements/core.txt # licences are read from what is installed
bin=.venv-supply/bin
environments=(.venv)
for extra in label deploy web napari archive; do
    [ ! -x ".venv-$extra/bin/python" ] || environments+=(".venv-$extra")
done
"$bin/python" -m tools.supply.licences "${environments[@]}"
rm -f dist/medclipsam_monai-*
"$bin/python" -m uv build --wheel --quiet --out-dir dist
"$bin/python" -m tools.supply.sbom dist/medclipsam_monai-*.whl
"$bin/python" -m tools.supply.audit "$@"
