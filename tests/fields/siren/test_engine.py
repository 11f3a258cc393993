"""The step by hand against autograd; its kernels against torch's sine, cosine and bfloat16."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from functools import partial
from threading import Event
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_inr_volume.compute import threads
from napari_inr_volume.core.errors import FitError
from napari_inr_volume.fields.grid import axis_coordinates
from napari_inr_volume.fields.samples import LrSamples
from napari_inr_volume.fields.siren import engine as engine_module
from napari_inr_volume.fields.siren import kernels, kernels_torch
from napari_inr_volume.fields.siren.config import SirenConfig
from napari_inr_volume.fields.siren.engine import Engine
from napari_inr_volume.fields.siren.network import Siren

kernels_numba = pytest.importorskip("napari_inr_volume.fields.siren.kernels_numba")
both_kernels = pytest.mark.parametrize(
    "functions", [kernels_numba, kernels_torch], ids=["numba", "torch"], indirect=True
)


@pytest.fixture
def functions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Kernels that every network made in the test computes with."""
    monkeypatch.setattr(kernels, "find_kernels", lambda device: request.param)
    return request.param


@pytest.fixture(autouse=True)
def bfloat16_on_any_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """In software where there is no hardware: slow, and the same numbers."""
    monkeypatch.setattr(engine_module, "has_fast_bfloat16", lambda device: True)


def random_samples(drop: Event | None = None) -> LrSamples:
    lr = np.random.default_rng(1).random((5, 9, 11), dtype=np.float32)
    return LrSamples(lr, (5, 36, 44), (1.0, 4.0, 4.0), (0.0, 1.0), torch.device("cpu"), drop=drop)


def some_voxels(samples: LrSamples, count: int) -> torch.Tensor:
    return torch.randint(len(samples), (count,), generator=torch.Generator().manual_seed(2))


def some_weights(index: torch.Tensor) -> torch.Tensor:
    return 0.2 + 3 * torch.rand(len(index), generator=torch.Generator().manual_seed(3))


def step(engine: Engine, batch: int) -> torch.Tensor | None:
    return engine.step(some_voxels(engine.samples, batch), torch.ones(batch))


def shifted_siren(**sizes: int) -> Siren:
    """A network of the samples' slices, each moved by up to a few voxels."""
    siren = Siren(SirenConfig(shifts=True, slices=5, **sizes), seed=3)
    assert siren.shifts is not None
    torch.nn.init.normal_(siren.shifts.weight, 0.0, 0.4, torch.Generator().manual_seed(4))
    return siren


def by_autograd(siren: Siren, samples: LrSamples, index: torch.Tensor) -> tuple[float, list[torch.Tensor]]:
    coordinates, intensity = samples.at(index)
    loss = (some_weights(index) * (siren(coordinates) - intensity).square()).mean()
    return loss.item(), list(torch.autograd.grad(loss, list(siren.parameters())))


def by_hand(
    siren: Siren, samples: LrSamples, index: torch.Tensor, mixed: bool = False
) -> tuple[float, list[torch.Tensor]]:
    engine = Engine(siren, samples, len(index), mixed, Event())
    for _ in range(2):  # the second step must find nothing left of the first
        loss = engine.step(index, some_weights(index))
    assert loss is not None
    return loss.item(), [parameter.grad for parameter in siren.parameters()]


def assert_gradients_close(got: list[torch.Tensor], expected: list[torch.Tensor], tolerance: float) -> None:
    for one, other in zip(got, expected, strict=True):
        assert (one - other).abs().max() <= tolerance * other.abs().max()


