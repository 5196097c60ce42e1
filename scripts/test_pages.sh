#!/usr/bin/env bash
# Run every command of the bundles' pages as it stands there, with short trainings. A suite of its own, which
# scripts/test.sh leaves out: it takes as long as half of the others together. Words after it go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/test.sh tests/project/test_bundle_pages.py "$@"
