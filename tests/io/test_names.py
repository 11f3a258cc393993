"""The order of slices by their names: natural, or refused with the files named."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_inr_volume.core.errors import SourceError
from napari_inr_volume.io.names import in_order


def ordered(*names: str) -> list[str]:
    return [path.name for path in in_order([Path(name) for name in names])[0]]


@pytest.mark.parametrize(
    "names",
    [
        pytest.param("1.png 2.png 3.png", id="numbers alone"),
        pytest.param("s8.png s9.png s10.png s11.png", id="no zeros before"),
        pytest.param("s08.png s09.png s10.png", id="zeros before"),
        pytest.param("S1.png s2.PNG S3.png", id="capitals"),
        pytest.param("1.png 2.tif 3.TIFF", id="several suffixes"),
        pytest.param("img-1.png img-2.png img-3.png", id="hyphen before the number"),
        pytest.param("img_-2.png img_-1.png img_0.png", id="sign after no letter"),
        pytest.param("-2.png -1.png 0.png +1.png", id="sign at the beginning"),
        pytest.param("z-1.png z0.png z1.png", id="sign after a letter, where others have none"),
        pytest.param("z-1.5.png z0.png z1.5.png", id="sign and decimals"),
        pytest.param("z-0.5.png z0.5.png z1.5.png", id="minus nought and a half"),
        pytest.param("z1.5.png z2.png z2.5.png z3.png", id="decimals"),
        pytest.param("0.25.png 0.5.png 0.75.png 1.0.png", id="decimals of several lengths"),
        pytest.param("0.0.png 0.33.png 0.67.png 1.0.png", id="rounded decimals"),
        pytest.param(" ".join(f"5.{number}.png" for number in range(2, 14)), id="dots between numbers"),
        pytest.param("1.2.840.9.png 1.2.840.10.png", id="UIDs"),
        pytest.param("IM-0001-0009.png IM-0001-0010.png", id="two numbers, one of them the same"),
        pytest.param("t101500_1.png t101503_2.png t101511_3.png", id="a time beside the number"),
        pytest.param("2020-01-09.png 2020-01-10.png", id="hyphens between numbers"),
        pytest.param("1_z-5.png 2_z-7.png 3_z-9.png", id="one number rises, one falls"),
        pytest.param("0.png 5.png 10.png", id="steps of five"),
        pytest.param("only.png", id="one without a number"),
    ],
)
def test_slices_are_ordered_as_a_person_would(names: str) -> None:
    expected = names.split()
    assert ordered(*expected) == ordered(*reversed(expected)) == ordered(*sorted(expected)) == expected


@given(
    st.integers(-50, 50),
    st.integers(1, 40),
    st.integers(1, 7),
    st.sampled_from(["", "slice ", "scan_", "a(", "CT 12 x"]),
    st.randoms(use_true_random=False),
)
def test_whole_numbers_with_signs_come_in_their_order(
    start: int, count: int, step: int, stem: str, random: object
) -> None:
    numbers = list(range(start, start + count * step, step))
    names = [f"{stem}{number}.png" for number in numbers]
    if stem.endswith("x") and max(numbers) < 0:  # nobody can tell a minus from a hyphen in all of them
        return
    shuffled = list(names)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert ordered(*shuffled) == names


@given(st.integers(-400, 400), st.integers(3, 40), st.sampled_from(["0.25", "0.5", "1.25", "2.5"]))
def test_decimals_come_in_their_order(start: int, count: int, step: str) -> None:
    numbers = [(start + index) * Fraction(step) for index in range(count)]
    names = [f"z_{float(number)}.png" for number in numbers]
    assert ordered(*reversed(names)) == names


def test_the_step_is_told() -> None:
    assert in_order([Path("0.png"), Path("4.png"), Path("2.png")])[1] == 2


@pytest.mark.parametrize(
    ("names", "message"),
    [
        pytest.param(
            "image_0.png mask_0.png image_1.png mask_1.png",
            r"'image_0\.png' and 'mask_0\.png' differ in more than a number",
            id="images and masks",
        ),
        pytest.param(
            "0.png 0_mask.png 1.png 1_mask.png", "differ in more than a number", id="suffixed masks"
        ),
        pytest.param("a.png b.png", "differ in more than a number", id="no numbers"),
        pytest.param("0.png 1.png cover.png", "differ in more than a number", id="a picture beside them"),
        pytest.param(
            "s2.png s3.png s7.png s8.png",
            r"missing between 's3\.png' and 's7\.png': 4, 5, 6;",
            id="missing numbers",
        ),
        pytest.param("0.png 1.png 2.png 99.png", r"3, 4, 5, 6, 7 and 91 more;", id="many missing"),
        pytest.param("z-2.png z-1.png z1.png z2.png", r"missing between .*: 0;", id="missing nought"),
        pytest.param("0.5.png 1.0.png 2.0.png 2.5.png", r"missing .*: 1\.5;", id="missing decimal"),
        pytest.param("0.png 2.png 4.png 5.png 7.png", r"rise by 1 between '4\.png'", id="uneven steps"),
        pytest.param("001.png 1.png 2.png", r"'001\.png' and '1\.png' have the same number", id="zeros"),
        pytest.param("001.png 001.tif 002.png", r"'001\.png' and '001\.tif' have", id="two suffixes"),
        pytest.param("a1.png A1.png a2.png", "have the same number", id="capitals"),
        pytest.param("a1_1.png a1_2.png a2_1.png a2_2.png", "several stacks", id="several stacks"),
        pytest.param("1_9.png 2_3.png 3_8.png", "give two orders", id="numbers that contradict"),
        pytest.param("a\x1b1.png b1.png", r"'a\\x1b1\.png'", id="what steers a terminal"),
    ],
)
def test_names_that_are_no_stack_are_refused_naming_files(names: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        ordered(*names.split())
