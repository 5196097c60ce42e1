#!/usr/bin/env bash
# Install mkdocs into .venv-docs and build the documentation into site/: site/index.html opens from the disk, offline.
# A warning is an error. Words after it go to mkdocs build.
#
# The generated pages (commands, presets, bundle keys, the table of weights) are made in .venv, not here, by
#   .venv/bin/python -m tools.pages.generate
# and the lock after each change of the group docs in pyproject.toml by
#   uv pip compile --group docs --universal --python-version 3.10 --no-header -o requirements/docs.txt
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/install.sh
install_environment .venv-docs requirements/docs.txt
NO_MKDOCS_2_WARNING=true .venv-docs/bin/python -m mkdocs build --strict --clean --quiet "$@"
.venv-docs/bin/python -m tools.pages.foreign site
echo "the documentation: site/index.html"
