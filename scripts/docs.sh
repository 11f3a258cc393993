#!/usr/bin/env bash
# The documentation site, into site/: generates its pages, runs the notebook, and fails on any warning.
#   bash scripts/docs.sh [serve]     with `serve`: show it at http://127.0.0.1:8000, and build again on every change
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh
set_up docs
export NO_MKDOCS_2_WARNING=1  # a note of the theme's that is no warning about our pages
if [ "${1:-}" = serve ]; then exec mkdocs serve; fi
mkdocs build --strict
