#!/usr/bin/env bash
# The main job on a CT head phantom: DICOM in, an .inr out, and back, with figures and a picture.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh
set_up figures
inr-volume demo demo-output "$@"
