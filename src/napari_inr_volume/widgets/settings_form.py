"""The numbers of a fit as a form: factor, what a kind of field says may be changed of it, device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast, get_args

from magicgui.widgets import CheckBox, ComboBox, Container, FloatSpinBox, SpinBox
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QLabel,
    QSizePolicy,
    QWidget,
)

from ..core.choices import Device
from ..fields.base import FieldKind
from ..fields.settings import Option, Settings

FACTOR = (1.0, 64.0)  # least and most
USUAL_PSNR = 45.0  # dB, what an option that may be left out begins with


class SettingsForm(QWidget):
    """Shows settings of one kind of field, and gives them back as they were edited."""

    edited = Signal()

    def __init__(self, kind: FieldKind) -> None:
        super().__init__()
        self.kind = kind
        self.factor = [_factor(axis) for axis in "zyx"]
        self.options = {option.name: _control(option) for option in kind.options}
        self.device = ComboBox(
            name="device",
            label="Device",
            choices=get_args(Device),
            tooltip="Where to compute: auto uses a GPU if there is one, else the CPU.",
        )
        factors = Container(
            label="Factor z, y, x",
            layout="horizontal",
            widgets=self.factor,
            labels=False,
            tooltip="HR voxels per LR voxel along each axis.",
        )
        factors.margins = (0, 0, 0, 0)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)  # in a narrow panel
        form.setHorizontalSpacing(8)
        form.setVerticalSpacing(3)
        self._filling = False
        for control in (factors, *self.options.values(), self.device):
            label = QLabel(control.label)
            label.setToolTip(control.tooltip)
            label.setBuddy(control.native)
            form.addRow(label, control.native)
            control.changed.connect(self._edited)
        for box in self.findChildren(QComboBox):
            let_shrink(box)

    def _edited(self, _: object = None) -> None:
        if not self._filling:
            self.edited.emit()

    def show_settings(self, settings: Settings) -> None:
        """Set the controls without signalling an edit."""
        self._filling = True
        for box, value in zip(self.factor, settings.factor, strict=True):
            box.value = value
        for option in self.kind.options:
            self.options[option.name].value = _allowed(option, option.of(settings))
        self._filling = False

    def show_device(self, device: Device) -> None:
        """Set the device without signalling an edit; an unknown one is ignored."""
        if device in get_args(Device):
            self._filling = True
            self.device.value = device
            self._filling = False

    def applied_to(self, settings: Settings, preset: str) -> Settings:
        """Return settings with what the controls say; what they do not show stays."""
        z, y, x = (box.value for box in self.factor)
        values: dict[str, dict[str, Any]] = {"field": {}, "fit": {}}
        for option in self.kind.options:
            values[option.place][option.name] = self.options[option.name].value
        edited = replace(
            settings,
            preset=preset,
            factor=(z, y, x),
            field=replace(cast(Any, settings.field), **values["field"]),
            fit=replace(cast(Any, settings.fit), **values["fit"]),
        )
        same = edited == replace(settings, preset=preset)
        return edited if same else replace(edited, by_volume=())  # a person has chosen


class IfTicked(Container):
    """A number that counts only if the box before it is ticked: else the value is None."""

    def __init__(self, option: Option, number: FloatSpinBox | SpinBox) -> None:
        self.ticked = CheckBox(text="", tooltip=option.help)
        self.number = number
        super().__init__(
            name=option.name,
            label=option.title,
            layout="horizontal",
            widgets=[self.ticked, number],
            labels=False,
            tooltip=option.help,
        )
        self.margins = (0, 0, 0, 0)
        self.ticked.native.setAccessibleName(option.title)
        self.ticked.native.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.ticked.changed.connect(self._enable)
        self._enable(False)

    @property
    def value(self) -> Any:
        """The number, or None."""
        return self.number.value if self.ticked.value else None

    @value.setter
    def value(self, value: Any) -> None:
        self.ticked.value = value is not None
        if value is not None:
            self.number.value = value

    def _enable(self, ticked: bool) -> None:
        self.number.enabled = ticked


def _factor(axis: str) -> FloatSpinBox:
    words = f"HR voxels per LR voxel along {axis}: larger: faster to fit, harder to restore."
    low, high = FACTOR
    box = FloatSpinBox(name=axis, min=low, max=high, value=low, step=1.0, tooltip=words)
    box.native.setDecimals(2)
    box.native.setAccessibleName(f"factor along {axis}")
    box.native.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)  # three of them fit in a row
    let_shrink(box.native)
    return box


def _control(option: Option) -> Any:
    """Return what a person changes an option with."""
    words = {"name": option.name, "label": option.title, "tooltip": option.help}
    if option.value is str:
        return ComboBox(choices=option.choices, **words)
    if option.value is int:
        low, high = int(option.low), int(option.high)
        number = SpinBox(min=low, max=high, value=low, step=int(option.step), **words)
    else:
        number = FloatSpinBox(min=option.low, max=option.high, value=option.low, **words)
        box: QDoubleSpinBox = number.native
        box.setDecimals(option.decimals)
        box.setSingleStep(option.step)
        number.value = _allowed(option, USUAL_PSNR) if option.optional else option.low
    number.native.setGroupSeparatorShown(True)
    number.native.setAccessibleName(option.title)
    if option.unit:
        number.native.setSuffix(f" {option.unit}")
    let_shrink(number.native)
    return IfTicked(option, number) if option.optional else number


def _allowed(option: Option, value: Any) -> Any:
    """Return the nearest value that the form allows."""
    if value is None or option.value is str:
        return value
    return min(max(value, option.value(option.low)), option.value(option.high))


def let_shrink(box: QAbstractSpinBox | QComboBox, least: int = 24) -> None:
    """Let a box be narrower than the longest that it shows, so that all of them fit in the panel.

    `least` is how many pixels its words keep.
    """
    box.setStyleSheet(f"min-width: {least}px;")  # napari's style says 70
    box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
