"""Where a fit stood: all that it needs to go on as if it had never ended, in memory or in a file.

The file is a line that names the format, the SHA-256 of what follows, and that: tensors and plain values
as torch saves them, read back without executing anything. It holds fit data and nothing of its source.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.atomic import atomic_write
from ..core.errors import FitError
from .config import FitConfig, SirenConfig

FORMAT = b"inr-volume fit 2\n"  # the number rises when an older file can no longer be read
DIGEST = hashlib.sha256().digest_size


@dataclass(frozen=True, kw_only=True, eq=False)
class FitState:
    """A fit between two steps. Its tensors are its own: no later step changes them."""

    siren: SirenConfig
    fit: FitConfig
    device: str  # its type, never auto: random numbers differ between them
    samples: str  # `LrSamples.digest` of what is fitted
    step: int  # steps done
    seconds: float  # spent on them
    weights: dict[str, Tensor]  # of the network, as `SirenConfig.shapes` names them
    optimisers: list[dict[str, Any]]  # state dictionaries
    tuning_from: int | None  # step after which weights were rounded; None: not yet
    rounding: dict[str, Tensor] | None  # to what steps, see `inr.tuning`
    curve: list[tuple[int, float]]  # PSNR when it was followed: (step, dB)
    random: Tensor  # state of the generator that draws the voxels of a step
    best_step: int  # when the weights below were kept; 0: not followed yet
    best_psnr: float  # dB (range), on the voxels on which the PSNR is followed
    best_weights: dict[str, Tensor]

    def check(self, siren: SirenConfig, fit: FitConfig, device: str, samples: str) -> None:
        """Raise FitError, naming what differs, if it is not the state of such a fit."""
        before = {**asdict(self.siren), **asdict(self.fit), "device": self.device}
        now = {**asdict(siren), **asdict(fit), "device": device}
        other = [f"{name} was {before[name]}, now {now[name]}" for name in now if before[name] != now[name]]
        if other:
            raise FitError(
                f"the fit to resume was begun with other settings: {'; '.join(other)};"
                " give the same settings, or begin anew"
            )
        if self.samples != samples:
            raise FitError(
                "the fit to resume is of another volume, or of another factor;"
                " give those that it was begun with, or begin anew"
            )


def save_state(state: FitState, path: Path) -> None:
    """Write the state to a file, whole or not at all. Raises InrError if it cannot be saved."""
    content = BytesIO()  # a path's name would go into the file
    plain = vars(state) | {"siren": asdict(state.siren), "fit": asdict(state.fit)}
    torch.save(plain, content)
    body = content.getvalue()
    with atomic_write(path) as temporary:
        temporary.write_bytes(FORMAT + hashlib.sha256(body).digest() + body)


def load_state(path: Path) -> FitState:
    """Read a state, with its tensors on the CPU. Raises FitError if there is none or it is damaged."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise FitError(f"there is no fit to resume, no file {path}; begin anew") from None
    except OSError as error:
        raise FitError(f"{path} cannot be read: {error.strerror}; make it readable, or begin anew") from error
    start = len(FORMAT) + DIGEST
    body = content[start:]
    if content[:start] != FORMAT + hashlib.sha256(body).digest():
        raise FitError(
            f"{path} is damaged, or no state of a fit that this version can read; delete it to begin anew"
        )
    plain: dict[str, Any] = torch.load(BytesIO(body), map_location="cpu", weights_only=True)
    return FitState(
        **plain | {"siren": SirenConfig(**plain["siren"]), "fit": FitConfig(**plain["fit"])},
    )
