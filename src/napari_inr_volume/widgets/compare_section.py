"""The panel's last part: comparing the original with the result, and saving that."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QComboBox,
    QGridLayout,
    QPushButton,
    QRadioButton,
    QWidget,
)
from superqt import QLabeledSlider
from superqt.utils import signals_blocked

from ..core.units import HU
from ..plugin.compare import Mode
from ..plugin.views import LOOKS, LookName
from .figure_table import FiguresView
from .layer_box import LayerBox
from .section import Section, TextLine, labelled

MODES: tuple[tuple[Mode, str, str], ...] = (
    ("off", "Off", "The layers as you arrange them yourself."),
    (
        "side by side",
        "Side by side",
        "Original, LR fit and reconstruction in one row, zoomed alike.",
    ),
    (
        "wipe",
        "Wipe",
        "The reconstruction left of an edge, the original right of it. Drag the edge on the canvas; the key F"
        " shows one and the other in turn.",
    ),
    ("difference", "Difference", "A result minus the original, on a colour scale that fits the window."),
    ("3D", "3D", "Original and reconstruction beside each other in 3D."),
)
LOOK_WORDS = {
    "bone": "The surface at 250 HU.",
    "skin": "The surface at -300 HU.",
    "lung": "What is neither air outside nor dense, as a mist.",
    "as shown": "The brightest along each line of sight, through the window under Source.",
}


class CompareSection(Section):
    """Ways to look at the error, and its figures."""

    mode_chosen = Signal()
    edge_moved = Signal(float)  # of the wipe, as a share of the width
    absolute_chosen = Signal(bool)
    orthogonal_wanted = Signal()

    def __init__(self) -> None:
        super().__init__("Compare", "See what the fit and the reconstruction lost.")
        self._modes = QButtonGroup(self)
        self._buttons: dict[Mode, QRadioButton] = {}
        grid = QGridLayout()
        for index, (mode, words, tooltip) in enumerate(MODES):
            button = QRadioButton(words)
            self._buttons[mode] = button
            button.setToolTip(tooltip)
            self._modes.addButton(button)
            grid.addWidget(button, index // 2, index % 2)
        self.button("off").setChecked(True)
        self.body.addLayout(grid)

        self.orthogonal = QPushButton("Orthogonal views")
        self.orthogonal.setToolTip(
            "Show what is in view from the front and from the side too, in a dock of its own; all follow."
        )
        grid.addWidget(self.orthogonal, len(MODES) // 2, 1)
        self._add_options()
        self.values = TextLine()
        self.values.setToolTip("Value of each compared layer at the voxel under the mouse, and its error.")
        self.values.hide()
        self.body.addWidget(self.values)
        self.figures = FiguresView()
        self.body.addWidget(self.figures)
        self._modes.buttonToggled.connect(self._toggled)
        self.show_possible(False)

    def _add_options(self) -> None:
        """Add a row for each mode that has a choice; it is shown with its mode."""
        self.edge = QLabeledSlider(Qt.Orientation.Horizontal)
        self.edge.setRange(0, 100)
        self.edge.setValue(50)
        self.edge.setToolTip("Where the edge is, in percent of the width; left of it is the reconstruction.")
        self.looks = QComboBox()
        self.looks.setToolTip("What to see in 3D.")
        self.subtracted = LayerBox("What the original is subtracted from: a result, or another codec's.")
        self.absolute = QCheckBox("Absolute")
        self.absolute.setToolTip("Show how large errors are, not which way they go.")
        self._options: dict[Mode, QWidget] = {}
        rows: tuple[tuple[Mode, str, QWidget, tuple[QWidget, ...]], ...] = (
            ("wipe", "Edge (%)", self.edge, ()),
            ("difference", "Of", self.subtracted, (self.absolute,)),
            ("3D", "Look", self.looks, ()),
        )
        for mode, words, box, others in rows:
            option = self._options[mode] = QWidget()
            row = labelled(words, box, *others)
            row.setContentsMargins(0, 0, 0, 0)
            option.setLayout(row)
            option.hide()
            self.body.addWidget(option)
        self.edge.valueChanged.connect(lambda percent: self.edge_moved.emit(percent / 100))
        self.looks.currentIndexChanged.connect(lambda _: self.mode_chosen.emit())
        self.subtracted.layer_chosen.connect(self.mode_chosen)
        self.absolute.toggled.connect(self.absolute_chosen)
        self.orthogonal.clicked.connect(self.orthogonal_wanted)

    @property
    def look(self) -> LookName:
        """What to see in 3D."""
        look: LookName = self.looks.currentData() or "as shown"
        return look

    def offer_looks(self, units: str) -> None:
        """Offer what there is to see in a volume in these units; the choice stays, where it can."""
        names: list[LookName] = list(LOOKS) if units == HU else ["as shown"]
        if [self.looks.itemData(index) for index in range(self.looks.count())] == names:
            return
        with signals_blocked(self.looks):
            self.looks.clear()
            for index, name in enumerate(names):
                self.looks.addItem(name.capitalize(), name)
                self.looks.setItemData(index, LOOK_WORDS[name], Qt.ItemDataRole.ToolTipRole)

    def show_edge(self, share: float) -> None:
        """Show where the wipe's edge is, as a share of the width; it was dragged there."""
        with signals_blocked(self.edge):
            self.edge.setValue(round(100 * share))

    def show_values(self, lines: list[str]) -> None:
        """Show what is under the cursor, a line a layer; no line hides it."""
        self.values.setText("\n".join(lines))
        self.values.setVisible(bool(lines))

    @property
    def mode(self) -> Mode:
        """How to look at it."""
        return next(mode for mode, button in self._buttons.items() if button.isChecked())

    def button(self, mode: Mode) -> QRadioButton:
        """Return the button of a mode."""
        return self._buttons[mode]

    def choose(self, mode: Mode) -> None:
        """Choose a mode, as a person would."""
        self._buttons[mode].setChecked(True)

    def choose_next(self) -> None:
        """Choose the next mode that is possible; after the last comes off."""
        modes = [mode for mode, button in self._buttons.items() if button.isEnabled()]
        if self.mode in modes:
            self.choose(modes[(modes.index(self.mode) + 1) % len(modes)])

    def show_possible(self, fitted: bool, whole: bool = True) -> None:
        """Enable comparing; the difference once what there is of a reconstruction is `whole`."""
        for mode, button in self._buttons.items():
            button.setEnabled(fitted and (mode != "difference" or whole))
        if not self.button(self.mode).isEnabled():
            self.button("off").setChecked(True)

    def _toggled(self, _: QRadioButton, checked: bool) -> None:
        if checked:
            for mode, option in self._options.items():
                option.setVisible(mode == self.mode)
            self.mode_chosen.emit()
