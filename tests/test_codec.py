"""The whole way on small volumes: what comes back, what is recorded, and what it is worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from napari_inr_volume import compress, decompress, load, save
from napari_inr_volume.coding.quantise import STEP_CODES, Quantised
from napari_inr_volume.coding.range_coding import encode
from napari_inr_volume.core import memory
from napari_inr_volume.core.errors import FitError, InrFileError, ModelError, VolumeError
from napari_inr_volume.core.lowres import low_res
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Geometry, Volume
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.inr_volume import InrVolume, UpscalerRef
from napari_inr_volume.io.inr_file import from_bytes, read_model, to_bytes
from napari_inr_volume.measuring import measure
from napari_inr_volume.reader import Reader, restored
from napari_inr_volume.superres.model_file import ModelInfo
from napari_inr_volume.superres.upscale import LanczosUpscaler

quick = Settings(
    preset="quick",
    field=SirenConfig(layers=2, hidden_features=32),
    fit=FitConfig(steps=120, batch=1024, learning_rate=3e-3, schedule="cosine"),
)


@pytest.fixture(scope="module")
def phantom() -> Volume:
    return head_phantom((12, 62, 64))  # 62: no multiple of the factor


@pytest.fixture(scope="module")
def fitted(phantom: Volume) -> InrVolume:
    return compress(phantom, quick, device="cpu")


def test_reconstruction_has_the_originals_grid_units_and_dtype(phantom: Volume, fitted: InrVolume) -> None:
    again = decompress(fitted, device="cpu")
    assert again.geometry == phantom.geometry
    assert (again.units, again.voxels.dtype) == (phantom.units, phantom.voxels.dtype)
    low, high = phantom.intensity_range
    assert low <= again.voxels.min()
    assert again.voxels.max() <= high


def test_recorded_quality_is_that_of_the_voxels_that_come_back(phantom: Volume, fitted: InrVolume) -> None:
    error = (decompress(fitted, device="cpu").voxels - phantom.voxels.astype(float))[phantom.measured()]
    peak = phantom.intensity_range[1] - phantom.intensity_range[0]
    assert fitted.quality is not None
    assert fitted.quality.rmse == pytest.approx(np.sqrt(np.mean(error**2)))
    assert fitted.quality.hr_psnr == pytest.approx(20 * np.log10(peak / fitted.quality.rmse))
    assert fitted.quality.max_error == np.abs(error).max()
    assert fitted.quality.p99 == np.percentile(np.abs(error), 99)


def test_recorded_lr_psnr_is_that_of_the_decoded_lr(phantom: Volume, fitted: InrVolume) -> None:
    lr = low_res(phantom, quick.factor)
    error = Reader(fitted, device="cpu").read(level="lr") - lr.voxels
    mse = np.mean(np.square(error[lr.counted], dtype=np.float64))
    peak = phantom.intensity_range[1] - phantom.intensity_range[0]
    assert fitted.quality is not None
    assert fitted.quality.lr_psnr == pytest.approx(10 * np.log10(peak**2 / mse), abs=1e-6)


def test_fit_is_worth_something(phantom: Volume, fitted: InrVolume) -> None:
    flat = np.full(phantom.shape, np.mean(phantom.voxels[phantom.measured()]))
    peak = phantom.intensity_range[1] - phantom.intensity_range[0]
    mse = np.mean(np.square(flat - phantom.voxels)[phantom.measured()])
    assert fitted.quality is not None
    assert fitted.quality.hr_psnr > 10 * np.log10(peak**2 / mse) + 3


def test_same_input_settings_and_seed_give_the_same_file(phantom: Volume, fitted: InrVolume) -> None:
    assert to_bytes(compress(phantom, quick, device="cpu")) == to_bytes(fitted)


def test_saved_and_loaded_it_decodes_to_the_same_voxels(fitted: InrVolume, tmp_path: Path) -> None:
    save(fitted, tmp_path / "head.inr")
    loaded = load(tmp_path / "head.inr")
    assert loaded == fitted
    np.testing.assert_array_equal(
        decompress(loaded, device="cpu").voxels, decompress(fitted, device="cpu").voxels
    )


def test_any_slice_decodes_alone_as_in_the_whole(fitted: InrVolume) -> None:
    reader, alone = Reader(fitted, device="cpu"), Reader(fitted, device="cpu")
    whole = reader.read(level="lr")
    for z in (11, 0, 5):
        np.testing.assert_allclose(alone.plane(z, "lr"), whole[z], atol=0.05)


@pytest.mark.parametrize("factor", [(1.0, 1.0, 1.0), (4.0, 4.0, 4.0), (2.5, 3.0, 2.0)], ids=str)
def test_any_factor_goes_the_whole_way(phantom: Volume, factor: tuple[float, float, float]) -> None:
    settings = replace(quick, factor=factor, fit=replace(quick.fit, steps=10))
    inr = compress(phantom, settings, device="cpu")
    assert decompress(inr, device="cpu").shape == phantom.shape
    assert Reader(inr, device="cpu").read(level="lr").shape == inr.lr_shape


def test_direct_siren_needs_no_upscaler_and_loses_nothing_to_it(phantom: Volume) -> None:
    """Factor 1 is the paper's comparison (Mancini et al. 2022): LR and HR are the same grid."""
    settings = replace(quick, factor=(1.0, 1.0, 1.0), fit=replace(quick.fit, steps=30))
    inr = compress(phantom, settings, device="cpu")
    assert inr.quality is not None
    assert inr.quality.hr_psnr == pytest.approx(inr.quality.lr_psnr, abs=0.3)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32", "float64"])
