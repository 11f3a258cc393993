"""The order of slices by the numbers in their file names, and what speaks against there being one stack.

A name is text with numbers in it. The slices of one stack differ in their numbers alone, and one number of
theirs rises by equal steps. Names leave open whether '-' is a sign and '.' a decimal point, so they are read
in four ways, the plainest first, and the first that makes one stack counts:

    1. whole numbers;           img-2, img-10, 1.2.840.7
    2. with a sign after text;  z-2, z-1, z0, z1
    3. with decimals;           z1.5, z2.0, z2.5
    4. with both.               z-1.5, z0, z1.5

A '-' or '+' at the beginning of a name, or after anything but a letter or digit, is a sign in all of them.
Names that all have a '-' after text count upwards without it, as nobody can tell: img-1, img-2.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from ..core.errors import SourceError
from ..core.text import printable

SIGN = r"(?:(?<![^\W_])[-+](?=\d))?"  # after no letter or digit
SIGN_AFTER_TEXT = r"(?:(?<!\d)[-+](?=\d))?"
DECIMALS = r"(?:\.\d+(?!\.?\d))?"
READINGS = tuple(
    re.compile(rf"{sign}\d+{decimals}", re.ASCII)
    for decimals in ("", DECIMALS)
    for sign in (SIGN, SIGN_AFTER_TEXT)
)
LISTED = 5  # missing numbers named in a message, at most

Numbers = list[tuple[Fraction, ...]]  # of each name, in the order of the names


class StackError(SourceError):
    """One reading of the names makes no stack; the nearer it came, the more its reason is worth."""

    def __init__(self, nearness: int, reason: str) -> None:
        super().__init__(reason)
        self.nearness = nearness


def in_order(paths: Sequence[Path]) -> tuple[list[Path], Fraction]:
    """Return the files of one stack in the order of their numbers, and the step by which these rise.

    Raises SourceError, naming files, for names of several kinds, two of one number, or missing numbers.
    """
    failures: list[StackError] = []
    for reading in READINGS:
        try:
            return _stack(paths, reading)
        except StackError as failure:
            failures.append(failure)
    raise max(failures, key=lambda failure: failure.nearness)


def _stack(paths: Sequence[Path], reading: re.Pattern[str]) -> tuple[list[Path], Fraction]:
    """Return the files in order and the step, if the names make one stack in this reading."""
    stems = [reading.sub("#", path.stem.casefold()) for path in paths]
    if len(kinds := Counter(stems)) > 1:
        firsts = [paths[stems.index(stem)] for stem in list(kinds)[:2]]
        raise StackError(
            0,
            f"the names {_named(firsts[0])} and {_named(firsts[1])} differ in more than a number;"
            " put the slices of one stack in a folder of their own",
        )
    numbers = [tuple(Fraction(number) for number in reading.findall(path.stem)) for path in paths]
    if len(paths) == 1:
        return list(paths), Fraction(1)
    _check_twins(paths, numbers)
    columns = [column for column in zip(*numbers, strict=True) if len(set(column)) == len(paths)]
    if not columns:
        first, second = _repeated(paths, numbers)
        raise StackError(
            1,
            f"no number differs in all names, as {_named(first)} and {_named(second)} show: several stacks?"
            " Put the slices of one stack in a folder of their own",
        )
    failures: list[StackError] = []
    for column in columns:
        order = sorted(range(len(paths)), key=column.__getitem__)
        ordered = [paths[index] for index in order]
        try:
            _check_agreement(ordered, [numbers[index] for index in order])
            return ordered, _step(ordered, [column[index] for index in order])
        except StackError as failure:
            failures.append(failure)
    raise max(failures, key=lambda failure: failure.nearness)


def _check_twins(paths: Sequence[Path], numbers: Numbers) -> None:
    """Raise StackError for two files of the same numbers, such as 1.png and 001.tif."""
    first: dict[tuple[Fraction, ...], Path] = {}
    for path, number in zip(paths, numbers, strict=True):
        twin = first.setdefault(number, path)
        if twin is not path:
            raise StackError(2, f"{_named(twin)} and {_named(path)} have the same number; remove one of them")


def _check_agreement(ordered: Sequence[Path], numbers: Numbers) -> None:
    """Raise StackError unless every number in the names only rises, or only falls, along the stack."""
    for column in zip(*numbers, strict=True):
        steps = [after - before for before, after in itertools.pairwise(column)]
        if min(steps) < 0 < max(steps):
            at = next(index for index, step in enumerate(steps) if step * steps[0] < 0 or step < 0)
            raise StackError(
                1,
                f"the numbers of {_named(ordered[at])} and {_named(ordered[at + 1])} give two orders;"
                " leave one number in the names",
            )


def _step(ordered: Sequence[Path], numbers: Sequence[Fraction]) -> Fraction:
    """Return the step by which the numbers rise. Raises StackError, naming what is missing, for uneven ones.

    Decimals may be rounded: steps may differ by one of the last place, but never by a quarter.
    """
    steps = [after - before for before, after in itertools.pairwise(numbers)]
    step = min(Counter(steps).items(), key=lambda item: (-item[1], item[0]))[0]
    finest = max(number.denominator for number in numbers)  # 10 for one decimal
    tolerance = min(Fraction(1, finest), step / 4) if finest > 1 else Fraction(0)
    for at, gap in enumerate(steps):
        if abs(gap - step) <= tolerance:
            continue
        between = f"between {_named(ordered[at])} and {_named(ordered[at + 1])}"
        if gap > step and gap % step == 0:
            absent = [numbers[at] + step * count for count in range(1, int(gap / step))]
            words = ", ".join(f"{float(number):g}" for number in absent[:LISTED])
            more = f" and {len(absent) - LISTED} more" if len(absent) > LISTED else ""
            raise StackError(3, f"missing {between}: {words}{more}; add these files, or number without gaps")
        raise StackError(
            3,
            f"the numbers rise by {float(gap):g} {between}, and by {float(step):g} elsewhere;"
            " add what is missing, or number without gaps",
        )
    return step


def _repeated(paths: Sequence[Path], numbers: Numbers) -> tuple[Path, Path]:
    """Return two files that share a number which elsewhere differs."""
    column = next(column for column in zip(*numbers, strict=True) if len(set(column)) > 1)
    again = next(index for index, number in enumerate(column) if number in column[:index])
    return paths[column.index(column[again])], paths[again]


def _named(path: Path) -> str:
    return f"'{printable(path.name)}'"