@both_kernels
@pytest.mark.parametrize("layers", [2, 3, 4])
@pytest.mark.parametrize(("mixed", "tolerance"), [(False, 1e-4), (True, 5e-2)], ids=["float32", "mixed"])
def test_gradients_are_those_of_autograd(
    functions: ModuleType, layers: int, mixed: bool, tolerance: float
) -> None:
    siren, samples = Siren(SirenConfig(layers=layers), seed=3), random_samples()
    index = some_voxels(samples, 3_000)
    expected_loss, expected = by_autograd(siren, samples, index)
    loss, gradients = by_hand(siren, samples, index, mixed)
    assert loss == pytest.approx(expected_loss, rel=1e-2 if mixed else 1e-5)
    assert_gradients_close(gradients, expected, tolerance)


@both_kernels
@pytest.mark.parametrize(("mixed", "tolerance"), [(False, 1e-4), (True, 5e-2)], ids=["float32", "mixed"])
def test_shifts_have_the_gradients_of_autograd(
    functions: ModuleType, mixed: bool, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "CPU_CHUNK", 300)
    monkeypatch.setattr(threads, "count", lambda: 2)
    siren, samples = shifted_siren(layers=3, hidden_features=40), random_samples()
    index = some_voxels(samples, 1_000)
    expected_loss, expected = by_autograd(siren, samples, index)
    loss, gradients = by_hand(siren, samples, index, mixed)
    assert loss == pytest.approx(expected_loss, rel=1e-2 if mixed else 1e-5)
    assert_gradients_close(gradients, expected, tolerance)


@both_kernels
@pytest.mark.parametrize("batch", [1, 2, 257, 700])
@pytest.mark.parametrize("width", [1, 7, 33])
def test_odd_sizes_have_the_gradients_of_autograd(functions: ModuleType, batch: int, width: int) -> None:
    siren, samples = Siren(SirenConfig(layers=3, hidden_features=width)), random_samples()
    index = some_voxels(samples, batch)
    assert_gradients_close(by_hand(siren, samples, index)[1], by_autograd(siren, samples, index)[1], 1e-4)


@both_kernels
@pytest.mark.parametrize(("omega_0", "hidden_omega"), [(1.0, 1.0), (90.0, 30.0), (30.0, 6.5), (200.0, 45.0)])
def test_any_omegas_have_the_gradients_of_autograd(
    functions: ModuleType, omega_0: float, hidden_omega: float
) -> None:
    config = SirenConfig(layers=3, hidden_features=64, omega_0=omega_0, hidden_omega=hidden_omega)
    siren, samples = Siren(config), random_samples()
    index = some_voxels(samples, 1_000)
    assert_gradients_close(by_hand(siren, samples, index)[1], by_autograd(siren, samples, index)[1], 1e-4)


@pytest.mark.parametrize("chunk", [1, 64, 10_000])
@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_chunks_and_threads_change_no_gradient(
    monkeypatch: pytest.MonkeyPatch, chunk: int, lanes: int
) -> None:
    siren, samples = Siren(SirenConfig(layers=2, hidden_features=16)), random_samples()
    index = some_voxels(samples, 530)
    expected_loss, expected = by_autograd(siren, samples, index)
    monkeypatch.setattr(engine_module, "CPU_CHUNK", chunk)
    monkeypatch.setattr(engine_module, "CPU_LEAST", 1)
    monkeypatch.setattr(threads, "count", lambda: lanes)
    loss, gradients = by_hand(siren, samples, index)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert_gradients_close(gradients, expected, 1e-4)


def test_steps_write_into_the_same_memory() -> None:
    siren, samples = Siren(SirenConfig(layers=2)), random_samples()
    engine = Engine(siren, samples, 300, False, Event())
    places = []
    for _ in range(3):
        step(engine, 300)
        places.append([parameter.grad.data_ptr() for parameter in siren.parameters()])
    assert places[0] == places[1] == places[2]


def test_step_follows_the_weights_as_they_change() -> None:
    siren, samples = Siren(SirenConfig(layers=2)), random_samples()
    index = some_voxels(samples, 400)
    engine = Engine(siren, samples, len(index), False, Event())
    engine.step(index, some_weights(index))
    with torch.no_grad():
        for parameter in siren.parameters():
            parameter.mul_(0.9)
    engine.step(index, some_weights(index))
    gradients = [parameter.grad.clone() for parameter in siren.parameters()]
    assert_gradients_close(gradients, by_autograd(siren, samples, index)[1], 1e-4)


