"""What an `.inr` declares, as JSON: the section META of docs/format.md, written and strictly parsed.

This is the whitelist: nothing gets into a file that is not spelled out in `to_fields`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..core.errors import FitError, InrFileError, VolumeError
from ..core.json_fields import MAX_WHOLE, Fields
from ..core.units import MAX_UNITS, Units, is_units
from ..core.volume import LARGEST, LEAST_RANGE, MAX_AXIS, MAX_MM, MIN_MM, Geometry, triple
from ..fields.base import FieldKind
from ..fields.registry import KINDS, find_kind
from ..inr_volume import FitRecord, InrVolume, Quality, UpscalerRef

DTYPES = (
    *("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("float16", "float32", "float64"),
)
MAX_FACTOR = 64.0


def to_fields(inr: InrVolume) -> dict[str, Any]:
    """Return every field of META, as JSON knows its types."""
    quality, kind = inr.quality, find_kind(inr.field.kind)
    return {
        "kind": kind.name,
        kind.name: kind.to_meta(inr.field),
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
    parsed = _parse(text)
    kind = _kind(parsed)
    names = f"kind {kind.name} coding hr lr intensity source_bytes upscaler fit quality software"
    meta = Fields.of(parsed, "META", names, newer=newer)
    lr = meta.fields("lr", "shape factor")
    intensity = meta.fields("intensity", "range units dtype padding")
    fit = meta.fields("fit", "preset steps seed")
    z, y, x = lr.numbers("factor", 3, 1.0, MAX_FACTOR)
    try:
        inr = InrVolume(
            field=kind.from_meta(meta),
            coding=meta.text("coding"),
            payload=payload,
            geometry=_geometry(meta.fields("hr", "shape spacing origin direction"), slice_positions),
            factor=(z, y, x),
            intensity_range=_intensity_range(intensity, least=LEAST_RANGE if kind.preview else 0.0),
            units=_units(intensity),
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
    kind.check(inr.field, payload, inr.coding)
    return inr


def _kind(parsed: object) -> FieldKind:
    """Return the kind of field that META is of: which other fields it has depends on it."""
    if not isinstance(parsed, dict) or "kind" not in parsed:
        return next(iter(KINDS.values()))  # any: this META is refused for what it lacks
    name: str = Fields(parsed, "META", newer=True).choice("kind", KINDS)
    return KINDS[name]


def _geometry(hr: Fields, slice_positions: tuple[float, ...] | None) -> Geometry:
    z, y, x = hr.whole_numbers("shape", 3, 1, MAX_AXIS)
    rows = hr.rows("direction", 3)
    return Geometry(
        shape=(z, y, x),
        spacing=triple(hr.numbers("spacing", 3, MIN_MM, MAX_MM)),
        origin=triple(hr.numbers("origin", 3, -MAX_MM, MAX_MM)),
        direction=(triple(rows[0]), triple(rows[1]), triple(rows[2])),
        slice_positions=slice_positions,
    )


def _intensity_range(intensity: Fields, least: float) -> tuple[float, float]:
    low, high = intensity.numbers("range", 2, -LARGEST, LARGEST)
    dtype = np.dtype(intensity.choice("dtype", DTYPES))
    info = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    if not float(info.min) <= low <= high <= float(info.max):
        raise intensity.wrong("range", f"the smallest and the largest value, within {dtype}")
    if not high - low >= least:  # decoding a network divides by it, in float32
        raise intensity.wrong("range", f"two values at least {least:.3g} apart")
    return low, high


def _units(intensity: Fields) -> Units:
    units = intensity.text("units")
    if not is_units(units):
        raise intensity.wrong("units", f"a name of at most {MAX_UNITS} characters, without spaces around it")
    return units


def _upscaler(upscaler: Fields) -> UpscalerRef:
    name, sha256 = upscaler.text("name"), upscaler.values["sha256"]
    if name == "lanczos":
        if sha256 is not None:
            raise upscaler.wrong("sha256", "null, as Lanczos has no weights")
        return UpscalerRef()
    if not isinstance(sha256, str) or not re.fullmatch("[0-9a-f]{64}", sha256):
        raise upscaler.wrong("sha256", f"the SHA-256 of the weights of {name!r}, in 64 hexadecimal digits")
    return UpscalerRef(name=name, sha256=sha256)


def _quality(meta: Fields) -> Quality:
    quality = meta.fields("quality", "lr_psnr hr_psnr lanczos_psnr rmse p99 max_error")
    return Quality(
        lr_psnr=quality.decibel("lr_psnr"),
        hr_psnr=quality.decibel("hr_psnr"),
        lanczos_psnr=quality.decibel("lanczos_psnr"),
        rmse=quality.number("rmse", low=0.0),
        p99=quality.number("p99", low=0.0),
        max_error=quality.number("max_error", low=0.0),
    )


def _parse(text: bytes) -> object:
    """Return the JSON value of META, which is bounded in bytes, so that no number or nesting is large."""
    try:
        return json.loads(text.decode("utf-8"), object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise InrFileError(f"META is not the JSON that it should be: {error}") from error


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field appears twice")
    return fields


def _floats(values: Iterable[float]) -> list[float]:
    return [float(value) for value in values]


def _decibel(value: float) -> float | str:
    return "inf" if value == math.inf else float(value)
