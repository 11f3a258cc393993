"""A state's file holds what a fit needs and nothing else, and whatever else is in it is an error of ours."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import Tensor

from napari_inr_volume.core import memory
from napari_inr_volume.core.errors import FitError
from napari_inr_volume.fields.base import FitResult
from napari_inr_volume.fields.samples import LrSamples
from napari_inr_volume.fields.siren import fit_state
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.fields.siren.fit import fit
from napari_inr_volume.fields.siren.fit_state import FitState
from napari_inr_volume.fields.state_file import FORMAT, load_state, save_state

CPU = torch.device("cpu")
SIREN = SirenConfig(layers=3, hidden_features=8)
ADAM = FitConfig(
    steps=12,
    batch=2_048,  # so large that the PSNR is followed after every step
    learning_rate=3e-3,
)
TUNED = replace(ADAM, steps=4, tuning_steps=8, optimiser="muon", weight_bits=6.0)

HEAD = FORMAT + b" siren\n"


def samples() -> LrSamples:
    lr = np.sin(np.arange(4 * 8 * 8, dtype=np.float32)).reshape(4, 8, 8)
    return LrSamples(
        lr, hr_shape=(4, 32, 32), factor=(1.0, 4.0, 4.0), intensity_range=(-1.0, 1.0), device=CPU
    )


def state_of(config: FitConfig, step: int, siren: SirenConfig = SIREN) -> FitState:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("napari_inr_volume.fields.siren.fit.SECONDS_PER_RECORD", 0.0)
        return next(record for record in fit(samples(), siren, config, CPU) if record.step == step).state()


def go_on(state: FitState) -> FitResult:
    steps = fit(samples(), state.field, state.fit, CPU, resume=state)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@pytest.fixture(scope="module")
def adam() -> FitState:
    return state_of(ADAM, 7)


@pytest.fixture(scope="module")
def tuned() -> FitState:
    return state_of(TUNED, 7)


@pytest.fixture(scope="module")
def shifted() -> FitState:
    return state_of(TUNED, 7, replace(SIREN, shifts=True, slices=4))


def body_of(state: FitState, folder: Path) -> bytes:
    save_state(state, folder / "whole.fit")
    return (folder / "whole.fit").read_bytes()[len(HEAD) + 32 :]


def written(body: bytes, folder: Path) -> Path:
    """A file of this body, with its checksum right."""
    path = folder / "x.inr.fit"
    path.write_bytes(HEAD + hashlib.sha256(body).digest() + body)
    return path


def parts_of(body: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    length = int.from_bytes(body[:8], "little")
    return load(body), json.loads(json.loads(body[8 : 8 + length])["__metadata__"]["fit"])


def packed(tensors: dict[str, Tensor], plain: object) -> bytes:
    return save(tensors, metadata={"fit": json.dumps(plain)})


# --- what is saved is what is loaded ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["adam", "tuned", "shifted"])
def test_a_state_comes_back_as_it_was(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    state = request.getfixturevalue(name)
    save_state(state, tmp_path / "x.fit")
    again = load_state(tmp_path / "x.fit")
    for field, value in vars(state).items():
        found = getattr(again, field)
        if isinstance(value, dict):
            assert list(found) == list(value)
            assert all(torch.equal(found[name], tensor) for name, tensor in value.items())
        elif isinstance(value, Tensor):
            assert torch.equal(found, value)
        else:
            assert found == value


def test_a_state_before_the_first_look_has_no_best(tmp_path: Path) -> None:
    state = replace(state_of(ADAM, 1), best_step=0, best_psnr=-math.inf, curve=[])
    save_state(state, tmp_path / "x.fit")
    assert load_state(tmp_path / "x.fit").best_psnr == -math.inf


def test_the_file_holds_fit_data_and_nothing_of_its_own_name(tuned: FitState, tmp_path: Path) -> None:
    for name in ("patient-name.fit", "other.fit"):
        save_state(tuned, tmp_path / name)
    content = (tmp_path / "patient-name.fit").read_bytes()
    assert content == (tmp_path / "other.fit").read_bytes()
    tensors, plain = parts_of(content[len(HEAD) + 32 :])
    assert set(plain) == {"field", "fit", *fit_state.PLAIN}
    assert {name.partition("/")[0] for name in tensors} == {"random", *fit_state.GROUPS}
    assert len(plain["samples"]) == 64


# --- damage ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "flipped"])
def test_a_damaged_state_is_named(damage: str, adam: FitState, tmp_path: Path) -> None:
    path = written(body_of(adam, tmp_path), tmp_path)
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(
        {
            "empty": b"",
            "text": b"not a state",
            "cut": whole[:middle],
            "flipped": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        }[damage]
    )
    with pytest.raises(FitError, match=r"x\.inr\.fit is damaged, or .* delete it to start over"):
        load_state(path)


def test_no_state_and_an_unreadable_one_are_told(tmp_path: Path) -> None:
    with pytest.raises(FitError, match=r"there is no fit to resume, no file .*; start over"):
        load_state(tmp_path / "none.fit")
    with pytest.raises(FitError, match="cannot be read"):
        load_state(tmp_path)


def test_a_state_larger_than_memory_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.fit"
    with path.open("wb") as file:
        file.truncate(2**43)  # a hole: takes no disk
    with pytest.raises(FitError, match=r"the fit to resume, .*huge\.fit, needs 17\.6 TB of memory"):
        load_state(path)


# --- a right checksum over what no fit wrote -----------------------------------------------------------

PLAIN = {
    "no settings": ("fit", None, "does not hold the state"),
    "a setting too many": ("fit.patient", "Doe", "does not hold the state"),
    "a network too wide": ("field.hidden_features", 10**9, "hidden_features must be a whole number"),
    "another network": ("field.hidden_features", 9, "its tensors do not match"),
    "another optimiser": ("fit.optimiser", "muon", "its tensors do not match"),
    "an optimiser of a list": ("fit.optimiser", [], "optimiser must be one of"),
    "a batch of text": ("fit.batch", "9" * 4_000, "batch must be a whole number"),
    "a device that is none": ("device", "\x1b[2J", "unknown device"),
    "a device to be chosen": ("device", "auto", "unknown device"),
    "a digest that is none": ("samples", "../x", "hash of its volume"),
    "a step beyond the last": ("step", 13, "step must be a whole number from 0 to 12"),
    "a step of text": ("step", "7", "step must be a whole number"),
    "no step yet": ("step", 0, "must be a whole number|its tensors do not match"),
    "infinite time": ("seconds", math.inf, "seconds must be a number"),
    "a tuning that is none": ("tuning_from", 3, "step must be a whole number from 3 to 3"),
    "a tuning of text": ("tuning_from", "3", "tuning_from must be a whole number"),
    "a curve of numbers": ("curve", [1, 2], "does not hold the state"),
    "a curve that is none": ("curve", 7, "does not hold the state"),
    "a curve backwards": ("curve", [[5, 20.0], [3, 21.0]], "a step of the curve"),
    "a curve of NaN": ("curve", [[1, math.nan]], "a PSNR of the curve"),
    "a best beyond the last": ("best_step", 8, "best_step must be a whole number from 0 to 7"),
    "an infinite best": ("best_psnr", math.inf, "best_psnr must be a number"),
    "no best": ("best_psnr", None, "best_psnr must be a number"),
}


@pytest.mark.parametrize(("field", "value", "message"), PLAIN.values(), ids=PLAIN)
def test_values_that_no_fit_has_are_refused(
    field: str, value: object, message: str, adam: FitState, tmp_path: Path
) -> None:
    tensors, plain = parts_of(body_of(adam, tmp_path))
    *outer, name = field.split(".")
    (plain[outer[0]] if outer else plain)[name] = value
    with pytest.raises(FitError, match=message) as caught:
        load_state(written(packed(tensors, plain), tmp_path))
    assert len(str(caught.value)) < 400 + len(str(tmp_path))
    assert str(caught.value).isprintable()


def test_every_value_is_needed(adam: FitState, tmp_path: Path) -> None:
    tensors, plain = parts_of(body_of(adam, tmp_path))
    for name in plain:
        less = {other: value for other, value in plain.items() if other != name}
        with pytest.raises(FitError, match="it does not hold the state of a fit"):
            load_state(written(packed(tensors, less), tmp_path))


TENSORS: dict[str, Callable[[dict[str, Tensor]], object]] = {
    "one missing": lambda tensors: tensors.pop("weights/linear.bias"),
    "no random numbers": lambda tensors: tensors.pop("random"),
    "one too many": lambda tensors: tensors.update({"weights/more": torch.zeros(1)}),
    "one of no group": lambda tensors: tensors.update({"more": torch.zeros(1)}),
    "another shape": lambda tensors: tensors.update({"weights/linear.bias": torch.zeros(2)}),
    "another dtype": lambda tensors: tensors.update({"weights/linear.bias": torch.zeros(1).double()}),
    "empty": lambda tensors: tensors.update({"weights/linear.bias": torch.zeros(0)}),
    "NaN": lambda tensors: tensors["weights/linear.bias"].fill_(math.nan),
    "infinity": lambda tensors: tensors["optimisers/momentum"].fill_(math.inf),
    "a step that is none": lambda tensors: tensors["rounding/linear.bias"].fill_(10**6),
    "random numbers of NaN": lambda tensors: tensors.update({"random": torch.full((5056,), math.nan)}),
    "random numbers of ones": lambda tensors: tensors["random"].fill_(255),
    "few random numbers": lambda tensors: tensors.update({"random": torch.zeros(3, dtype=torch.uint8)}),
}


@pytest.mark.parametrize("change", TENSORS.values(), ids=TENSORS)
def test_tensors_that_no_fit_has_are_refused(
    change: Callable[[dict[str, Tensor]], object], tuned: FitState, tmp_path: Path
) -> None:
    tensors, plain = parts_of(body_of(tuned, tmp_path))
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    change(tensors)
    with pytest.raises(FitError, match=r"x\.inr\.fit is damaged: .*; delete it to start over"):
        load_state(written(packed(tensors, plain), tmp_path))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x80\x04pickle",
        b"PK\x03\x04",
        (2**62).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        save({}, metadata={"fit": "3"}),
        save({}, metadata={"fit": "[" * 100_000}),
        save({}, metadata={"fit": "9" * 100_000}),
    ],
    ids=lambda body: repr(body[:12]),
)
def test_a_body_that_is_no_state_is_refused(body: bytes, tmp_path: Path) -> None:
    with pytest.raises(FitError, match=r"x\.inr\.fit is damaged: .*; delete it to start over"):
        load_state(written(body, tmp_path))


def test_what_tensors_claim_is_not_allocated(adam: FitState, tmp_path: Path) -> None:
    _, plain = parts_of(body_of(adam, tmp_path))
    claim = {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}
    header = json.dumps({"__metadata__": {"fit": json.dumps(plain)}, "weights/linear.bias": claim}).encode()
    with pytest.raises(FitError, match="it does not hold the state of a fit"):
        load_state(written(len(header).to_bytes(8, "little") + header, tmp_path))


@pytest.mark.slow
@settings(max_examples=40)
@given(data=st.data())
def test_any_change_of_a_number_is_refused_or_goes_on(
    data: st.DataObject, tuned: FitState, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Finite numbers in the right places cannot be told from a fit's own; then it goes on or diverges."""
    folder = tmp_path_factory.mktemp("changed")
    tensors, plain = parts_of(body_of(tuned, folder))
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    name = data.draw(st.sampled_from([name for name in tensors if name != "random"]))
    value = data.draw(st.sampled_from([0.0, -1.0, 1e-30, 200.0, -250.0, 1e10, 1e38, -3e38, math.nan]))
    if tensors[name].dtype == torch.int32:
        value = 0 if math.isnan(value) else int(max(-300, min(value, 300)))
    tensors[name].fill_(value)
    try:
        result = go_on(load_state(written(packed(tensors, plain), folder)))
    except FitError:
        return
    assert math.isfinite(result.psnr)
    assert all(np.isfinite(values).all() for values in result.field.weights().values())


def test_memory_is_asked_for_before_the_file_is_read(
    adam: FitState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(body_of(adam, tmp_path), tmp_path)
    monkeypatch.setattr(memory, "available", lambda: 2 * path.stat().st_size - 1)
    with pytest.raises(FitError, match="delete it to start over"):
        load_state(path)