def test_stopped_step_has_no_loss() -> None:
    stop, samples = Event(), random_samples()
    engine = Engine(Siren(SirenConfig(layers=2)), samples, 400, False, stop)
    assert step(engine, 400) is not None
    stop.set()
    assert step(engine, 400) is None


def test_dropped_step_ends_in_words_from_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "count", lambda: 2)
    drop = Event()
    samples = random_samples(drop)
    engine = Engine(Siren(SirenConfig(layers=2)), samples, 1_000, False, Event())
    drop.set()
    with pytest.raises(FitError, match="cancelled"):
        step(engine, 1_000)


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is on this machine, and records")
def test_a_step_that_cuda_does_not_record_is_computed_without_and_says_so() -> None:
    with pytest.warns(UserWarning, match="CUDA could not record the step .* makes the fit slower"):
        assert engine_module.record(lambda: None) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize(("mixed", "tolerance"), [(False, 1e-3), (True, 5e-2)], ids=["float32", "mixed"])
def test_recorded_step_has_the_gradients_of_autograd(mixed: bool, tolerance: float) -> None:
    siren, here = Siren(SirenConfig(layers=3)), random_samples()
    index = some_voxels(here, 5_000)
    _, expected = by_autograd(siren, here, index)
    lr = here.intensity().add(1).div(2).numpy()
    cuda = torch.device("cuda")
    samples = LrSamples(lr, (5, 36, 44), (1.0, 4.0, 4.0), (0.0, 1.0), cuda)
    gradients = by_hand(siren.to(cuda), samples, index.to(cuda), mixed)[1]
    assert_gradients_close([gradient.cpu() for gradient in gradients], expected, tolerance)


@both_kernels
def test_fast_evaluation_is_that_of_the_plain_network(functions: ModuleType) -> None:
    siren = Siren(SirenConfig(layers=4))
    axes = [axis_coordinates(length, 1.0, length) for length in (2, 65, 67)]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    with torch.no_grad():
        expected = siren(points)
    torch.testing.assert_close(siren.on_grid(*axes), expected, atol=2e-5, rtol=0)
    torch.testing.assert_close(siren.at(points.view(-1, 3)), expected.view(-1), atol=2e-5, rtol=0)


@both_kernels
def test_fast_evaluation_of_shifted_slices_is_that_of_the_plain_network(functions: ModuleType) -> None:
    siren = shifted_siren(layers=3, hidden_features=40)
    axes = [axis_coordinates(length, 1.0, length) for length in (13, 9, 7)]  # between slices too, and beyond
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    with torch.no_grad():
        expected = siren(points)
    torch.testing.assert_close(siren.on_grid(*axes), expected, atol=5e-5, rtol=0)
    torch.testing.assert_close(siren.at(points.view(-1, 3)), expected.view(-1), atol=5e-5, rtol=0)


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Let torch use two threads here, as it does on most machines."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_fast_evaluation_does_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    siren = Siren(SirenConfig(layers=3))
    axes = [axis_coordinates(length, 1.0, length) for length in (1, 90, 130)]
    several = siren.on_grid(*axes)
    monkeypatch.setattr(threads, "count", lambda: 1)
    assert torch.equal(siren.on_grid(*axes), several)


def test_sine_and_cosine_err_by_less_than_float32_does() -> None:
    turns = torch.linspace(-40, 40, 100_001)[:, None]
    sine, cosine = turns.clone(), torch.empty_like(turns)
    kernels_numba.hidden(sine.numpy(), np.zeros(1, np.float32), cosine.numpy())
    radians = 2 * math.pi * turns.double()
    assert (sine - radians.sin()).abs().max() < 4e-7
    assert (cosine - radians.cos()).abs().max() < 4e-7


