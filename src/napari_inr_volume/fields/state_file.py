"""Where a fit stood, in a file of its own beside the `.inr` to come.

The file is a line that names the format and the kind of field, the SHA-256 of what follows, and that: what
the kind needs to resume the fit (`FieldKind.state_to_bytes`).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..core.atomic import atomic_write
from ..core.errors import FitError
from ..core.memory import check_memory
from .base import FitState
from .registry import KINDS, find_kind

FORMAT = b"inr-volume fit 5"  # the number rises when an older file can no longer be read
DIGEST = hashlib.sha256().digest_size


def save_state(state: FitState, path: Path) -> None:
    """Write the state to a file, whole or not at all. Raises InrError if it cannot be saved."""
    kind = state.field.kind
    body = find_kind(kind).state_to_bytes(state)
    with atomic_write(path) as temporary:
        temporary.write_bytes(_head(kind) + hashlib.sha256(body).digest() + body)


def load_state(path: Path) -> FitState:
    """Read a state, with its tensors on the CPU. Raises FitError if there is none or it is damaged."""
    content = _read(path)
    for kind in KINDS.values():
        head = _head(kind.name)
        body = content[len(head) + DIGEST :]
        if content.startswith(head + hashlib.sha256(body).digest()):
            try:
                return kind.state_from_bytes(body)
            except FitError as error:
                raise FitError(f"{path} is damaged: {error}; delete it to start over") from error
    raise FitError(
        f"{path} is damaged, or is not the state of a fit that this version can read; delete it to start over"
    )


def _head(kind: str) -> bytes:
    return FORMAT + b" " + kind.encode("ascii") + b"\n"


def _read(path: Path) -> bytes:
    try:
        check_memory(
            2 * path.stat().st_size,  # the file and its tensors
            f"the fit to resume, {path},",
            "close other programs, or delete it to start over",
            FitError,
        )
        return path.read_bytes()
    except FileNotFoundError:
        raise FitError(f"there is no fit to resume, no file {path}; start over") from None
    except OSError as error:
        raise FitError(
            f"{path} cannot be read: {error.strerror}; make it readable, or delete it to start over"
        ) from error
