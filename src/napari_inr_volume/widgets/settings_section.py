"""The panel's second part: how to fit. A preset, and under Advanced each of its numbers."""

from __future__ import annotations

from typing import Any, cast

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QFormLayout,
    QLabel,
    QWidget,
)

from ..core.choices import Device
from ..core.errors import InrError
from ..fields.registry import PRESETS, find_kind, find_preset, settings_to_dict
from ..fields.settings import Settings
from ..target import Target
from .elided import ElidedBox
from .kept_row import KeptRow
from .plot import SizePlot
from .section import AdviceLine, Section, TextLine
from .settings_form import SettingsForm
from .target_row import TargetRow

CUSTOM = "custom"  # what a preset becomes once a number of it is changed
PRESET_WORDS = {  # what it gives and what it costs
    "fast": "A first look in the shortest time. Fine detail stays blurred.",
    "default": "The usual choice: clearly sharper than fast, in a few times its time.",
    "quality": "The sharpest in a file as small as that of default, in about twice its time.",
    "paper-2": "As in Sheibanifard and Yu 2023, with 2 layers, to compare with. Hours without a GPU.",
    "paper-3": "As in Sheibanifard and Yu 2023, with 3 layers, to compare with. Hours without a GPU.",
    "paper-4": "As in Sheibanifard and Yu 2023, with 4 layers, to compare with. Hours without a GPU.",
    CUSTOM: "Your own numbers, under Advanced.",
}


class SettingsSection(Section):
    """Gives `settings`, `target`, `max_error` and `device`; emits `changed` on every edit."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__("Settings", "How large the network is and how long it is fitted.")
        self.preset = _preset_box()
        self.preset_words = TextLine()
        self.preset_words.setToolTip("What the preset gives, and what it costs.")
        self.target_row = TargetRow()
        self.target_kind, self.target_value = self.target_row.kind, self.target_row.value
        self.kept = KeptRow()
        form = QFormLayout()
        form.addRow(_label("P&reset", self.preset), self.preset)
        form.addRow(self.preset_words)
        form.addRow(_label("&Target", self.target_kind), self.target_row)
        form.addRow(_label("&Keep", self.kept.kept), self.kept)
        self.body.addLayout(form)

        self.advanced = Section("Advanced", "Each number by itself.", expanded=False)
        self.body.addWidget(self.advanced)
        self._shown = find_preset("default")
        self.form = self._make_form(self._shown)

        self.prediction = TextLine("Choose a volume to see what to expect.")
        self.prediction.setToolTip(
            "Estimates: size of the .inr, its ratio (stored pixels of the source to bytes of the file), and"
            " time of the fit, from a short trial on this device or from the last fit. Measuring afterwards"
            " is not included."
        )
        self.sizes = SizePlot()
        self.sizes.hide()  # without a target there is nothing to choose
        self.banner = AdviceLine()
        self.locked = TextLine("Locked while a fit is running.")
        self.locked.hide()
        self.exact_prediction = TextLine()
        self.exact_prediction.setToolTip(
            "Estimates, from coding parts of the volume: size of the exact layer, time to make it after the"
            " fit, and the whole file with its ratio."
        )
        self.exact_prediction.hide()
        for line in (self.prediction, self.sizes, self.exact_prediction, self.banner, self.locked):
            self.body.addWidget(line)
        self.show_settings(self._shown)
        self._say_preset(self.preset.currentText())
        self.preset.currentTextChanged.connect(self._say_preset)
        self.preset.textActivated.connect(self._choose_preset)
        self.target_row.edited.connect(self.changed)
        self.kept.edited.connect(self.changed)
        self.sizes.chosen.connect(self.target_row.choose_size)

    @property
    def target(self) -> Target:
        """What the file is to be."""
        return self.target_row.target

    def show_target(self, target: Target) -> None:
        """Set the target."""
        self.target_row.show_target(target)

    @property
    def max_error(self) -> float | None:
        """How far a voxel of the exact layer may be off, in the volume's units; None: no such layer."""
        return self.kept.max_error

    @property
    def device(self) -> Device:
        """Where to compute."""
        return cast(Device, self.form.device.value)

    @property
    def settings(self) -> Settings:
        """What is set."""
        return self.form.applied_to(self._shown, self.preset.currentText())

    def show_settings(self, settings: Settings) -> None:
        """Set the controls, which are those of the settings' kind of field."""
        self._shown = settings
        if settings.field.kind != self.form.kind.name:
            device = self.device
            self.advanced.body.removeWidget(self.form)
            self.form.hide()
            self.form.deleteLater()
            self.form = self._make_form(settings)
            self.form.show_device(device)
        self.preset.setCurrentText(settings.preset if settings.preset in PRESETS else CUSTOM)
        self.form.show_settings(settings)
        self.changed.emit()

    def _make_form(self, settings: Settings) -> SettingsForm:
        form = SettingsForm(find_kind(settings.field.kind))
        form.edited.connect(self._edited)
        self.advanced.body.addWidget(form)
        return form

    def show_prediction(self, words: str, caution: str | None = None, exact: str = "") -> None:
        """Say what to expect of the preview and of the exact layer, and what must be said of such a file."""
        self.prediction.setText(words)
        self.show_exact_prediction(exact)
        self.banner.show_words(caution)

    def show_sizes(self, points: list[tuple[int, float]], planned: tuple[int, float] | None) -> None:
        """Show sizes to choose from, each with its PSNR, and what the target comes to; nothing if none."""
        if points:
            self.sizes.show_points(points, planned)
        self.sizes.setVisible(bool(points))

    def show_exact_prediction(self, words: str) -> None:
        """Say what to expect of the exact layer."""
        self.exact_prediction.setText(words)
        self.exact_prediction.setVisible(bool(words))

    def show_device(self, device: Device) -> None:
        """Set the device."""
        self.form.show_device(device)

    def lock(self, locked: bool) -> None:
        """Lock the settings while they are in use, and say so."""
        for box in (self.preset, self.target_row, self.kept, self.sizes):
            box.setEnabled(not locked)
        self.advanced.setEnabled(not locked)
        self.locked.setVisible(locked)

    def _say_preset(self, name: str) -> None:
        self.preset_words.setText(PRESET_WORDS.get(name, ""))

    def _choose_preset(self, name: str) -> None:
        if name in PRESETS:
            self.show_settings(find_preset(name))
        else:
            self._edited()

    def _edited(self) -> None:
        if self.settings != self._shown:  # the device is none of the preset's
            self.preset.setCurrentText(CUSTOM)
        self.changed.emit()


def to_fields(settings: Settings) -> dict[str, Any]:
    """Return settings as JSON types, to be remembered."""
    return settings_to_dict(settings)


def target_from(fields: Any) -> Target:
    """Return the target remembered, or that of a preset if it is not sound."""
    try:
        return Target(**fields)
    except (TypeError, InrError):
        return Target()


def _preset_box() -> ElidedBox:
    box = ElidedBox(
        "All settings at once. fast and default differ in the steps, quality has a finer LR too; paper-2, -3"
        " and -4 are the paper's, with 2, 3 and 4 layers. Changing a number under Advanced makes it custom."
    )
    for name in (*PRESETS, CUSTOM):
        box.addItem(name)
        box.setItemData(box.count() - 1, PRESET_WORDS.get(name, ""), Qt.ItemDataRole.ToolTipRole)
    return box


def _label(words: str, buddy: QWidget) -> QLabel:
    label = QLabel(words)
    label.setBuddy(buddy)
    label.setToolTip(buddy.toolTip())
    return label