def test_values_come_back_in_the_originals_dtype(dtype: str) -> None:
    ramp = np.add.outer(np.add.outer(np.arange(4.0), np.arange(16.0)), np.arange(16.0)).astype(dtype)
    settings = replace(quick, fit=replace(quick.fit, steps=20))
    again = decompress(compress(Volume.from_array(ramp), settings, device="cpu"), device="cpu")
    assert again.voxels.dtype == dtype


def test_largest_integers_do_not_come_back_as_the_smallest() -> None:
    voxels = np.full((2, 16, 16), 2**31 - 1, dtype=np.int32)
    voxels[:, ::2] = -(2**31)
    volume = Volume.from_array(voxels, units="raw")
    inr = compress(volume, replace(quick, factor=(1, 1, 1), fit=replace(quick.fit, steps=300)), device="cpu")
    again = decompress(inr, device="cpu").voxels.astype(np.float64)
    assert np.abs(again - voxels).mean() < 2**31


def test_padding_comes_back_as_air_and_touches_no_figure(phantom: Volume, fitted: InrVolume) -> None:
    assert phantom.padding is not None
    assert decompress(fitted, device="cpu").voxels.min() >= phantom.intensity_range[0] > phantom.padding
    spoilt = phantom.voxels.copy()
    spoilt[spoilt == phantom.padding] = -3000
    other = Volume(voxels=spoilt, geometry=phantom.geometry, padding=-3000)
    lanczos = LanczosUpscaler(quick.factor[1:])
    first, second = (measure(volume, Reader(fitted, lanczos, device="cpu")) for volume in (phantom, other))
    assert first.lr_psnr == second.lr_psnr
    assert first.reconstruction.psnr == second.reconstruction.psnr
    assert first.reconstruction.ssim == second.reconstruction.ssim


def test_irregular_slice_positions_and_tilt_go_the_whole_way(phantom: Volume, tmp_path: Path) -> None:
    geometry = Geometry(
        shape=phantom.shape,
        spacing=(3.0, 0.5, 0.5),
        origin=(-10.0, 20.0, 30.5),
        direction=((0.0, 0.0, 1.0), (0.3, 1.0, 0.0), (np.sqrt(1 - 0.09), 0.0, 0.0)),
        slice_positions=(0.0, 1.0, *np.arange(3.0, 33.0, 3.0)),
    )
    volume = Volume(voxels=phantom.voxels, geometry=geometry, padding=phantom.padding)
    inr = compress(volume, replace(quick, fit=replace(quick.fit, steps=5)), device="cpu")
    save(inr, tmp_path / "tilted.inr")
    assert decompress(load(tmp_path / "tilted.inr"), device="cpu").geometry == geometry


