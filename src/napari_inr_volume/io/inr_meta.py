"""What an `.inr` declares, as JSON: the section META of docs/format.md, written and strictly parsed.

This is the whitelist: nothing gets into a file that is not spelled out in `to_fields`.
"""

from __future__ import annotations

import json
import math
import re
import reprlib
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from ..coding.weights import decode_weights
from ..core.errors import FitError, InrFileError, VolumeError
from ..core.text import MAX_TEXT
from ..core.volume import LARGEST, Geometry, Triple, Units
from ..fields.siren.config import SirenConfig
from ..inr_volume import FitRecord, InrVolume, Quality, UpscalerRef

KINDS = ("siren",)
DTYPES = (
    *("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("float16", "float32", "float64"),
)
MAX_AXIS = 65_535  # voxels along one axis
MAX_VOXELS = 2**40
MAX_FACTOR = 64.0
MAX_MM = 1e9  # of origin and slice positions
MAX_WHOLE = 2**63 - 1
LEAST_RANGE = float(np.finfo(np.float32).tiny)  # between the smallest and the largest value
MAX_NUMBER = sys.float_info.max  # keeps out infinity, and whole numbers that no float can hold


def to_fields(inr: InrVolume) -> dict[str, Any]:
    """Return every field of META, as JSON knows its types."""
    quality = inr.quality
    return {
        "kind": "siren",
        "siren": {
            "layers": int(inr.field.layers),
            "hidden_features": int(inr.field.hidden_features),
            "omega_0": float(inr.field.omega_0),
            "hidden_omega": float(inr.field.hidden_omega),
        },
        "coding": inr.coding,
        "hr": {
            "shape": [int(length) for length in inr.geometry.shape],
            "spacing": _floats(inr.geometry.spacing),
            "origin": _floats(inr.geometry.origin),
            "direction": [_floats(row) for row in inr.geometry.direction],
        },
        "lr": {"shape": list(inr.lr_shape), "factor": _floats(inr.factor)},
        "intensity": {
            "range": _floats(inr.intensity_range),
            "units": inr.units,
            "dtype": inr.dtype,
            "padding": None if inr.padding is None else float(inr.padding),
        },
        "source_bytes": int(inr.source_bytes),
        "upscaler": {"name": inr.upscaler.name, "sha256": inr.upscaler.sha256},
        "fit": {"preset": inr.fit.preset, "steps": int(inr.fit.steps), "seed": int(inr.fit.seed)},
        "quality": None
        if quality is None
        else {
            "lr_psnr": _decibel(quality.lr_psnr),
            "hr_psnr": _decibel(quality.hr_psnr),
            "lanczos_psnr": _decibel(quality.lanczos_psnr),
            "rmse": float(quality.rmse),
            "p99": float(quality.p99),
            "max_error": float(quality.max_error),
        },
        "software": inr.software,
    }


def to_json(inr: InrVolume) -> bytes:
    """Return META: ASCII, keys sorted, no spaces, floats as short as they read back the same.

    Raises InrFileError on values that are no numbers.
    """
    try:
        return json.dumps(to_fields(inr), sort_keys=True, separators=(",", ":")).encode("ascii")
    except (ArithmeticError, TypeError, ValueError) as error:  # a factor of 0, a shape of texts, ...
        raise InrFileError(f"this volume cannot be written as .inr: {error}") from error


def from_json(
    text: bytes, payload: bytes, slice_positions: tuple[float, ...] | None, *, newer: bool
) -> InrVolume:
    """Return the volume that META and the other sections describe.

    `newer` says that a later minor version wrote the file: only then may there be unknown fields,
    which are left aside. Raises InrFileError, naming the field, on anything the format does not allow.
    """
    names = "kind siren coding hr lr intensity source_bytes upscaler fit quality software"
    meta = _Fields.of(_parse(text), "META", names, newer=newer)
    meta.choice("kind", KINDS)
    siren = meta.fields("siren", "layers hidden_features omega_0 hidden_omega")
    lr = meta.fields("lr", "shape factor")
    intensity = meta.fields("intensity", "range units dtype padding")
    fit = meta.fields("fit", "preset steps seed")
    z, y, x = lr.numbers("factor", 3, 1.0, MAX_FACTOR)
    try:
        inr = InrVolume(
            field=SirenConfig(
                layers=siren.whole("layers", 1, MAX_WHOLE),
                hidden_features=siren.whole("hidden_features", 1, MAX_WHOLE),
                omega_0=siren.number("omega_0"),
                hidden_omega=siren.number("hidden_omega"),
            ),
            coding=meta.text("coding"),
            payload=payload,
            geometry=_geometry(meta.fields("hr", "shape spacing origin direction"), slice_positions),
            factor=(z, y, x),
            intensity_range=_intensity_range(intensity),
            units=intensity.choice("units", get_args(Units)),
            dtype=intensity.choice("dtype", DTYPES),
            padding=intensity.optional_number("padding"),
            source_bytes=meta.whole("source_bytes", 1, MAX_WHOLE),
            upscaler=_upscaler(meta.fields("upscaler", "name sha256")),
            fit=FitRecord(
                preset=fit.text("preset"),
                steps=fit.whole("steps", 0, MAX_WHOLE),
                seed=fit.whole("seed", 0, MAX_WHOLE),
            ),
            quality=None if meta.values["quality"] is None else _quality(meta),
            software=meta.text("software"),
        )
        if lr.whole_numbers("shape", 3, 1, MAX_AXIS) != inr.lr_shape:
            raise lr.wrong("shape", f"{list(inr.lr_shape)}, the shape of hr by the factor, rounded up")
    except (FitError, VolumeError) as error:
        raise InrFileError(f"META: {error}") from error
    # Decoding is the one rule for what a payload may be; it is small work beside reading the file.
    decode_weights(payload, inr.field.shapes, inr.coding)
    return inr


def _geometry(hr: _Fields, slice_positions: tuple[float, ...] | None) -> Geometry:
    z, y, x = hr.whole_numbers("shape", 3, 1, MAX_AXIS)
    if z * y * x > MAX_VOXELS:
        raise hr.wrong("shape", f"at most {MAX_VOXELS:,} voxels")
    rows = hr.rows("direction", 3)
    if slice_positions is not None and not np.all(np.abs(slice_positions) <= MAX_MM):  # also catches nan
        raise InrFileError(f"slice positions must be within {MAX_MM:g} mm")
    return Geometry(
        shape=(z, y, x),
        spacing=_triple(hr.numbers("spacing", 3, 1e-9, 1e9)),
        origin=_triple(hr.numbers("origin", 3, -MAX_MM, MAX_MM)),
        direction=(_triple(rows[0]), _triple(rows[1]), _triple(rows[2])),
        slice_positions=slice_positions,
    )


def _intensity_range(intensity: _Fields) -> tuple[float, float]:
    low, high = intensity.numbers("range", 2, -LARGEST, LARGEST)
    dtype = np.dtype(intensity.choice("dtype", DTYPES))
    info = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    if not float(info.min) <= low < high <= float(info.max):
        raise intensity.wrong("range", f"the smallest and the largest value, within {dtype}")
    if not high - low >= LEAST_RANGE:  # decoding divides by it, in float32
        raise intensity.wrong("range", f"two values at least {LEAST_RANGE:.3g} apart")
    return low, high


def _upscaler(upscaler: _Fields) -> UpscalerRef:
    name, sha256 = upscaler.text("name"), upscaler.values["sha256"]
    if name == "lanczos":
        if sha256 is not None:
            raise upscaler.wrong("sha256", "null, as Lanczos has no weights")
        return UpscalerRef()
    if not isinstance(sha256, str) or not re.fullmatch("[0-9a-f]{64}", sha256):
        raise upscaler.wrong("sha256", f"the SHA-256 of the weights of {name!r}, in 64 hexadecimal digits")
    return UpscalerRef(name=name, sha256=sha256)


def _quality(meta: _Fields) -> Quality:
    quality = meta.fields("quality", "lr_psnr hr_psnr lanczos_psnr rmse p99 max_error")
    return Quality(
        lr_psnr=quality.decibel("lr_psnr"),
        hr_psnr=quality.decibel("hr_psnr"),
        lanczos_psnr=quality.decibel("lanczos_psnr"),
        rmse=quality.number("rmse", low=0.0),
        p99=quality.number("p99", low=0.0),
        max_error=quality.number("max_error", low=0.0),
    )


@dataclass(frozen=True)
class _Fields:
    """One JSON object, its fields taken by name; each must be of the type and in the range asked for."""

    values: dict[str, Any]
    where: str
    newer: bool  # written by a later minor version: unknown fields are left aside

    @classmethod
    def of(cls, value: object, where: str, names: str, *, newer: bool) -> _Fields:
        if not isinstance(value, dict):
            raise InrFileError(f"{where} must be a JSON object, found {reprlib.repr(value)}")
        expected = set(names.split())
        if missing := expected - set(value):
            raise InrFileError(f"{where} lacks {', '.join(sorted(missing))}")
        if (unknown := set(value) - expected) and not newer:
            raise InrFileError(
                f"{where} has fields that the format does not: {reprlib.repr(sorted(unknown))}"
            )
        return cls(value, where, newer)

    def wrong(self, name: str, allowed: str) -> InrFileError:
        return InrFileError(f"{self.where}.{name} must be {allowed}, found {reprlib.repr(self.values[name])}")

    def fields(self, name: str, names: str) -> _Fields:
        return _Fields.of(self.values[name], f"{self.where}.{name}", names, newer=self.newer)

    def choice(self, name: str, allowed: Collection[str]) -> Any:
        value = self.values[name]
        if not isinstance(value, str) or value not in allowed:
            raise InrFileError(
                f"{self.where}.{name} is {reprlib.repr(value)}, which this version does not know"
                f" (it knows {', '.join(allowed)}); update napari-inr-volume"
            )
        return value

    def text(self, name: str) -> str:
        value = self.values[name]
        # Printable, so that showing a name cannot steer a terminal.
        if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT or not value.isprintable():
            raise self.wrong(name, f"a text of 1 to {MAX_TEXT} printable characters")
        return value

    def whole(self, name: str, low: int, high: int) -> int:
        value = self.values[name]
        if not _is_whole(value, low, high):
            raise self.wrong(name, f"a whole number from {low} to {high}")
        return int(value)

    def whole_numbers(self, name: str, count: int, low: int, high: int) -> tuple[int, ...]:
        values = self.values[name]
        if not isinstance(values, list) or len(values) != count:
            raise self.wrong(name, f"{count} whole numbers")
        if not all(_is_whole(value, low, high) for value in values):
            raise self.wrong(name, f"whole numbers from {low} to {high}")
        return tuple(values)

    def number(self, name: str, low: float = -MAX_NUMBER, high: float = MAX_NUMBER) -> float:
        value = self.values[name]
        if not _is_number(value, low, high):
            raise self.wrong(name, f"a number from {low:g} to {high:g}")
        return float(value)

    def optional_number(self, name: str) -> float | None:
        return None if self.values[name] is None else self.number(name)

    def numbers(self, name: str, count: int, low: float, high: float) -> tuple[float, ...]:
        return self._row(name, self.values[name], count, low, high)

    def rows(self, name: str, count: int) -> list[tuple[float, ...]]:
        """Rows of a square matrix of cosines."""
        rows = self.values[name]
        if not isinstance(rows, list) or len(rows) != count:
            raise self.wrong(name, f"{count} rows of {count} numbers")
        return [self._row(name, row, count, -1.01, 1.01) for row in rows]

    def decibel(self, name: str) -> float:
        """Take a PSNR; JSON has no infinity."""
        return math.inf if self.values[name] == "inf" else self.number(name)

    def _row(self, name: str, row: object, count: int, low: float, high: float) -> tuple[float, ...]:
        if not isinstance(row, list) or len(row) != count or not all(_is_number(v, low, high) for v in row):
            raise self.wrong(name, f"{count} numbers from {low:g} to {high:g}")
        return tuple(float(value) for value in row)


def _is_whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_number(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _parse(text: bytes) -> object:
    """Return the JSON value of META, which is bounded in bytes, so that no number or nesting is large."""
    try:
        return json.loads(text.decode("utf-8"), object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise InrFileError(f"META is not the JSON that it should be: {error}") from error


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field stands there twice")
    return fields


def _floats(values: Iterable[float]) -> list[float]:
    return [float(value) for value in values]


def _triple(values: tuple[float, ...]) -> Triple:
    first, second, third = values
    return first, second, third


def _decibel(value: float) -> float | str:
    return "inf" if value == math.inf else float(value)
