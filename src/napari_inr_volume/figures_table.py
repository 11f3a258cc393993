"""The figures of an `.inr` against its original as a table: of the volume, of every slice, as CSV."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .core.metrics import Comparison, Errors, Figures
from .core.table_file import write_csv
from .inr_volume import InrVolume

COLUMNS = (
    "volume",
    "result",  # what is compared: LR fit, Lanczos, a network
    "against",  # the original, or its LR
    "slice",  # along z, from 0; empty: all slices measured
    "slices_measured",
    "psnr_db",  # peak: the original's intensity range
    "rmse",
    "p99",
    "max_error",
    "ssim",
    "body_psnr_db",
    "body_rmse",
    "window",
    "window_psnr_db",
    "window_rmse",
    "units",  # of the errors
    "file_bytes",
    "source_bytes",
    "ratio",
    "ratio_with_model",
    "max_error_promised",  # by the exact layer
    "settings",
)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One result and its figures."""

    name: str
    against: str
    figures: Comparison


def write_figures(
    path: Path, name: str, inr: InrVolume, file_bytes: int, model_bytes: int, compared: Sequence[Compared]
) -> None:
    """Write a row for the volume and one for each slice measured, for each result. Raises InrError.

    `file_bytes` are those of the `.inr`, `model_bytes` those of the weights that restore it, unless they are
    in the file.
    """
    of_file = {
        "volume": name,
        "units": inr.units,
        "file_bytes": file_bytes,
        "source_bytes": inr.source_bytes,
        "ratio": inr.source_bytes / file_bytes,
        "ratio_with_model": inr.source_bytes / (file_bytes + model_bytes) if model_bytes else None,
        "max_error_promised": None if inr.exact is None else inr.exact.max_error,
        "settings": json.dumps(settings_of(inr)),
    }
    write_csv(path, COLUMNS, ({**of_file, **row} for one in compared for row in _rows(one)))


def settings_of(inr: InrVolume) -> dict[str, Any]:
    """Return what an `.inr` was made with, in JSON types."""
    return {
        **asdict(inr.fit),
        "factor": inr.factor,
        "field": {"kind": inr.field.kind, **asdict(inr.field)},
        "coding": inr.coding,
        "upscaler": inr.upscaler.name,
        "software": inr.software,
    }


def _rows(one: Compared) -> Iterator[dict[str, object]]:
    found = one.figures
    count = int(found.compared.sum())
    if not count:
        return
    window = found.window.name if found.of_volume().window is not None else None
    named = {"result": one.name, "against": one.against, "window": window}
    whole = {"slices_measured": count, "p99": found.p99, "max_error": found.max_error}
    yield {**named, **whole, **_cells(found.of_volume())}
    for z in found.compared.nonzero()[0].tolist():
        figures = found.of_slice(z)
        assert figures is not None
        largest = {"p99": _number(found.slices.p99[z]), "max_error": _number(found.slices.max_error[z])}
        yield {**named, "slice": z, **largest, **_cells(figures)}


def _cells(figures: Figures) -> dict[str, object]:
    return {
        **_errors("", figures.whole),
        **_errors("body_", figures.body),
        **_errors("window_", figures.window),
        "ssim": _number(figures.ssim),
    }


def _errors(prefix: str, errors: Errors | None) -> dict[str, object]:
    if errors is None:
        return {}
    return {f"{prefix}psnr_db": _number(errors.psnr), f"{prefix}rmse": _number(errors.rmse)}


def _number(value: float) -> float | None:
    """Return a figure; None where there are no voxels to measure. Identical voxels have a PSNR of inf."""
    return None if math.isnan(value) else float(value)
