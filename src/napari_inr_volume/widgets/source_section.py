"""The panel's first part: what to compress, and through which window it is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QWidget

from ..core.units import HU, RAW
from ..core.windows import WINDOWS, Window, find_window
from ..core.words import in_bytes, in_mm
from ..plugin.layers import is_original, is_view
from ..plugin.notices import plain, sentence
from .elided import ElidedBox
from .layer_box import LayerBox
from .section import FRAMED, CancelBar, Section, TextLine, labelled

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from ..core.volume import Volume

EMPTY = (
    "Three ways to begin:\n"
    "1. Open a CT: press Open CT..., or drop its folder on napari.\n"
    "2. Try it without data of your own: press Open the sample.\n"
    "3. Look at a compressed volume: drop an .inr on napari."
)
CUSTOM = "custom"  # the window of whoever moved the contrast slider
NONE_CHOSEN = "No volume is chosen. Choose a layer above, or open a CT."
MEANING = (
    "Voxels along z, y, x; spacing in mm; intensity range without padding; where it was read from; memory."
)


class SourceSection(Section):
    """Chooses a layer, or a folder to load; shows what the chosen volume is."""

    layer_chosen = Signal()
    folder_wanted = Signal()
    sample_wanted = Signal()
    cancel_wanted = Signal()
    window_chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__("Source", "What to compress: a 3D image layer, or a CT series from a folder.")
        self.preferred_window = ""  # the one used last
        self.layers = LayerBox("The 3D image layer (z, y, x) to compress.", fits=is_original)
        self.load = QPushButton("&Open CT...")
        self.load.setToolTip(
            "Load a volume into a new layer: a folder or file of DICOM, NIfTI, NRRD, MetaImage, TIFF, NumPy,"
            " or a folder of PNG or TIFF slices."
        )
        self.body.addLayout(labelled("La&yer", self.layers, self.load))

        self.loading = CancelBar("Files read so far.", "Stop loading; no layer is added.")
        self.body.addWidget(self.loading)

        self.info = TextLine(EMPTY)
        self.info.setToolTip(MEANING)
        self.body.addWidget(self.info)
        self.sample = QPushButton("Open the &sample")
        self.sample.setToolTip("Add a CT head phantom, to try the panel without data of your own.")
        self.body.addWidget(self.sample)
        self.notes = TextLine()
        self.notes.setToolTip(
            "What is special about this volume, or was assumed or left out when it was read."
        )
        self.notes.setStyleSheet(FRAMED)
        self.notes.hide()
        self.body.addWidget(self.notes)

        self._offered: list[tuple[float, float]] = []  # limits of the windows in the box
        self._custom: Window | None = None  # of limits that are none of theirs
        self.windows = ElidedBox(
            "Which intensities are shown from black to white (level / width in HU). Sets the contrast of the"
            " original and of everything made from it, and of the figures under Window."
        )
        self.window_row = QWidget()
        label = QLabel("Wi&ndow")
        label.setBuddy(self.windows)
        row = QHBoxLayout(self.window_row)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(label)
        row.addWidget(self.windows, 1)
        self.body.addWidget(self.window_row)
        self.window_row.hide()

        self.layers.layer_chosen.connect(self.layer_chosen)
        self.load.clicked.connect(self.folder_wanted)
        self.sample.clicked.connect(self.sample_wanted)
        self.loading.cancel.clicked.connect(self.cancel_wanted)
        self.windows.textActivated.connect(self._window_activated)

    @property
    def layer(self) -> Image | None:
        """The layer that is chosen, if any."""
        return self.layers.layer

    def _window_activated(self, _: str) -> None:
        if self.window_name != CUSTOM:
            self._custom = None
            self.window_chosen.emit(self.window_name)

    @property
    def window_name(self) -> str:
        """Name of the window that is chosen."""
        return str(self.windows.currentData() or "full")

    def find_window(self, volume: Volume) -> Window:
        """Return the chosen window as it is on a volume: one in HU fits only HU."""
        if self._custom is not None:
            return self._custom
        return find_window(self.window_name if volume.units == HU else "full", volume)

    def offer_layers(self, viewer: ViewerModel) -> None:
        """Offer the image layers of the viewer; the one chosen stays so, renamed or not."""
        from napari.layers import Image

        images = (layer for layer in viewer.layers if isinstance(layer, Image))
        self.layers.offer([layer for layer in images if not is_view(layer)])

    def choose(self, layer: Image) -> None:
        """Choose a layer."""
        self.layers.choose(layer)

    def choose_next_window(self) -> None:
        """Choose the next window, as a person would; after the last comes the first."""
        named = self.windows.count() - (self._custom is not None)  # the custom one is the last
        if named > 0:
            self.windows.setCurrentIndex((self.windows.currentIndex() + 1) % named)
            self._window_activated(self.windows.currentText())

    def show_loading(self, words: str, done: int = 0, total: int = 0) -> None:
        """Show how far loading has come; a total of 0 means that it is not known."""
        self.load.setEnabled(False)
        self._show(words)
        self.loading.show_progress(done, total)

    def end_loading(self) -> None:
        """Hide the progress."""
        self.load.setEnabled(True)
        self.loading.hide()

    def show_none(self) -> None:
        """Say how to begin, or that a layer is to be chosen."""
        self.show_words(NONE_CHOSEN if self.layers.layers else EMPTY)

    def show_words(self, words: str) -> None:
        """Say why there is no volume."""
        self._show(words)
        self.windows.clear()
        self.sample.setVisible(not self.layers.layers)
        self.window_row.hide()

    def show_volume(self, volume: Volume, memory: int, limits: tuple[float, float]) -> None:
        """Show what the volume is; `memory` is what a fit takes in bytes, `limits` the layer's contrast."""
        size = " × ".join(str(length) for length in volume.shape)
        low, high = volume.intensity_range
        unit = "values" if volume.units == RAW else volume.units
        lines = [
            f"{size} voxels (z, y, x)",
            f"{in_mm(volume.geometry.spacing)}, {unit} {low:.7g} to {high:.7g}",
            ", ".join(volume.found),
            f"{in_bytes(volume.nbytes)}; a fit takes about {in_bytes(memory)} more",
        ]
        notes = [sentence(phrase) for phrase in (*volume.geometry.caveats, *volume.notes)]
        whole = f"{plain(volume.summary)}\n\n{MEANING}"
        self._show("\n".join(filter(None, lines)), "\n".join(notes), whole)
        self.sample.hide()
        self._offer_windows(volume, limits)
        self.window_row.show()

    def _show(self, words: str, notes: str = "", tooltip: str = MEANING) -> None:
        """Describe the volume, and below it what a person must know about it."""
        self.info.setText(words)
        self.info.setToolTip(tooltip)
        self.notes.setText(notes)
        self.notes.setVisible(bool(notes))

    def _offer_windows(self, volume: Volume, limits: tuple[float, float]) -> None:
        """Offer the windows that fit the volume; chosen is what the layer shows."""
        self.windows.clear()
        low, high = volume.intensity_range
        named = WINDOWS.values() if volume.units == HU else ()
        self._offered = [window.limits for window in (*named, find_window("full", volume))]
        if volume.units == HU:
            for name, window in WINDOWS.items():
                self.windows.addItem(f"{name} ({window.level:g} / {window.width:g} HU)", name)
        self.windows.addItem(f"full ({low:.0f} to {high:.0f})", "full")
        self.show_limits(limits)

    def show_limits(self, limits: tuple[float, float]) -> None:
        """Choose the window of these limits, or offer one, for the contrast slider may stand anywhere."""
        black, white = limits
        last = self.windows.count() - 1
        if last >= 0 and self.windows.itemData(last) == CUSTOM:
            self.windows.removeItem(last)
        self._custom = None
        for index, offered in enumerate(self._offered):
            if abs(black - offered[0]) < 0.5 and abs(white - offered[1]) < 0.5:
                self.windows.setCurrentIndex(index)
                return
        self._custom = Window(CUSTOM, (black + white) / 2, white - black)
        self.windows.addItem(f"{CUSTOM} ({self._custom.level:.0f} / {self._custom.width:.0f})", CUSTOM)
        self.windows.setCurrentIndex(self.windows.count() - 1)
