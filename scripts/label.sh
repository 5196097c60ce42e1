#!/usr/bin/env bash
# Install MONAI Label with this package into .venv-label, write the app, and serve a folder of images on 127.0.0.1.
#
#   scripts/label.sh IMAGES [--port 8000] [--conf text "lungs; heart"] [--conf preset biomedclip_sam_b] ...
#
# The app lies in label_app/ (another place: LABEL_APP=FOLDER); what was trained there is kept.
set -euo pipefail
if [ $# -eq 0 ] || [ "${1#-}" != "$1" ]; then
    echo "usage: scripts/label.sh IMAGES [what monailabel start_server takes]" >&2
    exit 2
fi
studies=$(realpath -m -- "$1")
case $1 in http://* | https://*) studies=$1 ;; esac
shift
app=$(realpath -m -- "${LABEL_APP:-label_app}")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/install.sh
install_environment .venv-label requirements/label.txt
export PATH="$PWD/.venv-label/bin:$PATH"
# The last of two equal options wins: --host among the arguments opens the server to others.
exec medclipsam label serve "$studies" --app "$app" "$@"
