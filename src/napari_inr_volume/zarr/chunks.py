"""What the codecs make of a chunk, whatever the version of Zarr: options as JSON has them, and both ways."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from threading import Lock
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..core.errors import FitError, InrFileError, VolumeError
from ..core.units import RAW
from ..core.volume import Volume
from ..exact.chunk import (
    Networks,
    as_stack,
    check_dtype,
    decode_chunk,
    encode_chunk,
    fit_networks,
    networks_of,
)
from ..target import one_target

FITTING = Lock()  # a fit takes all cores: one at a time
EXACT, FITTED = b"E", b"N"  # how a chunk of the lossy codec begins


@dataclass(frozen=True)
class Chunks(ABC):
    """Options that JSON can hold, and what they make of a chunk. Thread-safe."""

    name: ClassVar[str]  # of the codec

    @classmethod
    def parsed(cls, options: Mapping[str, Any]) -> Self:
        """Return it with these options. Raises FitError, naming the option, for what it does not know."""
        known = [field.name for field in fields(cls)]
        if unknown := sorted(set(options) - set(known)):
            raise FitError(
                f"the codec {cls.name} has the options {', '.join(known)}; found {', '.join(unknown)}"
            )
        return cls(**options)

    def options(self) -> dict[str, Any]:
        """Return the options that are set."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    @abstractmethod
    def check(self, dtype: np.dtype[Any]) -> None:
        """Raise FitError for a dtype that cannot be coded so."""

    @abstractmethod
    def encode(self, voxels: NDArray[Any]) -> bytes:
        """Return a chunk as bytes."""

    @abstractmethod
    def decode(self, data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return a chunk. Raises InrFileError for bytes that are not those of one."""


@dataclass(frozen=True)
class ExactChunks(Chunks):
    """Every value as it was, or to within a bound."""

    name: ClassVar[str] = "napari_inr_volume.exact"

    max_error: float = 0  # of any value; 0: none
    networks: str | None = None  # base64, as `of` fits them; None: those that ship

    def __post_init__(self) -> None:
        if not _is_number(self.max_error) or not 0 <= self.max_error < np.inf:
            raise FitError(f"max_error must be a number, 0 or more, got {self.max_error!r}")
        self._networks  # noqa: B018, which raises if they are none

    @classmethod
    def of(cls, sample: NDArray[Any], max_error: float = 0) -> Self:
        """Return it with networks fitted to a part of the array, such as a chunk in its middle.

        Raises FitError if none can be fitted to it.
        """
        with FITTING:
            networks = fit_networks(sample, max_error)
        return cls(max_error, base64.b64encode(networks).decode("ascii"))

    def check(self, dtype: np.dtype[Any]) -> None:
        """Raise FitError unless the dtype is of integers, floats or truth values, and knows the bound."""
        check_dtype(dtype, self.max_error)

    def encode(self, voxels: NDArray[Any]) -> bytes:
        """Return a chunk as bytes, the same for the same values."""
        return encode_chunk(voxels, self.max_error, self._networks)

    def decode(self, data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return a chunk. Raises InrFileError for bytes that are not those of one."""
        return decode_chunk(data, shape, dtype, self._networks)

    @cached_property
    def _networks(self) -> Networks:
        try:
            return networks_of(
                None if self.networks is None else base64.b64decode(self.networks, validate=True)
            )
        except (TypeError, ValueError, InrFileError) as error:
            raise FitError("networks must be a text that the codec made when it was fitted") from error


@dataclass(frozen=True)
class LossyChunks(Chunks):
    """A network a chunk, by ratio or PSNR; where the exact layer does the same in fewer bytes, that."""

    name: ClassVar[str] = "napari_inr_volume.lossy"

    ratio: float | None = None  # bytes of the values over those of the chunk, at least
    psnr: float | None = None  # dB, the peak being the range of the chunk's values, at least
    preset: str = "default"  # of the fit

    def __post_init__(self) -> None:
        from ..fields.registry import find_preset

        for key, value in (("ratio", self.ratio), ("psnr", self.psnr)):
            if value is not None and not _is_number(value):
                raise FitError(f"{key} must be a number, got {value!r}")
        if (self.ratio is None) == (self.psnr is None):
            raise FitError(f"the codec {self.name} needs either a ratio or a psnr (dB); give one of them")
        one_target(ratio=self.ratio, target_psnr=self.psnr)
        find_preset(self.preset)

    def check(self, dtype: np.dtype[Any]) -> None:
        """Raise FitError unless the dtype is of integers, floats or truth values."""
        check_dtype(dtype, 0)

    def encode(self, voxels: NDArray[Any]) -> bytes:
        """Return a chunk as bytes. Raises FitError for a ratio that it cannot be coded with."""
        exact = EXACT + encode_chunk(voxels, 0, networks_of(None))
        if self.ratio is not None and len(exact) * self.ratio <= voxels.nbytes:
            return exact
        fitted = self._fitted(voxels)
        if self.ratio is not None and fitted is None:
            raise FitError(
                f"a chunk of {' x '.join(map(str, voxels.shape))} values cannot be coded at {self.ratio:g}:1,"
                " since a network takes more bytes; choose larger chunks, or a smaller ratio"
            )
        return exact if fitted is None or len(fitted) >= len(exact) else fitted

    def _fitted(self, voxels: NDArray[Any]) -> bytes | None:
        """Return a network that does what is asked, as a whole `.inr`; None if there is none."""
        from ..io.inr_file import to_bytes
        from ..session import compress

        try:
            volume = Volume.from_array(as_stack(voxels), units=RAW)
            with FITTING:
                inr = compress(
                    volume,
                    self.preset,
                    ratio=self.ratio,
                    target_psnr=self.psnr,
                    warn=lambda text: None,  # a PSNR that is missed is looked at below
                )
        except (FitError, VolumeError):  # too small, NaN, or one single value
            return None
        if self.psnr is not None and (inr.quality is None or inr.quality.hr_psnr < self.psnr):
            return None
        return FITTED + to_bytes(inr)

    def decode(self, data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return a chunk. Raises InrFileError for bytes that are not those of one."""
        if data[:1] == EXACT:
            return decode_chunk(data[1:], shape, dtype, networks_of(None))
        if data[:1] != FITTED:
            raise InrFileError("a chunk does not start as those of the lossy codec do; it is damaged")
        from ..codec import decompress
        from ..io.inr_file import from_bytes

        found = decompress(from_bytes(data[1:])).voxels
        if found.size != int(np.prod(shape)) or found.dtype != as_stack(np.empty(0, dtype)).dtype:
            raise InrFileError(f"a chunk holds {found.shape} values of {found.dtype}, not {shape} of {dtype}")
        decoded: NDArray[Any] = found.view(dtype.newbyteorder("=")).reshape(shape).astype(dtype, copy=False)
        return decoded


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
