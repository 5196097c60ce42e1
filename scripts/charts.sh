#!/usr/bin/env bash
# Draw the pages' flow charts as pictures for the site (docs/assets/charts), after each change of one.
# Needs npm, a network, and a Chromium (CHROMIUM=...); the site itself is built without them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PUPPETEER_SKIP_DOWNLOAD=1 PUPPETEER_EXECUTABLE_PATH=${CHROMIUM:-$(command -v chromium)}
npm install --silent --no-fund --no-audit --prefix "$work" @mermaid-js/mermaid-cli@12.2.0
echo '{"args": ["--no-sandbox"]}' >"$work/browser.json"
cat >"$work/look.json" <<'JSON'
{
    "theme": "neutral",
    "fontFamily": "sans-serif",
    "htmlLabels": false,
    "flowchart": {"htmlLabels": false, "wrappingWidth": 300, "rankSpacing": 30}
}
JSON
python3 -m tools.pages.charts "$work"
rm -rf docs/assets/charts
mkdir -p docs/assets/charts
for chart in "$work"/*.mmd; do
    "$work/node_modules/.bin/mmdc" --quiet -p "$work/browser.json" -c "$work/look.json" -b transparent \
        -i "$chart" -o "docs/assets/charts/$(basename "$chart" .mmd).svg"
done
