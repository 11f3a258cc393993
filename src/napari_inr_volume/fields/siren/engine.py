"""One step of a fit: the weighted mean squared error of a batch and its gradients, by hand.

The derivative of a sine layer is known, so nothing needs to be recorded: forward and back, chunk by chunk,
in buffers made once, sine and cosine in one pass. With h_0 the coordinates and p_k the argument of a sine,

    p_k = h_k-1 W_k' + b_k'      h_k = sin p_k      W_k' = omega_k W_k, folded into the small matrix
    error = h_L w + c - intensity                   back_L = 2 sample weight * error w / batch
    delta_k = back_k cos p_k     dW_k = omega_k delta_k h_k-1      back_k-1 = delta_k W_k'

back_0 is the gradient of a point's coordinates, and so of its slice's shift, where slices have one.

On a CPU each thread takes its chunks from end to end, with Numba's functions or else torch's; on CUDA
the whole step is recorded once as a graph, where that can be done.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from threading import Event
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...compute import threads
from ...compute.device import has_fast_bfloat16
from .config import SHIFT
from .kernels import Folded, product

if TYPE_CHECKING:
    from ..samples import LrSamples
    from .network import Siren

CPU_CHUNK = 2_048  # points: the features and cosines of a chunk stay in a core's cache
CPU_LEAST = 256  # points that are worth a thread of their own
GPU_CHUNK = 2**18  # points: fills a GPU, and bounds its memory


class Engine:
    """Computes a SIREN's gradients on batches of one size, and leaves them in its parameters' `.grad`.

    `mixed` does the products of the hidden layers in bfloat16, where there is hardware for them, and adds
    up gradients in float32; the first layer stays in float32, since 8 bits cannot tell coordinates apart.
    Gradients lie within 1e-4 of a tensor's largest from those of autograd in float32, mixed within 5e-2.
    """

    def __init__(self, siren: Siren, samples: LrSamples, batch: int, mixed: bool, stop: Event) -> None:
        device = samples.device
        self.siren, self.samples, self.stop = siren, samples, stop
        self.index = torch.zeros(batch, dtype=torch.int64, device=device)
        self.sample_weight = torch.ones(batch, device=device)
        self.dtype = torch.bfloat16 if mixed and has_fast_bfloat16(device) else torch.float32
        self.network = Folded(siren, self.dtype)
        on_cpu = device.type == "cpu"
        chunk = CPU_CHUNK if on_cpu else GPU_CHUNK
        shares = _split(0, batch, min(threads.count(), -(-batch // CPU_LEAST)) if on_cpu else 1)
        self.lanes = [_Lane(self, start, end, chunk) for start, end in shares]
        self.loss = torch.zeros((), device=device)
        for parameter in siren.parameters():
            parameter.grad = torch.zeros_like(parameter)
        self._graph = record(self._compute) if device.type == "cuda" else None

    def step(self, index: Tensor, sample_weight: Tensor) -> Tensor | None:
        """Take the voxels at `index` (batch) and return their loss, or None if `stop` was set.

        It is the mean of their squared errors, each times its sample weight (batch), as a scalar on the
        samples' device, which the next step overwrites.
        """
        self.index.copy_(index)
        self.sample_weight.copy_(sample_weight)
        if self._graph is None:
            self._compute()
        else:
            self.samples.raise_if_dropped()
            self._graph.replay()
        return None if self.stop.is_set() else self.loss

    @torch.no_grad()
    def _compute(self) -> None:
        self.network.refresh()
        if self.loss.device.type == "cpu":
            threads.side_by_side([lane.run for lane in self.lanes])
        else:
            self.lanes[0].run()  # on this thread, whose stream is being recorded
        total = self.lanes[0].gradients
        for lane in self.lanes[1:]:
            total.flat.add_(lane.gradients.flat)
        total.unfold(self.siren)
        torch.div(total.loss, len(self.index), out=self.loss)


class _Gradients:
    """The sum of squared errors and the gradients of the folded weights, in one float32 vector."""

    def __init__(self, network: Folded) -> None:
        width, layers = network.width, len(network.folds)
        shifts = 0 if network.shifts is None else network.shifts.numel()
        sizes = [shifts, 3 * width, *[width * width] * (layers - 1), *[width] * layers, width, 1, 1]
        self.flat = torch.zeros(sum(sizes), device=network.linear.device)
        shifted, *parts = torch.split(self.flat, sizes)
        self.folds = network.folds
        self.weights = [part.view(-1, width) for part in parts[:layers]]  # the first is (3, width)
        self.biases = parts[layers:-3]
        self.linear, self.offset, self.loss = parts[-3], parts[-2], parts[-1][0]
        view = network.kernels.view
        self.shifts = shifted.view(-1, 3)
        self.shifts_view = view(self.shifts)
        self.first_view = view(self.weights[0])
        self.bias_views = [view(bias) for bias in self.biases]
        self.output_views = [view(part) for part in parts[-3:]]

    def unfold(self, siren: Siren) -> None:
        """Put the gradients of the SIREN's own weights into its parameters' `.grad`."""
        own = siren.config.hidden_features
        for index, (layer, fold) in enumerate(zip(siren.sines, self.folds, strict=True)):
            matrix = self.weights[index] if index else self.weights[0].t()
            torch.mul(matrix[:own, : layer.in_features], fold, out=layer.weight.grad)
            torch.mul(self.biases[index][:own], fold, out=layer.bias.grad)
        torch.mul(self.linear[None, :own], 1, out=siren.linear.weight.grad)
        torch.mul(self.offset, 1, out=siren.linear.bias.grad)
        if siren.shifts is not None:
            torch.mul(self.shifts, SHIFT, out=siren.shifts.weight.grad)


class _Lane:
    """One thread's share of the batch, from `start` to `end`, in chunks of about equal size."""

    def __init__(self, engine: Engine, start: int, end: int, chunk: int) -> None:
        self.engine = engine
        network = engine.network
        self.gradients = _Gradients(network)
        pieces = _split(start, end, -(-(end - start) // chunk))
        longest = max(last - begin for begin, last in pieces)
        width, dtype, device = network.width, engine.dtype, network.linear.device
        buffers = [torch.empty(longest, 3, device=device), torch.empty(longest, device=device)]
        buffers += [
            torch.empty(longest, width, dtype=dtype, device=device) for _ in range(2 * len(network.folds))
        ]
        self.square = torch.empty(width, width, dtype=dtype, device=device)
        self.chunks = [_Chunk(engine, begin, last, buffers) for begin, last in pieces]

    def run(self) -> None:
        """Add up loss and gradients over the chunks, unless the fit is stopped or dropped."""
        self.gradients.flat.zero_()
        for chunk in self.chunks:
            self.engine.samples.raise_if_dropped()
            if self.engine.stop.is_set():
                return
            chunk.run(self.gradients, self.square)


class _Chunk:
    """The batch from `begin` to `end`: forward and back, in buffers that the lane's chunks share."""

    def __init__(self, engine: Engine, begin: int, end: int, buffers: list[Tensor]) -> None:
        self.network = engine.network
        self.scale = 2 / len(engine.index)
        coordinates, intensity, self.back, *layers = (buffer[: end - begin] for buffer in buffers)
        self.features, self.cosines = layers[::2], layers[1::2]  # a cosine less: the last is not kept
        samples, view = engine.samples, self.network.kernels.view
        index = engine.index[begin:end]
        sources = (index, *samples.axes, samples.voxels, coordinates, intensity)
        self.gathered = [view(tensor) for tensor in sources]
        self.coordinates, self.intensity = view(coordinates), view(intensity)
        self.sample_weight = view(engine.sample_weight[begin:end])
        self.scaled = partial(samples.scale_, intensity)
        self.first_view = view(self.features[0])
        self.cosine_views = [view(cosines) for cosines in self.cosines]
        self.linear, self.offset = view(self.network.linear), view(self.network.offset)
        self.first = view(self.network.first)
        self.shifts = None if self.network.shifts is None else view(self.network.shifts)
        self.places = view(index), math.prod(samples.shape[1:])

    def run(self, gradients: _Gradients, square: Tensor) -> None:
        """Add this chunk's loss and gradients; `square` (width, width) takes a layer's product."""
        hidden, biases, kernels = self.network.hidden, self.network.bias_views, self.network.kernels
        cosines, view, last = self.cosine_views, kernels.view, len(hidden)
        kernels.gather(*self.gathered)
        self.scaled()
        if self.shifts is not None:
            kernels.shift(*self.places, self.shifts, self.coordinates)
        kernels.first(self.coordinates, self.first, biases[0], self.first_view, cosines[0])
        features = [self.features[0]]
        for layer, weight in enumerate(hidden, start=1):
            features.append(product(features[-1], weight, self.features[layer]))
            if layer < last:
                kernels.hidden(view(features[-1]), biases[layer], cosines[layer])
        delta = features[last]
        kernels.output(
            view(delta),
            biases[last],
            self.linear,
            self.offset,
            self.intensity,
            self.sample_weight,
            self.scale,
            gradients.bias_views[last],
            *gradients.output_views,
        )
        for layer in range(last, 0, -1):
            gradients.weights[layer].add_(product(delta.t(), features[layer - 1].t(), square))
            back = product(delta, hidden[layer - 1].t(), self.back)
            if layer > 1:
                delta = self.cosines[layer - 1]
                kernels.hidden_back(view(back), cosines[layer - 1], gradients.bias_views[layer - 1])
        kernels.first_back(
            view(back), cosines[0], self.coordinates, gradients.first_view, gradients.bias_views[0]
        )
        if self.shifts is not None:
            kernels.shift_back(view(back), cosines[0], self.first, *self.places, gradients.shifts_view)


def _split(start: int, end: int, pieces: int) -> list[tuple[int, int]]:
    """Return the bounds of pieces of about equal length."""
    edges = [start + (end - start) * piece // pieces for piece in range(pieces + 1)]
    return list(pairwise(edges))


def record(compute: Callable[[], None]) -> torch.cuda.CUDAGraph | None:
    """Record the step as a CUDA graph, which starts its many small kernels at once.

    Returns None, with a warning that says why, where CUDA refuses; the step then runs one by one.
    """
    try:
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # before recording, libraries must have made their workspaces
            for _ in range(3):
                compute()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # others may use CUDA
            compute()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        warnings.warn(f"CUDA could not record the step ({reason}), which makes the fit slower", stacklevel=4)
        return None
    return graph
