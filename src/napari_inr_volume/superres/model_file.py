"""The weights file of a super-resolution network: safetensors, known by the SHA-256 of its bytes.

Beside the tensors (fp16 or fp32, named and shaped as in the network's class) it holds one metadata entry,
`model`: a JSON object with `architecture`, `factor` and `training` (what the network was trained on, in
words). One entry, because safetensors writes several in an order that changes from run to run.
"""

from __future__ import annotations

import hashlib
import json
import reprlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from ..core.atomic import atomic_write
from ..core.errors import ModelError
from ..core.text import printable
from .factors import FACTORS
from .network import Network
from .span import Span
from .srdensenet import SRDenseNet

NETWORKS: dict[str, type[SRDenseNet] | type[Span]] = {kind.architecture: kind for kind in (SRDenseNet, Span)}
MAX_BYTES = 64 * 2**20  # six times SRDenseNet in fp32
MAX_HEADER = 2**20  # bytes of names, shapes and words: sixty times SRDenseNet's
SHIPPED = Path(__file__).parent / "weights"


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What a weights file says of itself, and its identity."""

    architecture: str
    factor: int  # HR voxels per LR voxel along y and x
    training: str  # what the network was trained on, in words that print
    sha256: str  # of the file's bytes
    data: bytes = field(repr=False)  # the file, whole

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self.data)


def available_models(factor: int) -> dict[str, Path]:
    """Return the weights files that ship with the package for a factor, by architecture."""
    end = f"-x{factor}.safetensors"
    return {path.name.removesuffix(end): path for path in sorted(SHIPPED.glob(f"*{end}"))}


def read_weights(path: Path) -> bytes:
    """Return the bytes of a weights file, one more than allowed at most. Raises ModelError."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a null in it
        reason = getattr(error, "strerror", None) or error
        raise ModelError(
            f"cannot read the weights file {printable(str(path))}: {reason}; give a .safetensors file as"
            f" inr-volume train-sr writes them, or one of auto, lanczos, {', '.join(NETWORKS)}"
        ) from error


def load_weights(source: Path | bytes, expected_sha256: str | None = None) -> tuple[Network, ModelInfo]:
    """Return the network of a weights file, in fp32 on the CPU, and what the file says of itself.

    `source` is the file's path, or its bytes as an `.inr` embeds them. Raises ModelError if it cannot be
    read, is larger than 64 MiB, damaged, of another architecture, holds NaN, or has another SHA-256 than
    expected.
    """
    data = source if isinstance(source, bytes) else read_weights(source)
    name = "the embedded model" if isinstance(source, bytes) else printable(source.name)
    if len(data) > MAX_BYTES:
        raise ModelError(f"{name}: {len(data):,} bytes are too many for weights, {MAX_BYTES:,} are allowed")
    sha256 = hashlib.sha256(data).hexdigest()
    if expected_sha256 is not None and sha256 != expected_sha256:
        raise ModelError(
            f"{name}: SHA-256 {sha256[:12]} is not {expected_sha256[:12]}, the one asked for;"
            " the file is damaged or another model, get the right one"
        )
    length = int.from_bytes(data[:8], "little")
    try:
        if length > MAX_HEADER:
            raise ValueError(f"{length} bytes of names and words")
        tensors = load(data)
        model = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["model"])
        architecture, factor, training = model["architecture"], model["factor"], model["training"]
        if not (isinstance(architecture, str) and isinstance(factor, int) and isinstance(training, str)):
            raise TypeError("the model is not described in words and a number")
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelError(f"{name} is damaged or not a weights file of this software") from error
    if architecture not in NETWORKS or factor not in FACTORS:
        factors = " or ".join(f"x{one}" for one in FACTORS)
        raise ModelError(
            f"{name} is for {printable(architecture[:40])} x{reprlib.repr(factor)};"
            f" only {' and '.join(NETWORKS)}, {factors}, can be used"
        )
    return _build(NETWORKS[architecture], factor, tensors, name), ModelInfo(
        architecture=architecture, factor=factor, training=printable(training), sha256=sha256, data=data
    )


def save_weights(path: Path, network: Network, *, training: str, half: bool = True) -> ModelInfo:
    """Write the network to a weights file, in fp16 or fp32, and return what the file says of itself.

    The same weights and words give the same bytes; an interrupted save leaves an old file whole. Raises
    ModelError for weights that are not finite, in fp16 if asked for, and InrError if it cannot be saved.
    """
    dtype = torch.float16 if half else torch.float32
    tensors = {name: tensor.to("cpu", dtype).contiguous() for name, tensor in network.state_dict().items()}
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise ModelError(f"the network's weights hold NaN, infinity or numbers too large for {dtype}")
    model = {"architecture": network.architecture, "factor": network.factor, "training": training}
    data = save(tensors, metadata={"model": json.dumps(model, sort_keys=True)})
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)
    return ModelInfo(
        architecture=network.architecture,
        factor=network.factor,
        training=printable(training),
        sha256=hashlib.sha256(data).hexdigest(),
        data=data,
    )


def _build(
    kind: Callable[[int], Network], factor: int, tensors: dict[str, torch.Tensor], name: str
) -> Network:
    """Return the network with these weights. No random numbers are drawn for the ones it starts with."""
    with torch.device("meta"):
        network = kind(factor)
    shapes = {key: tensor.shape for key, tensor in network.state_dict().items()}
    if {key: tensor.shape for key, tensor in tensors.items()} != shapes:
        raise ModelError(
            f"{name}: the tensors' names or shapes are not those of {network.architecture} x{factor}"
        )
    for key, tensor in tensors.items():
        if tensor.dtype not in (torch.float16, torch.float32):
            raise ModelError(f"{name}: tensor {key} is {tensor.dtype}; only fp16 and fp32 are allowed")
        if not torch.isfinite(tensor).all():
            raise ModelError(f"{name}: tensor {key} holds NaN or infinity; the weights are useless")
    network.load_state_dict({key: tensor.float() for key, tensor in tensors.items()}, assign=True)
    return network.eval()
