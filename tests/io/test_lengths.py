"""Units of length as people and standards write them."""

from __future__ import annotations

import pytest

from napari_inr_volume.io.lengths import completed, in_mm, length, plausible


@pytest.mark.parametrize(
    ("unit", "millimetres"),
    [
        *[(unit, 1.0) for unit in ("mm", "MM", "Mm", " mm ", "Millimeter", "millimetres", "mm.")],
        *[(unit, 1e-3) for unit in ("um", "µm", "\u03bcm", "\\u00B5m", "\\u00b5m")],
        *[(unit, 1e-3) for unit in ("Micron", "microns", "MICROMETRES")],
        *[(unit, 25.4) for unit in ("in", "inch", "Inches", '"')],
        *[(unit, 10.0) for unit in ("cm", "CM", "centimetre")],
        ("m", 1e3), ("nm", 1e-6), ("Å", 1e-7), ("\u212b", 1e-7), ("angstroms", 1e-7),
        ("pt", 25.4 / 72), ("ft", 304.8), ("Feet", 304.8), ("yd", 914.4), ("mil", 0.0254), ("thou", 0.0254),
    ],
)  # fmt: skip
def test_units_are_understood_however_spelt(unit: str, millimetres: float) -> None:
    assert in_mm(unit) == pytest.approx(millimetres, rel=1e-12)


@pytest.mark.parametrize("unit", ["", "pixel", "pixels", "reference frame", "s", "Hz", "None", None, 3, "px"])
def test_what_is_no_length_is_none(unit: object) -> None:
    assert in_mm(unit) is None
    assert length(2, unit) is None


def test_capitals_count_where_a_standard_says_so() -> None:
    assert in_mm("Mm", exact=True) == 1e9
    assert in_mm("mm", exact=True) == 1
    assert in_mm("pm", exact=True) == pytest.approx(1e-9)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "wide", None, [], 10**400])
def test_a_size_that_no_voxel_has_is_none(value: object) -> None:
    assert length(value) is None


@pytest.mark.parametrize(
    ("sizes", "spacing", "note"),
    [
        ((3.0, 2.0, 1.0), (3, 2, 1), ()),
        ((None, 2.0, 1.0), (1, 2, 1), ("1 mm assumed along z, the file gives no spacing there",)),
        ((3.0, None, None), (3, 1, 1), ("1 mm assumed along y and x, the file gives no spacing there",)),
        ((None, None, None), (1, 1, 1), ("1 mm assumed, the file gives no spacing",)),
    ],
)
def test_what_is_assumed_is_said(
    sizes: tuple[float | None, ...], spacing: tuple[float, ...], note: tuple[str, ...]
) -> None:
    assert completed(sizes) == (spacing, note)


@pytest.mark.parametrize("dpi", [1, 72, 96])
def test_the_resolution_of_a_screen_measures_nothing(dpi: float) -> None:
    assert plausible(25.4 / dpi, 25.4 / dpi) == (None, None)
    assert plausible(0.1, 0.2) == (0.1, 0.2)
