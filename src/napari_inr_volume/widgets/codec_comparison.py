"""The dock widget Codec comparison: an `.inr` beside other codecs at the same number of bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Image
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QFormLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QTableWidget,
    QTableWidgetItem,
)

from ..classical.by_bytes import CODECS, missing
from ..core.errors import InrError
from ..core.words import in_bytes, in_decibels, in_ratio
from ..plugin.compare import link
from ..plugin.job import Done, Job
from ..plugin.layers import carried, check_layer, kwargs_over, layer_name, path_of
from ..plugin.notices import show_error
from ..plugin.settings import own_weights, preferences
from ..plugin.work import rivals
from ..plugin.work.rivals import Compared, Rival
from .layer_box import LayerBox
from .panel import Panel
from .plot import RatePlot
from .section import Section, TextLine

if TYPE_CHECKING:
    import napari.viewer

USUAL = ("jpeg2000", "jpegls", "hevc")  # checked at first, where they are here
NO_FILE = "Fit a volume, or open an .inr together with its original, to compare it with other codecs."


class ChoiceSection(Section):
    """Which `.inr`, which original, which codecs, which slices."""

    compare_wanted = Signal()
    cancel_wanted = Signal()

    def __init__(self) -> None:
        super().__init__("Compare", "An .inr beside other codecs, each within the same number of bytes.")
        self.files = LayerBox("A layer that was decoded from an .inr, or fitted here.")
        self.originals = LayerBox("The layer that the .inr was made from; the other codecs encode it.")
        form = QFormLayout()
        for words, box in (("La&yer", self.files), ("Ori&ginal", self.originals)):
            label = QLabel(words)
            label.setBuddy(box)
            form.addRow(label, box)
        self.all_slices = QCheckBox("Whole volume")
        self.all_slices.setChecked(True)
        self.all_slices.setToolTip(
            "Encode every slice; otherwise only some around the one in view, which is faster."
        )
        self.count = QSpinBox()
        self.count.setRange(1, 9_999)
        self.count.setValue(16)
        self.count.setSuffix(" slices")
        self.count.setEnabled(False)
        self.count.setToolTip(
            "How many slices around the one in view to encode; they get their share of the bytes of the .inr."
        )
        self.all_slices.toggled.connect(self.count.setDisabled)
        part = QHBoxLayout()
        part.addWidget(self.all_slices)
        part.addWidget(self.count, 1)
        form.addRow(part)
        self.body.addLayout(form)
        self.codecs: dict[str, QCheckBox] = {}
        for name, codec in CODECS.items():
            box = QCheckBox(codec.label)
            why = missing(codec)
            box.setEnabled(why is None)
            box.setChecked(why is None and name in USUAL)
            box.setToolTip(why or f"Encode the slices with {codec.label}, as well as the bytes allow.")
            self.codecs[name] = box
            self.body.addWidget(box)
        self.compare = QPushButton("&Compare")
        self.compare.setToolTip("Encode and decode in the background; the reconstructions become layers.")
        self.cancel = QPushButton("Cance&l")
        self.cancel.setToolTip("Stop; nothing is added.")
        row = QHBoxLayout()
        row.addWidget(self.compare, 1)
        row.addWidget(self.cancel)
        self.body.addLayout(row)
        self.progress = QProgressBar()
        self.progress.hide()
        self.words = TextLine(NO_FILE)
        self.body.addWidget(self.progress)
        self.body.addWidget(self.words)
        self.compare.clicked.connect(self.compare_wanted)
        self.cancel.clicked.connect(self.cancel_wanted)

    @property
    def chosen(self) -> list[str]:
        """Names of the codecs that are checked."""
        return [name for name, box in self.codecs.items() if box.isChecked()]

    def show_running(self, running: bool) -> None:
        """Lock what is being used."""
        for box in (self.files, self.originals, self.all_slices, *self.codecs.values()):
            box.setDisabled(running)
        for name, box in self.codecs.items():
            box.setEnabled(not running and missing(CODECS[name]) is None)
        self.count.setEnabled(not running and not self.all_slices.isChecked())
        self.cancel.setEnabled(running)
        self.progress.setVisible(running)
        if running:
            self.progress.setRange(0, 0)


class ResultSection(Section):
    """A sentence, the curves, and a table."""

    HEADER = ("", "bytes", "ratio", "PSNR", "seconds")

    def __init__(self) -> None:
        super().__init__(
            "Result", "PSNR in dB (peak: the intensity range of the original), padding left out."
        )
        self.words = TextLine()
        self.plot = RatePlot()
        self.table = QTableWidget(0, len(self.HEADER))
        self.table.setHorizontalHeaderLabels(self.HEADER)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.table.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.table.setToolTip(
            "Seconds: encoding / decoding; for the INR, decoding alone, since it was fitted before."
        )
        vertical, horizontal = self.table.verticalHeader(), self.table.horizontalHeader()
        assert vertical is not None
        assert horizontal is not None
        vertical.hide()
        horizontal.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        horizontal.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for widget in (self.words, self.plot, self.table):
            self.body.addWidget(widget)
        self.show_rivals([], 1)

    def show_rivals(self, found: list[Rival], source_bytes: int, words: str = "") -> None:
        """Show what was found so far."""
        self.words.setText(words)
        self.words.setVisible(bool(words))
        self.plot.show_curves(
            [
                (rival.label, [(source_bytes / size, value) for size, value in rival.points])
                for rival in found
                if rival.points
            ]
        )
        shown = [rival for rival in found if not rival.failed]
        self.table.setRowCount(len(shown))
        for row, rival in enumerate(shown):
            seconds = f"{rival.seconds[0]:.1f} / {rival.seconds[1]:.1f}"
            if rival.label == rivals.OURS:
                seconds = f"{rival.seconds[1]:.1f}"
            cells = (rival.label, in_bytes(rival.size), in_ratio(source_bytes / rival.size))
            for column, text in enumerate((*cells, in_decibels(rival.psnr), seconds)):
                item = QTableWidgetItem(text)
                if column:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.table.setItem(row, column, item)
        height = self.table.horizontalHeader()
        assert height is not None
        self.table.setFixedHeight(
            height.sizeHint().height() + sum(self.table.rowHeight(row) for row in range(len(shown))) + 4
        )
        for widget in (self.plot, self.table):
            widget.setVisible(bool(found))


class CodecComparisonWidget(Panel):
    """Compare an `.inr` with other codecs at the same bytes, in the viewer and in figures."""

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)  # as in the panel Compress
        self.choice, self.result = ChoiceSection(), ResultSection()
        self.show_sections(self.choice, self.result)
        self.comparing = Job(self)
        self._found: list[Rival] = []
        self._source: Image | None = None  # the original of what is being compared
        self._source_bytes = 1
        self.choice.compare_wanted.connect(self._compare)
        self.choice.cancel_wanted.connect(self.comparing.drop)
        self.comparing.reported.connect(self._reported)
        self.comparing.finished.connect(self._show)
        self.comparing.failed.connect(self._failed)
        self.comparing.ended.connect(self._ended)
        layers = self.viewer.layers.events
        for event in (layers.inserted, layers.removed, layers.renamed):
            event.connect(self.reset_choices)
        self.viewer.events.theme.connect(self._theme_changed)
        self.result.plot.set_theme(self.viewer.theme)
        self.choice.show_running(False)
        self.reset_choices()

    def reset_choices(self, _: object = None) -> None:
        """Offer the layers that are in the viewer now; what is chosen stays so."""
        images = [layer for layer in self.viewer.layers if isinstance(layer, Image)]
        files: dict[int, Image] = {}  # one layer of each network, the reconstruction if it is there
        originals = []
        for layer in images:
            held = carried(layer)
            if held is None or held.volume is not None:
                originals.append(layer)
            elif held.inr is not None and (held.kind == "hr" or id(held.inr) not in files):
                files[id(held.inr)] = layer
        self.choice.files.offer(list(files.values()))
        self.choice.originals.offer(originals)
        self._update()

    def _update(self) -> None:
        ready = bool(self.choice.files.layers and self.choice.originals.layers)
        self.choice.compare.setEnabled(ready and not self.comparing.running)
        if not self.comparing.running:
            self.choice.words.setText("" if ready else NO_FILE)

    def _compare(self) -> None:
        file, original = self.choice.files.layer, self.choice.originals.layer
        held = None if file is None else carried(file)
        if file is None or original is None or held is None or held.inr is None:
            return
        if not self.choice.chosen:
            self.choice.words.setText("Check at least one codec.")
            return
        try:
            check_layer(original)
        except InrError as error:
            self.choice.words.setText(f"This cannot be compared with: {error}.")
            return
        depth = held.inr.geometry.shape[0]
        slices = slice(0, depth)
        if not self.choice.all_slices.isChecked():
            count = min(self.choice.count.value(), depth)
            z = round(float(original.world_to_data(self.viewer.dims.point[-3:])[0]))
            start = min(max(z - count // 2, 0), depth - count)
            slices = slice(start, start + count)
        self._source, self._found = original, []
        self._source_bytes = max(1, held.inr.source_bytes * (slices.stop - slices.start) // depth)
        self.result.show_rivals([], 1)
        self.comparing.start(
            rivals.compare,
            original,
            held.inr,
            path_of(file),
            own_weights(),
            preferences().device,
            self.choice.chosen,
            slices,
        )
        self.choice.show_running(True)
        self.choice.words.setText("Encoding...")
        self._update()

    def _reported(self, record: Done | Rival) -> None:
        if isinstance(record, Done):
            self.choice.progress.setRange(0, record.total)
            self.choice.progress.setValue(record.done)
            return
        self._found.append(record)
        self.result.show_rivals(self._found, self._source_bytes)

    def _show(self, compared: Compared) -> None:
        """Add the reconstructions, linked to the original, and say who is better."""
        words = " ".join([rivals.verdict(compared.ours, compared.rivals), *compared.notes])
        self.result.show_rivals([compared.ours, *compared.rivals], compared.source_bytes, words)
        source = self._source
        if source is None or source not in self.viewer.layers:
            return
        place = kwargs_over(source)
        first = source.affine.inverse(source.data_to_world((compared.start, 0, 0)))
        layers = [source]
        for rival in (compared.ours, *compared.rivals):
            if rival.voxels is None:
                continue
            layers.append(
                self.viewer.add_image(
                    rival.voxels,
                    name=layer_name(source.name, rival.label, rival.psnr),
                    **(place | {"translate": tuple(map(float, first))}),
                    contrast_limits=source.contrast_limits,
                    visible=False,
                )
            )
        link(layers)

    def _failed(self, words: str) -> None:
        self.choice.words.setText(f"{words}.")
        show_error(words)

    def _ended(self) -> None:
        self.choice.show_running(False)
        if self.choice.words.text() == "Encoding...":
            self.choice.words.setText("")
        self._update()

    def _theme_changed(self, _: object = None) -> None:
        self.result.plot.set_theme(self.viewer.theme)
