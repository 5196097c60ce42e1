#!/usr/bin/env bash
# Package the deploy application as a container (a MONAI Application Package) by `monai-deploy package`.
#
#   scripts/package.sh TAG [BUNDLE] [words for monai-deploy package]
#   scripts/package.sh medclipsam:0.1.0
#   scripts/package.sh medclipsam:0.1.0 bundles/medclipsam_weak_segmentation --no-cache
#
# The application folder is put together in build/deploy_app: deploy_app/, the package itself and the lock file. A bundle
# given becomes the container's model. Needs docker with buildx, and a network for the base image and the packages.
set -euo pipefail
usage="usage: scripts/package.sh TAG [BUNDLE] [words for monai-deploy package]"
tag=${1:?$usage}
shift
bundle=
if [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; then
    bundle=$(cd "$1" && pwd)
    shift
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if ! command -v docker >/dev/null; then
    echo "docker is not on the path; it is what builds the container" >&2
    exit 1
fi
source scripts/install.sh
install_environment .venv-deploy requirements/deploy.txt
app=build/deploy_app models=build/deploy_models
rm -rf "$app" "$models"
mkdir -p "$app" "$models"
cp deploy_app/__main__.py deploy_app/app.yaml "$app"
cp requirements/deploy.txt "$app/requirements.txt"
cp -r medclipsam_monai LICENSE "$app"
find "$app" -name __pycache__ -prune -exec rm -rf {} +
if [ -n "$bundle" ]; then
    cp -r "$bundle" "$models"
    set -- --models "$models" "$@"
fi
# The manifest is this project's: the one that is published for this version of the program knows another Holoscan.
.venv-deploy/bin/monai-deploy package "$app" --config "$app/app.yaml" --tag "$tag" --platform x86_64 \
    --source deploy_app/artifacts.json "$@"
