"""A list of layers to choose from, the same in every panel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from qtpy.QtCore import Qt, Signal
from superqt.utils import signals_blocked

from ..plugin.notices import plain
from .elided import ElidedBox

if TYPE_CHECKING:
    from napari.layers import Image


class LayerBox(ElidedBox):
    """Chooses among layers by their names; two of one name are two choices."""

    layer_chosen = Signal()

    def __init__(
        self,
        tooltip: str,
        otherwise: Literal["first", "last"] = "first",
        fits: Callable[[Image], bool] = lambda layer: True,
    ) -> None:
        super().__init__(tooltip)
        self._layers: list[Image] = []
        self._otherwise = otherwise  # the choice, where that of before is gone
        self._fits = fits  # whether a layer may be chosen without being asked for
        self.setPlaceholderText("none chosen")
        self.currentIndexChanged.connect(lambda _: self.layer_chosen.emit())

    @property
    def layers(self) -> list[Image]:
        """The layers that are offered."""
        return list(self._layers)

    @property
    def layer(self) -> Image | None:
        """The layer that is chosen, if any."""
        index = self.currentIndex()
        return self._layers[index] if 0 <= index < len(self._layers) else None

    def offer(self, layers: Sequence[Image]) -> None:
        """Offer layers; what is chosen stays so, renamed or not. Nothing is emitted."""
        chosen = self.layer
        with signals_blocked(self):
            self.clear()
            self._layers = list(layers)
            for index, layer in enumerate(self._layers):
                self.addItem(layer.name)
                self.setItemData(index, plain(layer.name), Qt.ItemDataRole.ToolTipRole)
            if not self._choose(chosen):
                fitting = [index for index, layer in enumerate(self._layers) if self._fits(layer)] or [-1]
                self.setCurrentIndex(fitting[0 if self._otherwise == "first" else -1])

    def choose(self, layer: Image) -> None:
        """Choose a layer that is offered."""
        self._choose(layer)

    def _choose(self, layer: Image | None) -> bool:
        for index, one in enumerate(self._layers):
            if one is layer:
                self.setCurrentIndex(index)
                return True
        return False
