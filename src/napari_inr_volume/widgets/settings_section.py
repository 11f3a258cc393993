"""The panel's second part: how to fit. A preset, and under Advanced each of its numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast, get_args

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QSpinBox,
    QWidget,
)

from ..core.choices import Device
from ..core.errors import InrError
from ..fields.registry import PRESETS, find_preset, settings_to_dict
from ..fields.settings import Settings
from ..fields.siren.config import SirenConfig, siren_of
from ..target import Target, TargetKind
from .section import AdviceLine, Section, TextLine

CUSTOM = "custom"  # what a preset becomes once a number of it is changed
PRESET_WORDS = {
    "fast": "a first look: a quarter of the steps of default",
    "default": "x4 in the plane, every slice kept",
    "quality": "x2 in the plane, four times the steps of default",
    "paper-2": "Sheibanifard and Yu 2023: x4 on every axis, 2 layers",
    "paper-3": "Sheibanifard and Yu 2023: x4 on every axis, 3 layers",
    "paper-4": "Sheibanifard and Yu 2023: x4 on every axis, 4 layers",
}


# Words, suffix, unit, least, most and usual value of each kind of target.
TARGETS: dict[TargetKind, tuple[str, str, float, float, float, float]] = {
    "preset": ("as the preset", "", 1.0, 0.0, 0.0, 0.0),
    "bytes": ("file size", " kB", 1e3, 0.1, 1e6, 30.0),
    "ratio": ("ratio", ":1", 1.0, 1.0, 1e6, 1000.0),
    "psnr": ("PSNR", " dB", 1.0, 5.0, 150.0, 36.0),
}


class SettingsSection(Section):
    """Gives `settings` and `device`; emits `changed` on every edit."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__("Settings", "How large the network is and how long it is fitted.")
        self._filling = False
        self.preset = QComboBox()
        for name in PRESETS:
            self.preset.addItem(name)
            self.preset.setItemData(self.preset.count() - 1, PRESET_WORDS.get(name, ""), 3)  # tooltip
        self.preset.addItem(CUSTOM)
        self.preset.setToolTip(
            "All settings at once. fast, default and quality differ in the steps; paper-2, -3 and -4 are the"
            " paper's, with 2, 3 and 4 layers. Changing a number under Advanced makes it custom."
        )
        self.target_kind = QComboBox()
        for kind, (words, *_) in TARGETS.items():
            self.target_kind.addItem(words, kind)
        self.target_kind.setToolTip(
            "What the file is to be. A size, a ratio or a PSNR of the reconstruction (peak: the intensity"
            " range) chooses factor, hidden features and bits a weight, after a short look at the volume; the"
            " preset gives the steps and all else."
        )
        self.target_value = _decimal(0.0, 1e6, 1, 1.0)
        self.target_value.setAccessibleName("target")
        form = QFormLayout()
        form.addRow(_label("P&reset", self.preset), self.preset)
        form.addRow(_label("&Target", self.target_kind), self._target_row())
        self.body.addLayout(form)

        self.advanced = Section("Advanced", "Each number by itself.", expanded=False)
        self.body.addWidget(self.advanced)
        self._add_numbers()

        self.prediction = TextLine("Choose a volume to see what to expect.")
        self.prediction.setToolTip(
            "Size of the .inr, stored pixels of the source against it, and time of the fit, from a short"
            " trial on this device or from the last fit. An estimate: measuring afterwards is not counted."
        )
        self.banner = AdviceLine()
        self.locked = TextLine("Locked while a fit is running.")
        self.locked.hide()
        for line in (self.prediction, self.banner, self.locked):
            self.body.addWidget(line)
        self.show_settings(find_preset("default"))
        self.show_target(Target())
        self.preset.textActivated.connect(self._choose_preset)
        self.target_kind.activated.connect(self._choose_target)
        self.target_value.valueChanged.connect(self._target_edited)

    def _target_row(self) -> QWidget:
        widget = QWidget()
        row = QHBoxLayout(widget)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.target_kind, 1)
        row.addWidget(self.target_value, 1)
        return widget

    def _add_numbers(self) -> None:
        self.factor = tuple(_decimal(1.0, 64.0, 2, 1.0) for _ in "zyx")
        for axis, box in zip("zyx", self.factor, strict=True):
            box.setToolTip(
                f"HR voxels per LR voxel along {axis}: larger is fitted faster and restored less well."
            )
            box.setAccessibleName(f"factor along {axis}")
            box.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)  # three of them fit in a row
        factors = QWidget()
        row = QHBoxLayout(factors)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(2)
        for box in self.factor:
            row.addWidget(box, 1)
        self.layers = _whole(2, 16, "Sine layers, as the paper counts them. More: finer detail, larger file.")
        self.hidden = _whole(
            1, 2048, "Hidden features, the width of a layer. The file grows with the square of it."
        )
        self.omega = _decimal(0.001, 1e4, 1, 1.0)
        self.omega.setToolTip(
            "omega_0, the frequency of the first layer. Higher: sharper, noisier, harder to fit."
        )
        self.rate = _decimal(1e-8, 1.0, 6, 1e-4)
        self.rate.setToolTip(
            "Learning rate of the optimiser. Too high and the fit diverges; wide networks and long fits need"
            " a lower one."
        )
        self.batch = _whole(1, 2**24, "LR voxels a step. More: smoother, slower, more memory.", 1024)
        self.steps = _whole(1, 10_000_000, "Steps of the fit. Twice the steps take twice the time.", 1000)
        self.tuning = _whole(
            0, 10_000_000, "Steps after these with weights rounded as in the file, to learn that back.", 100
        )
        self.bits = _decimal(1.0, 16.0, 1, 0.5)
        self.bits.setToolTip(
            "Bits of the file for each weight. Fewer: a smaller file that keeps less of the fit."
        )
        self.has_lr_psnr = QCheckBox()
        self.has_lr_psnr.setToolTip("End the fit as soon as the LR reaches the PSNR beside.")
        self.has_lr_psnr.setAccessibleName("stop at a PSNR of the LR")
        self.lr_psnr = _decimal(1.0, 200.0, 1, 1.0)
        self.lr_psnr.setSuffix(" dB")
        self.lr_psnr.setValue(45.0)
        self.lr_psnr.setToolTip(
            "PSNR of the LR in dB (peak: the intensity range) at which the fit ends before its last step."
        )
        lr_psnr = QWidget()
        row = QHBoxLayout(lr_psnr)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.has_lr_psnr)
        row.addWidget(self.lr_psnr, 1)
        self.device_box = QComboBox()
        self.device_box.addItems(get_args(Device))
        self.device_box.setToolTip("Where to compute. auto takes a GPU where there is one, else the CPU.")
        self.seed = _whole(0, 2**31 - 1, "Where the random numbers start: the same seed gives the same file.")

        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setHorizontalSpacing(8)
        form.setVerticalSpacing(3)
        for words, buddy, field in (
            ("Factor z, y, x", self.factor[0], factors),
            ("Layers", self.layers, self.layers),
            ("Hidden features", self.hidden, self.hidden),
            ("omega_0", self.omega, self.omega),
            ("Learning rate", self.rate, self.rate),
            ("Batch", self.batch, self.batch),
            ("Steps", self.steps, self.steps),
            ("Tuning steps", self.tuning, self.tuning),
            ("Bits a weight", self.bits, self.bits),
            ("LR PSNR", self.has_lr_psnr, lr_psnr),
            ("Device", self.device_box, self.device_box),
            ("Seed", self.seed, self.seed),
        ):
            form.addRow(_label(words, buddy), field)
        self.advanced.body.addLayout(form)
        self.lr_psnr.setEnabled(False)
        self.has_lr_psnr.toggled.connect(self.lr_psnr.setEnabled)
        self.has_lr_psnr.toggled.connect(self._edited)
        self.device_box.textActivated.connect(self.changed)
        for box in (*self.factor, self.omega, self.rate, self.bits, self.lr_psnr):
            box.valueChanged.connect(self._edited)
        for whole in (self.layers, self.hidden, self.batch, self.steps, self.tuning, self.seed):
            whole.valueChanged.connect(self._edited)

    @property
    def target(self) -> Target:
        """What the file is to be."""
        kind: TargetKind = self.target_kind.currentData()
        _, _, unit, *_ = TARGETS[kind]
        return Target(kind=kind, value=unit * self.target_value.value())

    def show_target(self, target: Target) -> None:
        """Set the target."""
        self._filling = True
        self.target_kind.setCurrentIndex(list(TARGETS).index(target.kind))
        _, suffix, unit, low, high, usual = TARGETS[target.kind]
        self.target_value.setSuffix(suffix)
        self.target_value.setRange(low, high)
        self.target_value.setValue(target.value / unit if target.kind != "preset" else usual)
        self.target_value.setVisible(target.kind != "preset")
        self._filling = False

    def _choose_target(self) -> None:
        kind: TargetKind = self.target_kind.currentData()
        _, _, unit, *_, usual = TARGETS[kind]
        self.show_target(Target(kind=kind, value=unit * usual))
        self.changed.emit()

    def _target_edited(self) -> None:
        if not self._filling:
            self.changed.emit()

    @property
    def device(self) -> Device:
        """Where to compute."""
        return cast(Device, self.device_box.currentText())

    @property
    def settings(self) -> Settings:
        """The settings that the controls show."""
        z, y, x = (box.value() for box in self.factor)
        return Settings(
            preset=self.preset.currentText(),
            factor=(z, y, x),
            field=SirenConfig(
                layers=self.layers.value(),
                hidden_features=self.hidden.value(),
                omega_0=self.omega.value(),
                hidden_omega=siren_of(self._shown)[0].hidden_omega,
            ),
            fit=replace(
                siren_of(self._shown)[1],
                steps=self.steps.value(),
                tuning_steps=self.tuning.value(),
                weight_bits=self.bits.value(),
                batch=self.batch.value(),
                learning_rate=self.rate.value(),
                target_psnr=self.lr_psnr.value() if self.has_lr_psnr.isChecked() else None,
                seed=self.seed.value(),
            ),
        )

    def show_settings(self, settings: Settings) -> None:
        """Set the controls."""
        self._filling = True
        self._shown = settings
        self.preset.setCurrentText(settings.preset if settings.preset in PRESETS else CUSTOM)
        for box, value in zip(self.factor, settings.factor, strict=True):
            box.setValue(value)
        siren, fit = siren_of(settings)
        self.layers.setValue(siren.layers)
        self.hidden.setValue(siren.hidden_features)
        self.omega.setValue(siren.omega_0)
        self.rate.setValue(fit.learning_rate)
        self.batch.setValue(fit.batch)
        self.steps.setValue(fit.steps)
        self.tuning.setValue(fit.tuning_steps)
        self.bits.setValue(fit.weight_bits)
        self.seed.setValue(fit.seed)
        self.has_lr_psnr.setChecked(fit.target_psnr is not None)
        if fit.target_psnr is not None:
            self.lr_psnr.setValue(fit.target_psnr)
        self._filling = False
        self.changed.emit()

    def show_device(self, device: Device) -> None:
        """Set the device."""
        self.device_box.setCurrentText(device)

    def lock(self, locked: bool) -> None:
        """Hold the settings fast while they are in use, and say so."""
        for box in (self.preset, self.target_kind, self.target_value):
            box.setEnabled(not locked)
        self.advanced.setEnabled(not locked)
        self.locked.setVisible(locked)

    def _choose_preset(self, name: str) -> None:
        if name in PRESETS:
            self.show_settings(find_preset(name))
        else:
            self._edited()

    def _edited(self) -> None:
        if not self._filling:
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


def _label(words: str, buddy: QWidget) -> QLabel:
    label = QLabel(words)
    label.setBuddy(buddy)
    label.setToolTip(buddy.toolTip())
    return label


def _whole(low: int, high: int, tooltip: str, step: int = 1) -> QSpinBox:
    box = QSpinBox()
    box.setRange(low, high)
    box.setSingleStep(step)
    box.setGroupSeparatorShown(True)
    box.setToolTip(tooltip)
    _let_shrink(box)
    return box


def _decimal(low: float, high: float, decimals: int, step: float) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setDecimals(decimals)
    box.setRange(low, high)
    box.setSingleStep(step)
    _let_shrink(box)
    return box


def _let_shrink(box: QAbstractSpinBox) -> None:
    """Let a box be narrower than its largest number, so that all of them fit in the panel."""
    box.setStyleSheet("min-width: 24px;")  # napari's style says 70
    box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
