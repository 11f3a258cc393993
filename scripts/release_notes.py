"""Print what CHANGELOG.md says of a version: the notes of its release.

    python scripts/release_notes.py VERSION

Ends with an error if the version is not that of pyproject.toml, or has no section in the changelog.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def notes(version: str, changelog: str) -> str:
    """Return the section of a version, without its heading. Raises SystemExit if there is none."""
    found = re.search(
        rf"^## {re.escape(version)}(?![.\w])[^\n]*\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL
    )
    if found is None or not found[1].strip():
        raise SystemExit(f"CHANGELOG.md says nothing of {version}: rename its section 'Unreleased' first")
    return found[1].strip()


def main(version: str) -> None:
    """Print the notes, if this is the version of the package."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    if version != declared:
        raise SystemExit(f"the tag is for {version}, but pyproject.toml says {declared}")
    print(notes(version, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")))


if __name__ == "__main__":
    main(*sys.argv[1:])
