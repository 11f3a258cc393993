#!/usr/bin/env bash
# The fast tests with the lowest version of every package that pyproject.toml allows, in .venv-lowest. torch is that
# of constraints.txt: its other versions would bring gigabytes of CUDA with them.
#   bash scripts/test-lowest.sh [anything that pytest takes]
set -euo pipefail
cd "$(dirname "$0")/.."
VENV=.venv-lowest CONSTRAINTS=$(mktemp)
trap 'rm -f "$CONSTRAINTS"' EXIT
. scripts/setup.sh
"$(find_python)" - >"$CONSTRAINTS" <<'END'
import re
import tomllib

project = tomllib.load(open("pyproject.toml", "rb"))["project"]
extras = project["optional-dependencies"].values()
lines = {line for extra in extras for line in extra} | set(project["dependencies"])
floors = (re.fullmatch(r"([\w.-]+)(?:\[\w+\])?>=([\w.]+)(?:;.*)?", line) for line in lines)
print(*sorted(f"{floor[1]}=={floor[2]}" for floor in floors if floor and floor[1] != "torch"), sep="\n")
print(open("constraints.txt").read())
END
set_up dev
# Old packages use what newer ones that they depend on will drop: no fault of ours.
run_tests -m "not slow" -W ignore::DeprecationWarning -W ignore::FutureWarning "$@"
