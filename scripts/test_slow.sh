#!/usr/bin/env bash
# The slow suite, which scripts/test.sh leaves out: every command of the bundles' pages as it stands there, with short
# trainings, and the tools that train on real images. Words after it go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/test.sh tests/project/test_bundle_pages.py tests/tools/test_real_captions.py "$@"
