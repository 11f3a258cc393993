"""Fits that were stopped, kept in files for when napari runs again, and found by the volume they are of.

Of the volume a file holds a hash, in its name, and nothing else. All of it is work for a `Job`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import platformdirs

from ..core.atomic import atomic_write, claimed
from ..core.checks import check_number, check_whole
from ..core.errors import FitError, InrError
from ..core.volume import Volume
from ..fields.registry import settings_from_dict, settings_to_dict
from ..fields.settings import Settings

if TYPE_CHECKING:
    from ..fields.base import FitState

FOLDER = Path(platformdirs.user_data_dir("napari-inr-volume", appauthor=False)) / "fits"
MOST = 8  # fits that are kept; the oldest go
MOST_EXACT = 2  # exact layers that are begun, which are large
MAX_WORDS = 2**16  # bytes of what is kept of one in words


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A fit that was stopped."""

    path: Path  # of its state, see `fields.state_file`
    settings: Settings
    step: int
    psnr: float  # dB (range) of the LR, when it was followed last

    @property
    def words(self) -> str:
        """A description for the user."""
        return (
            f"A fit of this volume was stopped at step {self.step:,} of {self.settings.fit.all_steps:,}"
            f" (LR PSNR {self.psnr:.1f} dB). Press Continue to resume it."
        )


def identity(volume: Volume) -> str:
    """Return the name under which fits of a volume are kept: a hash of its voxels and of what counts."""
    found = hashlib.sha256(repr((volume.shape, volume.dtype.str, volume.padding)).encode())
    for z in range(volume.shape[0]):
        found.update(np.ascontiguousarray(volume.plane(z)).data)
    return found.hexdigest()[:32]


def keep(name: str, settings: Settings, state: FitState) -> None:
    """Keep where a fit of the volume of this identity stands. Raises InrError if it cannot be saved."""
    from ..fields.state_file import save_state

    try:
        FOLDER.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FitError(f"the fit cannot be kept in {FOLDER}: {error.strerror}") from error
    save_state(state, _state_of(name))
    words = {"settings": settings_to_dict(settings), "step": state.step, "psnr": max(state.best_psnr, 0.0)}
    with atomic_write(_words_of(name)) as temporary:
        temporary.write_text(json.dumps(words), encoding="utf-8")
    kept = sorted(FOLDER.glob("*.json"), key=lambda path: path.stat().st_mtime)
    for path in kept[:-MOST]:
        forget(path.stem)


def find(name: str) -> Kept | None:
    """Return the fit that is kept of the volume of this identity; one that cannot be read is forgotten."""
    try:
        with _words_of(name).open("rb") as file:
            words = json.loads(file.read(MAX_WORDS))
        settings, step, psnr = settings_from(words["settings"]), words["step"], words["psnr"]
        check_whole("step", step, 0, 20_000_000)
        check_number("psnr", psnr, 0.0, 1e4)
    except OSError:
        return None
    except (KeyError, TypeError, ValueError, RecursionError, FitError):
        settings = None
    if settings is None or not _state_of(name).is_file():
        forget(name)
        return None
    return Kept(path=_state_of(name), settings=settings, step=step, psnr=psnr)


def load(kept: Kept) -> FitState:
    """Return the state of a fit that is kept. Raises FitError, and forgets it, if it is damaged."""
    from ..fields.state_file import load_state

    try:
        return load_state(kept.path)
    except FitError as error:
        forget(kept.path.stem)
        raise FitError("the fit that was kept is damaged and was removed; press Fit to start over") from error


def forget(name: str) -> None:
    """Remove the fit that is kept of the volume of this identity, if there is one."""
    for path in (_words_of(name), _state_of(name)):
        remove(path)


def settings_from(values: Any) -> Settings | None:
    """Return settings from JSON types, as they were remembered, or None if they are not sound."""
    try:
        return settings_from_dict(values)
    except (TypeError, InrError):
        return None


@contextlib.contextmanager
def room_for_exact(name: str, max_error: float) -> Iterator[Path | None]:
    """Give the file in which the exact layer of the volume of this identity is made, with this largest error.

    What was coded of it before is in there. None if nothing can be kept, or another process makes it.
    """
    path = FOLDER / f"{name}-{max_error:.17g}.exact"
    with contextlib.ExitStack() as claim:
        try:
            FOLDER.mkdir(parents=True, exist_ok=True)
            claim.enter_context(claimed(path))
        except (OSError, InrError):
            yield None
            return
        others = sorted(set(FOLDER.glob("*.exact")) - {path}, key=lambda kept: kept.stat().st_mtime)
        for other in others:
            if other.stem.startswith(f"{name}-") or other in others[: 1 - MOST_EXACT]:
                remove(other)
        yield path


def remove(path: Path) -> None:
    """Remove a file, if it is there and that can be done."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _state_of(name: str) -> Path:
    return FOLDER / f"{name}.fit"


def _words_of(name: str) -> Path:
    return FOLDER / f"{name}.json"
