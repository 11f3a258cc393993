"""Names of layers on the canvas, made ready piece by piece while there is nothing else to do.

napari makes a letter when it is drawn first, which takes about ten milliseconds, and the drawing of a name
when that is shown first. Left to the first look at layers beside each other, both hold the window up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import ref

from qtpy.QtCore import QObject, QTimer

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

# The first for the height of a line; then those of a name with a PSNR, of a difference and its colour bar.
LETTERS = "ÅÉÑŐjgpqy [].0123456789dB-original,±\u2212HU"
CLEAR = (0.0, 0.0, 0.0, 0.0)


class Names(QObject):
    """Makes names ready for the canvas of a viewer. Without a window there is nothing to do."""

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._letters: set[str] = set()  # that were asked for
        self._layers: list[ref[Layer]] = []  # whose name was drawn
        self._left: list[Callable[[], object]] = []
        self._idle = QTimer(self)
        self._idle.timeout.connect(self._do)  # an interval of 0: whenever Qt has nothing to do

    @property
    def ready(self) -> bool:
        """Whether all is made ready."""
        return not self._left

    def want(self, layers: Sequence[Layer]) -> None:
        """Make the names of layers ready, soon."""
        font = self._font()
        if font is None:
            return
        text = LETTERS + "".join(layer.name for layer in layers)
        new = [letter for letter in dict.fromkeys(text) if letter not in self._letters]
        self._letters.update(new)
        self._left += [partial(font.__getitem__, letter) for letter in new]
        drawn = [layer() for layer in self._layers]
        for layer in layers:
            if not any(layer is one for one in drawn):
                self._layers.append(ref(layer))
                self._left += [partial(self._draw, ref(layer), True), partial(self._draw, ref(layer), False)]
        if self._left:
            self._idle.start()

    def _do(self) -> None:
        """Make one letter, or draw one name."""
        if not self._left:
            self._idle.stop()
            return
        try:
            self._left.pop(0)()
        except RuntimeError:  # there is room for no more letters: some are drawn late
            self._left = []

    def _draw(self, reference: ref[Layer], visible: bool) -> None:
        """Draw a name with no colour; or end that, unless it is shown by now."""
        layer = reference()
        if layer is None or layer not in self._viewer.layers:
            return
        overlay = layer.name_overlay
        if visible and not overlay.visible:
            overlay.color, overlay.visible = CLEAR, True
        elif not visible and overlay.color is not None and tuple(overlay.color) == CLEAR:
            overlay.color, overlay.visible = None, False

    def _font(self) -> Any:
        """Return napari's font of the canvas; None without a window, or where napari has changed."""
        window = getattr(self._viewer, "window", None)
        canvas = getattr(getattr(window, "_qt_viewer", None), "canvas", None)
        info = getattr(canvas, "font_info", lambda: None)()
        return None if info is None else info.font_manager.get_font(info.face)
