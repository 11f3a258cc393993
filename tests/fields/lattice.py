"""A toy kind of field, in one file: numbers on a coarse grid, and straight lines between them.

It shows what a representation has to be, and tests hold that nothing outside knows of any kind by name.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Generator
from dataclasses import asdict, dataclass, replace
from threading import Event
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from napari_inr_volume.core.errors import FitError, InrFileError
from napari_inr_volume.core.json_fields import Fields
from napari_inr_volume.core.place import Place
from napari_inr_volume.fields.base import FitProgress, FitResult
from napari_inr_volume.fields.psnr import measure_psnr
from napari_inr_volume.fields.samples import LrSamples
from napari_inr_volume.fields.settings import Option, Settings

CODING = "float32"


@dataclass(frozen=True, kw_only=True)
class LatticeConfig:
    kind: ClassVar[str] = "lattice"

    nodes: int = 4  # along each axis

    def __post_init__(self) -> None:
        if not 2 <= self.nodes <= 64:
            raise FitError(f"nodes must be from 2 to 64, got {self.nodes}")

    @property
    def parameters(self) -> int:
        return self.nodes**3

    @property
    def in_words(self) -> str:
        return f"{self.nodes} nodes along each axis"


@dataclass(frozen=True, kw_only=True)
class LatticeFit:
    steps: int = 3
    rate: float = 0.5  # of the way to the data in a step
    weight_bits: float = 32.0
    target_psnr: float | None = None
    seed: int = 0

    @property
    def all_steps(self) -> int:
        return self.steps

    def with_all_steps(self, steps: int) -> LatticeFit:
        return replace(self, steps=steps)


@dataclass(frozen=True, kw_only=True, eq=False)
class LatticeState:
    field: LatticeConfig
    fit: LatticeFit
    factor: tuple[float, float, float]
    device: str
    step: int
    seconds: float
    best_psnr: float
    values: Tensor


class Lattice:
    """Numbers (nodes, nodes, nodes) over [-1, 1]^3, interpolated linearly."""

    def __init__(self, values: Tensor) -> None:
        self.values = values

    @property
    def device(self) -> torch.device:
        return self.values.device

    def at(self, coordinates: Tensor) -> Tensor:
        grid = coordinates.flip(-1)[None, None, None]  # torch wants x, y, z
        return torch.nn.functional.grid_sample(self.values[None, None], grid, align_corners=True).flatten()

    def on_grid(self, z: Tensor, y: Tensor, x: Tensor) -> Tensor:
        axes = torch.meshgrid(z, y, x, indexing="ij")
        return self.at(torch.stack(axes, dim=-1).view(-1, 3)).view(len(z), len(y), len(x))


class LatticeKind:
    """See `fields.base.FieldKind`."""

    name = LatticeConfig.kind
    title = "lattice"
    config = LatticeConfig
    fit_config = LatticeFit
    preview = True
    presets: ClassVar[dict[str, Settings]] = {}
    options = (
        Option(name="nodes", place="field", title="Nodes", help="Along an axis.", value=int, low=2, high=64),
    )
    ladder = None

    def with_option(self, settings: Settings, name: str, value: Any) -> Settings:
        return replace(settings, field=replace(settings.field, **{name: value}))

    def suited(self, settings: Settings, shape: tuple[int, int, int], source_bytes: int) -> Settings:
        return settings

    def to_meta(self, config: LatticeConfig) -> dict[str, Any]:
        return {"nodes": config.nodes}

    def from_meta(self, parent: Fields) -> LatticeConfig:
        return LatticeConfig(nodes=parent.fields(self.name, "nodes").whole("nodes", 2, 64))

    def details(self, config: LatticeConfig) -> list[tuple[str, str, str]]:
        return [("Kind", self.title, "A toy."), ("Nodes", str(config.nodes), "Along an axis.")]

    def check(self, config: LatticeConfig, payload: bytes, coding: str) -> None:
        if coding != CODING or len(payload) != 4 * config.parameters:
            raise InrFileError("the lattice is damaged")

    def load(self, config: LatticeConfig, payload: bytes, coding: str, device: torch.device) -> Lattice:
        self.check(config, payload, coding)
        values = np.frombuffer(payload, "<f4").reshape((config.nodes,) * 3).copy()
        return Lattice(torch.from_numpy(values).to(device))

    def fit(
        self,
        samples: LrSamples,
        settings: Settings,
        device: torch.device,
        stop: Event | None = None,
        resume: LatticeState | None = None,
        place: Place | None = None,
    ) -> Generator[FitProgress, None, FitResult]:
        field, fit, started = settings.field, settings.fit, time.perf_counter()
        places = torch.linspace(-1, 1, field.nodes)
        nearest = [(axis[:, None] - places).abs().argmin(0) for axis in samples.axes]
        found = samples.intensity()[torch.meshgrid(*nearest, indexing="ij")]
        lattice = Lattice(torch.zeros_like(found) if resume is None else resume.values.clone())
        step, psnr = (0, 0.0) if resume is None else (resume.step, resume.best_psnr)

        def state() -> LatticeState:
            return LatticeState(
                field=field,
                fit=fit,
                factor=samples.factor,
                device=device.type,
                step=step,
                seconds=time.perf_counter() - started,
                best_psnr=psnr,
                values=lattice.values.clone(),
            )

        while step < fit.steps and not (stop is not None and stop.is_set()):
            lattice.values += fit.rate * (found - lattice.values)
            step, psnr = step + 1, measure_psnr(lattice, samples)
            yield FitProgress(
                step=step,
                steps=fit.steps,
                loss=4 * 10 ** (-psnr / 10),
                psnr=psnr,
                seconds=time.perf_counter() - started,
                seconds_left=0.0,
                field=lattice,
                state=state,
            )
        stopped = step < fit.steps
        return FitResult(
            field=lattice,
            config=settings.field,
            payload=lattice.values.numpy().astype("<f4").tobytes(),
            coding=CODING,
            steps=step,
            psnr=psnr,
            seconds=time.perf_counter() - started,
            stopped=stopped,
            state=state() if stopped else None,
        )

    def state_to_bytes(self, state: LatticeState) -> bytes:
        plain = {"field": asdict(state.field), "fit": asdict(state.fit), "values": state.values.tolist()}
        return json.dumps(plain | {name: getattr(state, name) for name in PLAIN}).encode()

    def state_from_bytes(self, body: bytes) -> LatticeState:
        plain = json.loads(body)
        plain["factor"] = tuple(plain["factor"])
        return LatticeState(
            field=LatticeConfig(**plain["field"]),
            fit=LatticeFit(**plain["fit"]),
            values=torch.tensor(plain["values"]),
            **{name: plain[name] for name in PLAIN},
        )

    def bytes_of_fit(self, settings: Settings) -> int:
        return 12 * settings.field.parameters

    def work(self, settings: Settings, samples: int) -> float:
        return math.inf if samples == 0 else settings.fit.all_steps

    def pace(self, settings: Settings, device: str) -> tuple[object, ...]:
        return self.name, settings.field, device


PLAIN = ("factor", "device", "step", "seconds", "best_psnr")
LATTICE = LatticeKind()
