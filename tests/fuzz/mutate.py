"""Changes to bytes and to JSON, drawn from a random generator: the same generator gives the same change."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

NUMBERS = (0, 1, 2, 127, 128, 255, 2**15 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
TEXTS = (
    *("", "0", "-1", "1e999", "nan", "-inf", "1e-320", "99999999999999999999", "4294967296", "0x10", "1.5"),
    *("\x1b[2J", "[red]", "../../x", "a\x00b", "\u202e", "é" * 40, "9" * 5_000),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 10**400, 0.5, -0.0, 1e-320, 1e300, -1e300),
    *(float("inf"), float("-inf"), float("nan"), "", "\x1b[2J", "x" * 300, [], {}, [[]], [0, 0, 0], {"a": 1}),
)
HEADER = 512  # bytes at the start of a file in which most of what matters lies


def change(data: bytes, rng: Random) -> bytes:
    """Return the bytes with one to four changes."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice(CHANGES)(data, rng)
    return data


def _place(data: bytes, rng: Random) -> int:
    return rng.randrange(min(len(data), HEADER) if rng.random() < 0.6 else len(data)) if data else 0


def _flip(data: bytes, rng: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        if changed:
            changed[_place(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _byte(data: bytes, rng: Random) -> bytes:
    at = _place(data, rng)
    return data[:at] + bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))]) + data[at + 1 :]


def _number(data: bytes, rng: Random) -> bytes:
    """Put an extreme number, of 2, 4 or 8 bytes, where a length may be."""
    size, at = rng.choice((2, 4, 8)), _place(data, rng)
    if rng.random() < 0.5:
        at -= at % 2
    number = rng.choice(NUMBERS) % 2 ** (8 * size)
    return data[:at] + number.to_bytes(size, rng.choice(("little", "big"))) + data[at + size :]


def _cut(data: bytes, rng: Random) -> bytes:
    return data[: _place(data, rng)]


def _remove(data: bytes, rng: Random) -> bytes:
    at = _place(data, rng)
    return data[:at] + data[at + rng.choice((1, 2, 4, 16, 100)) :]


def _repeat(data: bytes, rng: Random) -> bytes:
    at, size = _place(data, rng), rng.choice((1, 4, 16, 100))
    return data[:at] + data[at : at + size] * rng.choice((2, 3, 50)) + data[at + size :]


def _splice(data: bytes, rng: Random) -> bytes:
    at, other, size = _place(data, rng), _place(data, rng), rng.choice((2, 8, 64))
    kept = at + size if rng.random() < 0.5 else at
    return data[:at] + data[other : other + size] + data[kept:]


def _append(data: bytes, rng: Random) -> bytes:
    return data + rng.choice((b"\0" * 1_000, data, rng.randbytes(100)))


def _figure(data: bytes, rng: Random) -> bytes:
    """Put another text where a number stands as text."""
    found = list(re.finditer(rb"[0-9.]+", data[:20_000]))
    if not found:
        return _byte(data, rng)
    one = rng.choice(found)
    return data[: one.start()] + rng.choice(TEXTS).encode() + data[one.end() :]


CHANGES: tuple[Callable[[bytes, Random], bytes], ...] = (
    *(_flip, _byte, _number, _number, _cut, _remove, _repeat, _splice, _append, _figure),
)


def change_json(value: Any, rng: Random) -> Any:
    """Return the value with some of its leaves, or whole branches, replaced, removed or added."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 2, 3))):
        branches = [value] if isinstance(value, dict | list) else []
        for branch in branches:
            inner = branch.values() if isinstance(branch, dict) else branch
            branches += [one for one in inner if isinstance(one, dict | list)]
        branches = [branch for branch in branches if branch]
        if not branches:
            return rng.choice(VALUES)
        branch = rng.choice(branches)
        key = rng.choice(list(branch) if isinstance(branch, dict) else range(len(branch)))
        action = rng.random()
        if action < 0.7:
            branch[key] = copy.deepcopy(rng.choice(VALUES) if action < 0.5 else _near(branch[key], rng))
        elif action < 0.85:
            del branch[key]
        elif isinstance(branch, dict):
            branch["more"] = branch[key]
        else:
            branch.append(branch[key])
    return value


def _near(value: Any, rng: Random) -> Any:
    """Return a value of the same type that may be allowed."""
    if isinstance(value, bool) or value is None:
        return rng.choice(VALUES)
    if isinstance(value, int):
        return rng.choice((value + 1, value * 2, value * 1_000, -value, rng.randrange(1, 70_000)))
    if isinstance(value, float):
        return rng.choice((value * 1e3, value / 1e3, -value, value + 1e-9, value * 1e30))
    return rng.choice(TEXTS) if isinstance(value, str) else value


def json_bytes(value: Any, rng: Random) -> bytes:
    """Return JSON as text, now and then with a change to the text itself."""
    text = json.dumps(value).encode()
    return change(text, rng) if rng.random() < 0.1 else text
