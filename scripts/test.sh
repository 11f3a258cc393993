#!/usr/bin/env bash
# All checks: style, types, tests (under Xvfb on Linux), and the built wheel in a clean environment.
#   bash scripts/test.sh [-m "not slow"] [anything else that pytest takes]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh
set_up dev

# What users install: the wheel with its own dependencies and nothing else. These are linked from $VENV: that pip
# finds them was seen when $VENV was made, and installing them twice takes a minute.
check_wheel() {
    local inr_volume="$clean/env/bin/inr-volume"
    python -m build --outdir "$clean/dist" .
    npe2 validate src/napari_inr_volume/napari.yaml
    python scripts/linked_env.py "$clean"/dist/*.whl "$clean/env"
    cd "$clean"
    "$inr_volume" --help >/dev/null
    "$clean/env/bin/python" -c "
import numpy
from napari_inr_volume.core.phantom import head_phantom
numpy.save('head.npy', head_phantom((8, 32, 32)).voxels)
"
    "$inr_volume" compress head.npy head.inr --layers 2 --hidden 16 --steps 20 --batch 256
    "$inr_volume" decompress head.inr again.nii.gz
}

# Beside the checks of style and types, which leave a core free; the tests take all.
clean=$(mktemp -d)
(set -e; check_wheel) >"$clean.log" 2>&1 &
wheel=$!
trap 'kill "$wheel" 2>/dev/null || true; wait; rm -rf "$clean" "$clean.log"' EXIT

ruff check .
ruff format --check .
mypy

wait "$wheel" || { cat "$clean.log" >&2; echo "The wheel does not build or work." >&2; exit 1; }
echo "The wheel $(basename "$clean"/dist/*.whl) and $(basename "$clean"/dist/*.tar.gz) build; the wheel compresses."

run_tests "$@"
