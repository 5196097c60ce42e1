#!/usr/bin/env bash
# The slow suite, which scripts/test.sh leaves out: every command of the bundles' pages as it stands there, a whole
# fine-tuning, the tools that train on real images, downloads at full size. Words after it go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/test.sh -m minutes "$@"
