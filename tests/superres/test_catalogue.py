"""What menus and help know of upscalers."""

from __future__ import annotations

from napari_inr_volume.superres.catalogue import TITLES, is_slow
from napari_inr_volume.superres.factors import FACTORS


def test_the_small_network_alone_scrolls_on_a_cpu_and_only_by_4() -> None:
    slow = {(name, factor) for name in TITLES for factor in FACTORS if is_slow(name, factor)}
    assert slow == {("srdensenet", 2), ("srdensenet", 4), ("span", 2)}
