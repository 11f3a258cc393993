"""A list of layers to choose from, the same in every panel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QPaintEvent
from qtpy.QtWidgets import QComboBox, QSizePolicy, QStyle, QStyleOptionComboBox, QStylePainter
from superqt.utils import signals_blocked

from ..plugin.notices import plain

if TYPE_CHECKING:
    from napari.layers import Image

MARGIN = 8  # pixels that a style may leave beside the name


class LayerBox(QComboBox):
    """Chooses among layers by their names; two of one name are two choices."""

    layer_chosen = Signal()

    def __init__(self, tooltip: str, otherwise: Literal["first", "last"] = "first") -> None:
        super().__init__()
        self._layers: list[Image] = []
        self._otherwise = otherwise  # the choice, where that of before is gone
        self.setToolTip(tooltip)
        self.setMinimumContentsLength(8)  # a name may be longer than the panel is wide
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.currentIndexChanged.connect(lambda _: self.layer_chosen.emit())

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802, of Qt
        """Draw the chosen name with its middle left out where it is too long: its PSNR is at its end."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        field = self.style().subControlRect(
            QStyle.ComplexControl.CC_ComboBox, option, QStyle.SubControl.SC_ComboBoxEditField, self
        )
        middle = Qt.TextElideMode.ElideMiddle
        option.currentText = self.fontMetrics().elidedText(option.currentText, middle, field.width() - MARGIN)
        painter = QStylePainter(self)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)

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
                self.setCurrentIndex(0 if self._otherwise == "first" else len(self._layers) - 1)

    def choose(self, layer: Image) -> None:
        """Choose a layer that is offered."""
        self._choose(layer)

    def _choose(self, layer: Image | None) -> bool:
        for index, one in enumerate(self._layers):
            if one is layer:
                self.setCurrentIndex(index)
                return True
        return False