def test_short_sine_and_cosine_err_by_less_than_bfloat16_rounds() -> None:
    turns = torch.linspace(-0.5, 0.5, 257)[:, None].bfloat16()
    sine, cosine = turns.clone(), torch.empty_like(turns)
    view = kernels_numba.view
    kernels_numba.hidden(view(sine), np.zeros(1, np.float32), view(cosine))
    radians = 2 * math.pi * turns.double()
    assert (sine.double() - radians.sin()).abs().max() < 2**-9 + 3e-4
    assert (cosine.double() - radians.cos()).abs().max() < 2**-9 + 5e-5


@given(st.lists(st.floats(width=32, allow_nan=False, min_value=-1.0, max_value=1.0), min_size=1, max_size=40))
def test_bfloat16_rounds_to_the_nearest(numbers: list[float]) -> None:
    """Through the way back, whose product with a cosine of 1 is the number itself, in radians."""
    cosines = torch.tensor(numbers)[:, None].bfloat16()
    exact = cosines.float() * kernels_numba.RADIANS
    ones, view = torch.ones_like(cosines), kernels_numba.view
    kernels_numba.hidden_back(view(ones), view(cosines), np.zeros(1, np.float32))
    assert torch.equal((cosines.float() - exact).abs(), (exact.bfloat16().float() - exact).abs())


def test_an_infinite_argument_gives_nan_not_a_number_that_looks_right() -> None:
    values = np.array([[np.inf, -np.inf, np.nan, 0.25]], np.float32)
    kernels_numba.sine(values, np.zeros(4, np.float32))
    assert np.isnan(values[0, :3]).all()
    assert values[0, 3] == pytest.approx(1)


def test_what_one_thread_raises_is_raised_after_all_have_ended() -> None:
    done = []

    def fail() -> None:
        raise FitError("no")

    with pytest.raises(FitError, match="no"):
        threads.side_by_side([fail, lambda: done.append(1), lambda: done.append(2)])
    assert sorted(done) == [1, 2]


def test_threads_side_by_side_leave_torchs_number_of_threads_alone() -> None:
    before, inside = torch.get_num_threads(), []
    threads.side_by_side([lambda: inside.append(torch.get_num_threads()) for _ in range(2)])
    assert inside == [1, 1]
    assert torch.get_num_threads() == before


def test_a_generator_apart_has_one_of_torchs_threads_and_all_of_ours() -> None:
    def look() -> Generator[tuple[int, int], None, str]:
        yield torch.get_num_threads(), threads.count()
        return "end"

    before = torch.get_num_threads()
    steps = threads.apart(look())
    assert next(steps) == (1, before)
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert end.value.value == "end"
    assert torch.get_num_threads() == before


def test_pieces_side_by_side_in_a_generator_apart_are_all_done() -> None:
    def several() -> Generator[list[int], None, None]:
        for _ in range(3):
            done: list[int] = []
            threads.side_by_side([partial(done.append, piece) for piece in range(5)])
            yield sorted(done)

    assert list(threads.apart(several())) == [[0, 1, 2, 3, 4]] * 3


def test_what_a_generator_apart_raises_is_raised() -> None:
    def fail() -> Generator[int, None, None]:
        yield 1
        raise ValueError("no")

    steps = threads.apart(fail())
    assert next(steps) == 1
    with pytest.raises(ValueError, match="no"):
        next(steps)


def test_two_generators_apart_do_not_wait_for_each_other() -> None:
    def work() -> Generator[int, None, None]:
        for _ in range(20):
            done: list[int] = []
            threads.side_by_side([partial(done.append, 1) for _ in range(4)])
            yield sum(done)

    pairs = zip(threads.apart(work()), threads.apart(work()), strict=True)
    assert list(pairs) == [(4, 4)] * 20
