"""The dock widget INR file: what an opened `.inr` holds, decoding it whole, and its error slice by slice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from napari.layers import Image
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QProgressBar, QPushButton, QSizePolicy, QWidget

from ..core.errors import InrError
from ..core.windows import Window
from ..plugin import dialogs
from ..plugin.job import Done, Job
from ..plugin.layers import (
    LayerData,
    add_layer,
    carried,
    check_layer,
    hr_layer,
    kwargs_over,
    layer_name,
    lr_layer,
    path_of,
)
from ..plugin.notices import plain, show_error
from ..plugin.settings import PLUGIN, own_weights, preferences
from ..plugin.work import inr as contents
from ..plugin.work.inr import Contents, Decoded, Errors
from ..plugin.writers import SUFFIX
from ..superres.catalogue import title_of
from .contents_section import ContentsSection
from .error_section import EMPTY, ErrorSection
from .panel import Panel
from .section import Section, TextLine

if TYPE_CHECKING:
    import napari.viewer

    from ..inr_volume import InrVolume

NO_FILE = (
    "Drop an .inr on napari, or open one here. To try it without data: File > Open Sample > INR Volume >"
    " CT head phantom as .inr."
)
NO_ORIGINAL = "Open the original too, to see how far the .inr is from it."
SCROLL_DELAY_MS = 80  # while scrolling, the figures follow this often

Kind = Literal["lr", "hr"]


class FileSection(Section):
    """Chooses among the layers of `.inr` files, opens one, and decodes it whole."""

    layer_chosen = Signal()
    open_wanted = Signal()
    decode_wanted = Signal(str)
    cancel_wanted = Signal()

    def __init__(self) -> None:
        super().__init__("INR file", "Which .inr to look into, and how much of it to decode.")
        self.layers = QComboBox()
        self.layers.setToolTip(
            "A layer that was decoded from an .inr, or fitted here. Follows the layer list."
        )
        self.layers.setMinimumContentsLength(8)
        self.layers.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.open = QPushButton("&Open .inr...")
        self.open.setToolTip("Open an .inr: its LR fit and its reconstruction become layers.")
        label = QLabel("La&yer")
        label.setBuddy(self.layers)
        row = QHBoxLayout()
        row.addWidget(label)
        row.addWidget(self.layers, 1)
        self.body.addLayout(row)
        self.decode_lr = QPushButton("Decode &LR")
        self.decode_lr.setToolTip(
            "Decode all slices of the LR fit into memory, in the background: scrolling and 3D then wait for"
            " nothing. A layer of it is added if there is none."
        )
        self.decode_hr = QPushButton("Decode &HR")
        self.decode_hr.setToolTip(
            "Decode all slices of the reconstruction into memory, in the background: scrolling and 3D then"
            " wait for nothing. A layer of it is added if there is none."
        )
        row = QHBoxLayout()
        row.addWidget(self.open)
        row.addWidget(self.decode_lr)
        row.addWidget(self.decode_hr)
        self.body.addLayout(row)
        self.progress = QWidget()
        self.bar = QProgressBar()
        self.bar.setToolTip("Slices done.")
        self.cancel = QPushButton("&Cancel")
        self.cancel.setToolTip("Stop; nothing is changed.")
        row = QHBoxLayout(self.progress)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.bar, 1)
        row.addWidget(self.cancel)
        self.progress.hide()
        self.body.addWidget(self.progress)
        self.words = TextLine(NO_FILE)
        self.body.addWidget(self.words)
        self.layers.currentIndexChanged.connect(lambda _: self.layer_chosen.emit())
        self.open.clicked.connect(self.open_wanted)
        self.decode_lr.clicked.connect(lambda: self.decode_wanted.emit("lr"))
        self.decode_hr.clicked.connect(lambda: self.decode_wanted.emit("hr"))
        self.cancel.clicked.connect(self.cancel_wanted)

    def show_words(self, words: str) -> None:
        """Say something, or nothing."""
        self.words.setText(words)
        self.words.setVisible(bool(words))

    def show_progress(self, done: int, total: int) -> None:
        """Show how far it has come; a total of 0 means that it is not known yet."""
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        self.progress.show()


class InrFileWidget(Panel):
    """Look into an `.inr`, decode it, and hold it against its original."""

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        # Plugins get a proxy, whose layers are new proxies each time: no `is`. Only public attributes are
        # used, on the UI thread.
        self.viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self.file = FileSection()
        self.contents = ContentsSection()
        self.errors = ErrorSection()
        self.show_sections(self.file, self.contents, self.errors)
        self.inr: InrVolume | None = None  # of the chosen layer
        self.looking, self.decoding, self.measuring = Job(self), Job(self), Job(self)
        self._layers: list[Image] = []  # as in the chooser of files
        self._originals: list[Image] = []  # as in the chooser of originals
        self._look_again = False
        self._wanted: tuple[Image, Kind] | None = None  # a layer of what is being decoded, and what of it
        self._outcome = ""  # of decoding or measuring, in words
        self._window = Window("shown", 0, 1)  # of the figures
        self._scroll_timer = QTimer(self)
        self._scroll_timer.setSingleShot(True)
        self._scroll_timer.setInterval(SCROLL_DELAY_MS)
        self._scroll_timer.timeout.connect(self._show_slice)
        self._connect()
        self.errors.plot.set_theme(self.viewer.theme)
        self.reset_choices()
        self._follow()

    def _connect(self) -> None:
        self.file.layer_chosen.connect(self._layer_chosen)
        self.file.open_wanted.connect(self._open)
        self.file.decode_wanted.connect(self._decode)
        self.file.cancel_wanted.connect(self._cancel)
        self.errors.measure_wanted.connect(self._measure)
        self.errors.original_chosen.connect(self._original_chosen)
        self.looking.finished.connect(self._looked)
        self.looking.failed.connect(self.contents.show_words)
        self.looking.ended.connect(self._looking_ended)
        self.decoding.finished.connect(self._show_decoded)
        self.decoding.ended.connect(self._decoding_ended)
        self.measuring.finished.connect(self._show_errors)
        self.measuring.ended.connect(self._measuring_ended)
        for job in (self.decoding, self.measuring):
            job.reported.connect(self._reported)
            job.failed.connect(self._failed)

        layers = self.viewer.layers.events
        for event in (layers.inserted, layers.removed, layers.renamed):
            event.connect(self.reset_choices)
        self.viewer.layers.selection.events.active.connect(self._follow)
        self.viewer.dims.events.point.connect(self._scrolled)
        self.viewer.events.theme.connect(self._theme_changed)

    # Which file, which original

    @property
    def layer(self) -> Image | None:
        """The layer of an `.inr` that is chosen, if any."""
        index = self.file.layers.currentIndex()
        return self._layers[index] if 0 <= index < len(self._layers) else None

    @property
    def original(self) -> Image | None:
        """The layer to measure against, if any."""
        index = self.errors.originals.currentIndex()
        return self._originals[index] if 0 <= index < len(self._originals) else None

    def reset_choices(self, _: object = None) -> None:
        """Offer the layers that are in the viewer now; what is chosen stays so, renamed or not."""
        layer, original = self.layer, self.original
        images = [one for one in self.viewer.layers if isinstance(one, Image)]
        self._layers = [one for one in images if _inr_of(one) is not None]
        # An LR that is being fitted carries no network yet; it is no original either.
        self._originals = [one for one in images if (held := carried(one)) is None or held.kind == "original"]
        _offer(self.file.layers, self._layers, layer)
        _offer(self.errors.originals, self._originals, original)
        self._layer_chosen()
        if self.original is not original:
            self._choose_original()
            self._original_chosen()
        self._update_buttons()

    def _choose_original(self) -> None:
        """Choose the first layer with as many voxels as the `.inr` decodes to, if there is one."""
        shape = None if self.inr is None else self.inr.geometry.shape
        for index, layer in enumerate(self._originals):
            if layer.data.shape == shape:
                self.errors.originals.setCurrentIndex(index)
                break

    def _follow(self, _: object = None) -> None:
        """Choose the active layer, if it was decoded from an `.inr`."""
        active = self.viewer.layers.selection.active
        for index, layer in enumerate(self._layers):
            if layer is active:
                self.file.layers.setCurrentIndex(index)

    def _layer_chosen(self) -> None:
        """Look into another `.inr`; the LR fit and the reconstruction of one are the same."""
        layer = self.layer
        inr = None if layer is None else _inr_of(layer)
        if inr is self.inr:
            return
        self.inr = inr
        self._cancel()
        self.file.show_words(NO_FILE if inr is None else "")
        self._choose_original()
        self._original_chosen()
        self._look()

    def _original_chosen(self) -> None:
        self.measuring.drop()
        self._show_no_errors()
        self._update_buttons()

    # Look

    def _look(self) -> None:
        if self.inr is None or self.layer is None:
            self.contents.show_words("")
            return
        self.contents.show_words("Looking into it...")
        self._look_again = self.looking.running
        if not self._look_again:
            where = path_of(self.layer), own_weights(), preferences().device
            self.looking.start(contents.look, self.inr, *where)

    def _looked(self, found: Contents) -> None:
        if found.inr is self.inr:
            self.contents.show_contents(found)

    def _looking_ended(self) -> None:
        if self._look_again:  # another one was chosen meanwhile
            self._look_again = False
            self._look()

    def _open(self) -> None:
        path = dialogs.ask_file("Open an .inr", [f"Fitted network (*{SUFFIX})"])
        if path is None:
            return
        try:
            opened = self.viewer.open(str(path), plugin=PLUGIN)
        except InrError as error:
            show_error(str(error))
        else:
            self.viewer.layers.selection.active = opened[-1]

    # Decode

    def _decode(self, kind: Kind) -> None:
        """Decode all slices: into the layer that shows them one by one, or into one that is added."""
        if self.inr is None or self.layer is None or self._busy:
            return
        shown = self._layer_of(self.inr, kind)
        if shown is not None and isinstance(shown.data, np.ndarray):
            self.file.show_words(f"'{shown.name}' is decoded and in memory.")
            return
        self._wanted, self._outcome = (self.layer, kind), ""
        self.file.show_words("Decoding the LR..." if kind == "lr" else "Decoding the reconstruction...")
        self.file.show_progress(0, 0)
        where = path_of(self.layer), own_weights(), preferences().device
        self.decoding.start(contents.decode, self.inr, kind, *where)
        self._update_buttons()

    def _show_decoded(self, decoded: Decoded) -> None:
        assert self._wanted is not None
        beside, kind = self._wanted
        inr = _inr_of(beside)
        if inr is None:
            return
        shown = self._layer_of(inr, kind)
        if shown is None:
            shown = add_layer(self.viewer, _layer_beside(beside, kind, inr, decoded))
        else:
            shown.data = decoded.voxels
        self._outcome = " ".join([*decoded.notes, f"'{shown.name}' is decoded and in memory."])

    def _decoding_ended(self) -> None:
        self._wanted = None
        self.file.progress.hide()
        self.file.show_words(NO_FILE if self.inr is None else self._outcome)
        self._update_buttons()

    def _layer_of(self, inr: InrVolume, kind: Kind) -> Image | None:
        """Return the layer that shows the LR or the reconstruction of an `.inr`, if there is one."""
        for layer in self._layers:
            held = carried(layer)
            if held is not None and held.inr is inr and held.kind == kind:
                return layer
        return None

    # Measure

    def _measure(self) -> None:
        if self.inr is None or self.layer is None or self.original is None or self._busy:
            return
        self.errors.show_nothing("")
        try:
            check_layer(self.original)
        except InrError as error:
            self.errors.show_nothing(f"This cannot be measured against: {error}.")
            return
        shapes = [
            " × ".join(map(str, shape)) for shape in (self.original.data.shape, self.inr.geometry.shape)
        ]
        if shapes[0] != shapes[1]:
            self.errors.show_nothing(
                f"'{self.original.name}' has {shapes[0]} voxels (z, y, x), the .inr decodes to {shapes[1]};"
                " choose the layer that it was made of."
            )
            return
        self._outcome = ""
        black, white = self.original.contrast_limits
        self._window = Window("shown", (black + white) / 2, white - black)
        self.errors.show_nothing("Measuring...")
        self.file.show_progress(0, 0)
        self.measuring.start(
            contents.measure,
            self.original,
            self.inr,
            path_of(self.layer),
            own_weights(),
            preferences().device,
            self._window,
        )
        self._update_buttons()

    def _show_errors(self, found: Errors) -> None:
        assert self.inr is not None
        self.errors.show_errors(found, self._window, " HU" if self.inr.units == "HU" else "")
        self._show_slice()

    def _measuring_ended(self) -> None:
        self.file.progress.hide()
        if self._outcome:
            self.errors.show_nothing(self._outcome)
        elif not self.errors.measured:  # it was cancelled
            self._show_no_errors()
        self._update_buttons()

    def _show_no_errors(self) -> None:
        """Say what to do to see the errors."""
        if self.inr is None:
            self.errors.show_nothing("")
        else:
            self.errors.show_nothing(EMPTY if self._originals else NO_ORIGINAL)

    def _scrolled(self, _: object = None) -> None:
        if not self._scroll_timer.isActive():
            self._scroll_timer.start()

    def _show_slice(self) -> None:
        """Show the figures of the slice in view."""
        layer = self.layer
        if layer is None or self.inr is None:
            return
        along_z = float(layer.world_to_data(self.viewer.dims.point[-3:])[0])
        if layer.data.shape != self.inr.geometry.shape:  # the LR, maybe coarser along z
            along_z = (along_z + 0.5) * self.inr.factor[0] - 0.5
        z = min(max(round(along_z), 0), self.inr.geometry.shape[0] - 1)
        self.errors.show_slice(z, int(z / self.inr.factor[0]))

    # Work and the viewer

    @property
    def _busy(self) -> bool:
        return self.decoding.running or self.measuring.running

    def _cancel(self) -> None:
        self.decoding.drop()
        self.measuring.drop()

    def _reported(self, record: Done) -> None:
        self.file.show_progress(record.done, record.total)

    def _failed(self, words: str) -> None:
        self._outcome = words
        show_error(words)

    def _update_buttons(self) -> None:
        """Offer what can be done now."""
        free = self.inr is not None and not self._busy
        self.file.decode_lr.setEnabled(free)
        self.file.decode_hr.setEnabled(free)
        self.errors.measure.setEnabled(free and self.original is not None)

    def _theme_changed(self, _: object = None) -> None:
        self.errors.plot.set_theme(self.viewer.theme)


def _inr_of(layer: Image) -> InrVolume | None:
    held = carried(layer)
    return None if held is None else held.inr


def _layer_beside(beside: Image, kind: Kind, inr: InrVolume, decoded: Decoded) -> LayerData:
    """Return the layer of what was decoded: exactly over the layer that is there of the same `.inr`."""
    psnr = None
    if inr.quality is not None:
        of_hr = {"lanczos": inr.quality.lanczos_psnr, inr.upscaler.name: inr.quality.hr_psnr}
        psnr = inr.quality.lr_psnr if kind == "lr" else of_hr.get(decoded.upscaler)
    what = "LR fit" if kind == "lr" else title_of(decoded.upscaler)
    name = layer_name(beside.name.split(" [")[0], what, psnr)
    data, arguments, layer_type = (lr_layer if kind == "lr" else hr_layer)(decoded.voxels, name, inr)
    z, y, x = inr.factor
    over = kwargs_over(beside, (z, y, x) if kind == "lr" else (1 / z, 1 / y, 1 / x))
    return data, arguments | over | {"contrast_limits": beside.contrast_limits}, layer_type


def _offer(box: QComboBox, layers: list[Image], chosen: Image | None) -> None:
    """Offer layers by their names; without one that is chosen, the last."""
    box.blockSignals(True)
    box.clear()
    for layer in layers:
        box.addItem(layer.name)
        box.setItemData(box.count() - 1, plain(layer.name), Qt.ItemDataRole.ToolTipRole)
    numbers = [index for index, layer in enumerate(layers) if layer is chosen]
    box.setCurrentIndex(numbers[0] if numbers else len(layers) - 1)
    box.blockSignals(False)