def test_stopped_fit_is_kept(phantom: Volume) -> None:
    stop = Event()
    long = replace(quick, fit=replace(quick.fit, steps=1_000_000))
    inr = compress(phantom, long, device="cpu", stop=stop, on_progress=lambda record: stop.set())
    assert 0 < inr.fit.steps < 1_000_000
    assert decompress(inr, device="cpu").shape == phantom.shape


def test_fit_stopped_before_it_began_is_refused_in_words(phantom: Volume) -> None:
    stop = Event()
    stop.set()
    with pytest.raises(FitError, match="stopped before its first result"):
        compress(phantom, quick, device="cpu", stop=stop)


@pytest.mark.usefixtures("shipped")
def test_untrained_network_is_never_applied_silently(phantom: Volume) -> None:
    with pytest.raises(ModelError, match="lanczos"):
        compress(phantom, quick, device="cpu", upscaler="srdensenet")


# A super-resolution network of one's own


@pytest.fixture(scope="module")
def own(make_weights: Callable[..., ModelInfo], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    make_weights(path)
    return path


@pytest.fixture(scope="module")
def by_own(phantom: Volume, own: Path) -> InrVolume:
    return compress(phantom, replace(quick, fit=replace(quick.fit, steps=20)), device="cpu", upscaler=own)


def test_own_weights_are_recorded_by_their_hash_and_measured(own: Path, by_own: InrVolume) -> None:
    assert by_own.upscaler == UpscalerRef(name="span", sha256=sha256(own.read_bytes()).hexdigest())
    assert by_own.quality is not None
    assert by_own.quality.hr_psnr != by_own.quality.lanczos_psnr


def test_own_weights_decode_to_what_was_measured(phantom: Volume, own: Path, by_own: InrVolume) -> None:
    again = decompress(by_own, weights=[own], device="cpu")
    error = (again.voxels - phantom.voxels.astype(float))[phantom.measured()]
    assert by_own.quality is not None
    assert np.sqrt(np.mean(error**2)) == pytest.approx(by_own.quality.rmse)


def test_without_the_named_weights_lanczos_decodes_and_a_warning_says_so(by_own: InrVolume) -> None:
    lanczos = decompress(by_own, upscaler=LanczosUpscaler((4, 4)), device="cpu").voxels
    with pytest.warns(UserWarning, match="restored by Lanczos, not by SPAN as the file asks for"):
        np.testing.assert_array_equal(decompress(by_own, device="cpu").voxels, lanczos)
    said: list[str] = []
    np.testing.assert_array_equal(decompress(by_own, device="cpu", warn=said.append).voxels, lanczos)
    assert len(said) == 1


@pytest.mark.parametrize("as_bytes", [False, True])
def test_embedded_weights_need_no_file_beside_them(
    own: Path, by_own: InrVolume, as_bytes: bool, tmp_path: Path
) -> None:
    path = tmp_path / "x.inr"
    save(by_own, path, model=own.read_bytes() if as_bytes else own)
    again = decompress(load(path), weights=[read_model(path)], device="cpu")
    expected = decompress(by_own, weights=[own], device="cpu")
    np.testing.assert_array_equal(again.voxels, expected.voxels)


def test_another_model_than_the_named_is_not_embedded(by_own: InrVolume, tmp_path: Path) -> None:
    (tmp_path / "other.safetensors").write_bytes(b"another")
    with pytest.raises(InrFileError, match="the embedded model is not the upscaler 'span'"):
        save(by_own, tmp_path / "x.inr", model=tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match=r"cannot read the weights file .*gone\.safetensors"):
        save(by_own, tmp_path / "x.inr", model=tmp_path / "gone.safetensors")
    assert not (tmp_path / "x.inr").exists()


def test_measuring_against_another_volume_is_refused(fitted: InrVolume) -> None:
    with pytest.raises(VolumeError, match="give the volume that it was made from"):
        measure(head_phantom((12, 64, 64)), Reader(fitted, device="cpu"))


def test_network_is_not_saved_under_an_images_suffix(fitted: InrVolume, tmp_path: Path) -> None:
    with pytest.raises(InrFileError, match=r"saved as \.inr"):
        save(fitted, tmp_path / "head.nii")
    assert not list(tmp_path.iterdir())


def test_file_is_small_beside_the_pixels_it_stands_for(fitted: InrVolume) -> None:
    assert len(to_bytes(fitted)) < 2 * fitted.field.parameters + 1_500


# --- what files and volumes ask for ---------------------------------------------------------------------


def test_a_mask_is_compressed_and_its_flat_reconstruction_is_a_volume() -> None:
    voxels = np.zeros((4, 32, 32), np.uint8)
    voxels[2, 9, 9] = 1  # too little for a network to find
    settings = replace(quick, fit=replace(quick.fit, steps=20))
    inr = compress(Volume.from_array(voxels, units="raw"), settings, device="cpu")
    again = decompress(from_bytes(to_bytes(inr)), device="cpu")
    assert again.voxels.dtype == np.uint8
    assert again.voxels.shape == voxels.shape
    assert again.intensity_range == (0.0, 0.0)


def with_shape(inr: InrVolume, *shape: int) -> InrVolume:
    z, y, x = shape
    return replace(inr, geometry=Geometry(shape=(z, y, x)))


def test_a_volume_larger_than_memory_is_refused_whole_and_decoded_slice_by_slice(fitted: InrVolume) -> None:
    huge = from_bytes(to_bytes(with_shape(fitted, 65_535, 4_096, 4_096)))
    words = r"65535 x 4096 x 4096 int16, needs 2\.2 TB, .*, or open the file in napari"
    with pytest.raises(InrFileError, match=words):
        decompress(huge, device="cpu")
    deep = from_bytes(to_bytes(with_shape(fitted, 65_535, 32, 32)))
    reader = Reader(deep, device="cpu")
    assert next(reader.slices())[1].shape == (32, 32)
    assert reader.plane(65_534, "lr").shape == (8, 8)


def test_slices_too_large_for_memory_are_refused(fitted: InrVolume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 30_000)
    reader = Reader(fitted, device="cpu", cache_bytes=0)
    assert reader.plane(0, "lr").shape == (16, 16)
    monkeypatch.setattr(memory, "available", lambda: 20_000)
    with pytest.raises(InrFileError, match=r"8 x 16 x 16 voxels .* needs .* ask for fewer slices at once"):
        reader.read(level="lr")
    with pytest.raises(InrFileError, match=r"restoring 12 x 62 x 64 voxels needs 1\.1 MB"):
        restored(np.zeros((12, 16, 16), np.float32), LanczosUpscaler((4, 4)), fitted)


def test_a_fit_too_large_for_memory_is_refused(phantom: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 10_000)
    with pytest.raises(FitError, match=r"a fit of 3,072 voxels and 1,217 weights needs"):
        compress(phantom, quick, device="cpu")


def quantised_ones(siren: SirenConfig, code: int) -> bytes:
    """A payload of weights that are all as large as one step of this code."""
    rows = [layout.row_shape for name, layout in siren.layouts.items()]
    return encode([Quantised(np.ones(one, np.int32), np.full(one[0], code, np.int32)) for one in rows])


def test_finite_weights_that_decode_to_nonsense_are_refused(fitted: InrVolume) -> None:
    for code in (200, STEP_CODES[1]):
        damaged = replace(fitted, payload=quantised_ones(fitted.field, code), quality=None)
        with pytest.raises(InrFileError, match="values far outside the intensity range"):
            decompress(from_bytes(to_bytes(damaged)), device="cpu")


def test_an_upscaler_that_makes_no_numbers_is_named(fitted: InrVolume) -> None:
    class Broken(LanczosUpscaler):
        name = "span"

        def __call__(self, lr: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
            return np.full((len(lr), *shape), np.nan, np.float32)

    with pytest.raises(ModelError, match=r"weights of span give NaN .* use the upscaler lanczos"):
        decompress(fitted, upscaler=Broken((4, 4)), device="cpu")


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_the_largest_whole_number_of_64_bits_does_not_wrap(fitted: InrVolume, dtype: str) -> None:
    high = float(np.iinfo(dtype).max)  # 2^63 or 2^64: as a float, more than the dtype holds
    inr = replace(fitted, dtype=dtype, intensity_range=(0.0, high), quality=None)
    lr = np.full((1, 16, 16), high, np.float32)
    hr = restored(lr, LanczosUpscaler((4, 4)), from_bytes(to_bytes(inr)))
    assert hr.dtype == dtype
    assert (hr > high * 0.999).all()
