#!/usr/bin/env bash
# Measure what a CUDA device gives, in under ten minutes; without one, or with --dry-run, the same parts run on the CPU
# with small networks, and every figure of a GPU is "not measured". Writes gpu_check/gpu.json and gpu_check/gpu.md.
#
#   scripts/gpu_check.sh [--dry-run] [--output FOLDER] [--minutes 8]
#
# The Python is $PYTHON, .venv's or the system's, the first that has all packages. Where none has, an environment is made
# that keeps the system's PyTorch: from the network, or from a folder of wheels named by WHEELS.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" HF_HUB_OFFLINE=1
needed='import sys; from importlib.util import find_spec
sys.exit(any(find_spec(name) is None for name in "torch monai open_clip segment_anything transformers typer rich".split()))'

for python in "${PYTHON:-}" .venv/bin/python .venv-gpu/bin/python python3 python; do
    if [ -n "$python" ] && "$python" -c "$needed" 2>/dev/null; then
        exec "$python" -m tools.benchmarks.gpu "$@"
    fi
done

source scripts/install.sh
base=$(find_python)
echo "no Python here has all packages; making .venv-gpu beside the system's PyTorch" >&2
"$base" -m venv --system-site-packages .venv-gpu
from=()
if [ -n "${WHEELS:-}" ]; then from=(--no-index --find-links "$WHEELS"); fi
.venv-gpu/bin/python -m pip install --quiet --disable-pip-version-check ${from[@]+"${from[@]}"} . || {
    echo "the packages cannot be installed here; give a folder of wheels as WHEELS, made by: pip wheel . -w wheels" >&2
    exit 2
}
exec .venv-gpu/bin/python -m tools.benchmarks.gpu "$@"
