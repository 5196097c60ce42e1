#!/usr/bin/env bash
# Find dciodvfy, the checker of DICOM files, or unpack it from Debian's and Ubuntu's dicom3tools (8 MB, no root needed).
# Prints its path; fails with one line where there is none.
#
#   DCIODVFY=$(scripts/fetch_dciodvfy.sh) .venv-deploy/bin/python -m pytest tests/deploy
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
found=$(command -v dciodvfy || true)
unpacked=$PWD/build/dicom3tools/usr/bin/dciodvfy
if [ -n "$found" ]; then
    echo "$found"
    exit
fi
if [ ! -x "$unpacked" ]; then
    part=$(mktemp -d)
    trap 'rm -rf "$part"' EXIT
    if ! (cd "$part" && apt-get download dicom3tools && dpkg -x dicom3tools_*.deb unpacked) >"$part/log" 2>&1; then
        echo "dciodvfy is not here and cannot be fetched; install Debian's dicom3tools, or set DCIODVFY" >&2
        exit 1
    fi
    mkdir -p build
    rm -rf build/dicom3tools
    mv "$part/unpacked" build/dicom3tools
fi
if ! "$unpacked" -version >/dev/null 2>&1 </dev/null; then
    echo "$unpacked does not run here; set DCIODVFY to one that does" >&2
    exit 1
fi
echo "$unpacked"
