"""Make an environment of a wheel and of what it depends on, linked from the environment that runs this.

    python scripts/linked_env.py WHEEL FOLDER

It has what the wheel asks for without extras, and what that asks for in turn, as installed here: nothing else
can be imported in it. Ends with an error if anything of that is missing or of a version that is not allowed.
"""

import subprocess
import sys
import venv
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def needed_by(wheel: Distribution) -> list[Distribution]:
    """Return the distributions that a wheel needs, and those that they need."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()  # of each distribution, the extras looked at
    waiting = [(wheel, "")]
    while waiting:
        one, extra = waiting.pop()
        for requirement in map(Requirement, one.requires or []):
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
                continue
            name = canonicalize_name(requirement.name)
            found.setdefault(name, distribution(name))
            fresh = {(name, each) for each in ("", *requirement.extras)} - seen
            seen |= fresh
            waiting += [(found[name], each) for _, each in fresh]
    return list(found.values())


def link(one: Distribution, site: Path) -> None:
    """Link a distribution's modules, packages and metadata into a folder."""
    tops = {file.parts[0] for file in one.files or []} - {"..", "__pycache__"}
    for top in tops:
        place = site / top
        if not place.exists():
            place.symlink_to(Path(str(one.locate_file(top))))


def main(wheel: str, folder: str) -> None:
    """Make the environment in a folder that is not there yet."""
    venv.create(folder, symlinks=True)
    python = str(Path(folder, "bin", "python"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", python]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", wheel], check=True)
    (site,) = Path(folder, "lib").glob("python*/site-packages")
    (installed,) = distributions(path=[str(site)])
    for one in needed_by(installed):
        link(one, site)
    subprocess.run([*pip, "check"], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
