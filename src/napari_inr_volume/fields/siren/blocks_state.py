"""Where a fit of several SIRENs stood: the state of each box's fit, and the cuts that make the boxes."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from ...core.errors import FitError
from ...core.volume import Triple
from . import fit_state
from .config import FitConfig, SirenConfig
from .fit_state import MAX_HEADER, FitState

LENGTH = 8  # bytes that say how long the header is


@dataclass(frozen=True, kw_only=True, eq=False)
class BlocksState:
    """A fit between two steps."""

    field: SirenConfig  # with its cuts
    fit: FitConfig
    factor: Triple  # of the LR that is fitted
    device: str  # its type, never auto
    seconds: float  # spent on all boxes
    boxes: tuple[FitState | None, ...]  # None: not begun

    @property
    def step(self) -> int:
        """Steps done, in the mean of the boxes."""
        return sum(state.step for state in self.boxes if state is not None) // len(self.boxes)

    @property
    def best_psnr(self) -> float:
        """PSNR of the LR in dB (range) of the box where it is lowest; -inf before the first."""
        return min(-math.inf if state is None else state.best_psnr for state in self.boxes)

    def check(self, siren: SirenConfig, fit: FitConfig, factor: Triple, device: str) -> None:
        """Raise FitError, naming what differs, if it is not the state of such a fit, with these cuts."""
        before = {**asdict(self.field), **asdict(self.fit), "factor": self.factor, "device": self.device}
        now = {**asdict(siren), **asdict(fit), "factor": factor, "device": device}
        fit_state.check_same(before, now, leaving_out=("cuts", "margins"))
        if self.field != siren:  # the cuts, which follow from the volume
            raise FitError(fit_state.OTHER_VOLUME)


def to_bytes(state: BlocksState) -> bytes:
    """Return the state: a JSON header and its length, then the boxes' states one after the other."""
    bodies = [b"" if one is None else fit_state.to_bytes(one) for one in state.boxes]
    plain = {name: getattr(state, name) for name in ("factor", "device", "seconds")}
    plain |= {"field": asdict(state.field), "fit": asdict(state.fit), "lengths": list(map(len, bodies))}
    header = json.dumps(plain).encode()
    return len(header).to_bytes(LENGTH, "little") + header + b"".join(bodies)


def from_bytes(body: bytes) -> BlocksState:
    """Return the state that bytes hold. Raises FitError on bytes that no fit leaves."""
    try:
        return _parsed(body)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise FitError("it does not hold the state of a fit") from error


def _parsed(body: bytes) -> BlocksState:
    length = int.from_bytes(body[:LENGTH], "little")
    if length > MAX_HEADER:
        raise FitError(f"it declares {length:,} bytes of settings, at most {MAX_HEADER:,} are allowed")
    start = LENGTH + length
    plain = json.loads(body[LENGTH:start])
    siren, fit = SirenConfig(**plain["field"]), FitConfig(**plain["fit"])
    lengths = plain["lengths"]
    if len(lengths) != siren.boxes or len(siren.cuts) != siren.boxes - 1 or siren.boxes == 1:
        raise FitError("its boxes do not match its settings")
    states: list[FitState | None] = []
    for size in lengths:
        if not isinstance(size, int) or not 0 <= size <= len(body) - start:
            raise FitError("the lengths of its boxes' states are wrong")
        states.append(fit_state.from_bytes(body[start : start + size]) if size else None)
        start += size
    if start != len(body):
        raise FitError("it is longer than its boxes' states")
    z, y, x = plain["factor"]
    factor, device = (z, y, x), plain["device"]
    for box, state in enumerate(states):
        if state is not None:
            state.check(siren.networks[box], fit_of_box(fit, box), factor, device, state.samples)
    return BlocksState(
        field=siren, fit=fit, factor=factor, device=device, seconds=_seconds(plain), boxes=tuple(states)
    )


def _seconds(plain: dict[str, Any]) -> float:
    seconds = plain["seconds"]
    if not isinstance(seconds, int | float) or not 0 <= seconds <= 1e12:
        raise FitError("its seconds are no time")
    return float(seconds)


def fit_of_box(fit: FitConfig, box: int) -> FitConfig:
    """Return how the network of a box is fitted: each begins with random weights of its own."""
    return replace(fit, seed=(fit.seed + box) % 2**63)
