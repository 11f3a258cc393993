"""The panel's parts by themselves: no viewer, no work."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from napari.layers import Image
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QAbstractButton, QAbstractSpinBox, QComboBox, QSlider, QWidget

from napari_inr_volume.core.metrics import Errors, Figures
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.core.windows import WINDOWS
from napari_inr_volume.fields.registry import PRESETS, find_preset
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.plugin.figures import Line
from napari_inr_volume.plugin.kept_fits import settings_from
from napari_inr_volume.plugin.work.fit import FitReport
from napari_inr_volume.superres.catalogue import CHOICES
from napari_inr_volume.widgets.compare_section import CompareSection
from napari_inr_volume.widgets.figure_table import FigureTable
from napari_inr_volume.widgets.file_section import FileSection
from napari_inr_volume.widgets.fit_section import FitSection
from napari_inr_volume.widgets.reconstruct_section import ReconstructSection
from napari_inr_volume.widgets.section import Section
from napari_inr_volume.widgets.settings_section import SettingsSection, to_fields
from napari_inr_volume.widgets.source_section import SourceSection

pytestmark = pytest.mark.gui

SECTIONS = [SourceSection, SettingsSection, FitSection, ReconstructSection, CompareSection]
LEFT = Qt.MouseButton.LeftButton


def shown(qtbot, section: type) -> QWidget:
    widget = section()
    qtbot.addWidget(widget)
    widget.resize(340, 600)
    widget.show()
    return widget


@pytest.mark.parametrize("section", SECTIONS)
def test_every_control_has_a_tooltip_and_is_reached_by_keyboard(qtbot, section: type) -> None:
    widget = shown(qtbot, section)
    for part in widget.findChildren(Section):
        part.heading.setChecked(True)
    for kind in (QAbstractButton, QAbstractSpinBox, QComboBox, QSlider):
        for control in filter(QWidget.isVisible, widget.findChildren(kind)):
            whole = control if control.toolTip() else control.parentWidget()  # a labelled slider has parts
            assert whole.toolTip(), f"{control} in {section.__name__}"
            if "Label" not in type(control).__name__:
                assert control.focusPolicy() & Qt.FocusPolicy.TabFocus, f"{control} in {section.__name__}"


@pytest.mark.parametrize("section", SECTIONS)
def test_section_fits_in_a_narrow_panel(qtbot, section: type) -> None:
    assert shown(qtbot, section).minimumSizeHint().width() <= 340


def test_section_collapses_and_comes_back(qtbot) -> None:
    widget = shown(qtbot, CompareSection)
    qtbot.mouseClick(widget.heading, LEFT)
    assert not widget.figures.isVisible()
    qtbot.mouseClick(widget.heading, LEFT)
    assert widget.figures.isVisible()


# Settings


@pytest.mark.parametrize("name", PRESETS)
def test_choosing_a_preset_gives_that_preset(qtbot, name: str) -> None:
    widget = shown(qtbot, SettingsSection)
    widget.preset.setCurrentText(name)
    widget.preset.textActivated.emit(name)
    assert widget.settings == find_preset(name)


def test_changing_a_number_makes_the_preset_custom_and_says_so_once(qtbot) -> None:
    widget = shown(qtbot, SettingsSection)
    heard: list[None] = []
    widget.changed.connect(lambda: heard.append(None))
    widget.form.options["steps"].value = 123
    assert widget.settings.fit.steps == 123
    assert widget.settings.preset == "custom"
    assert len(heard) == 1


def test_target_counts_only_if_it_is_ticked(qtbot) -> None:
    widget = shown(qtbot, SettingsSection)
    target = widget.form.options["target_psnr"]
    target.number.value = 41.5
    assert widget.settings.fit.target_psnr is None
    target.ticked.value = True
    assert widget.settings.fit.target_psnr == 41.5


def test_locked_settings_cannot_be_changed_and_say_why(qtbot) -> None:
    widget = shown(qtbot, SettingsSection)
    widget.lock(True)
    assert not widget.preset.isEnabled()
    assert not widget.form.options["steps"].native.isEnabled()
    assert widget.locked.isVisible()


def test_remembered_settings_survive_json_and_unsound_ones_are_forgotten() -> None:
    settings = replace(find_preset("paper-3"), preset="custom", factor=(1.0, 3.0, 2.5))
    fields = json.loads(json.dumps(to_fields(settings)))
    assert settings_from(fields) == settings
    for damaged in (None, {}, {**fields, "factor": [0, 4, 4]}, {**fields, "field": {"depth": 3}}):
        assert settings_from(damaged) is None


def test_advanced_is_collapsed_at_first(qtbot) -> None:
    widget = shown(qtbot, SettingsSection)
    assert not widget.form.options["steps"].native.isVisible()
    qtbot.mouseClick(widget.advanced.heading, LEFT, pos=QPoint(5, 5))
    assert widget.form.options["steps"].native.isVisible()


# Source


def hu(units: str = "HU") -> Volume:
    voxels = head_phantom((8, 16, 16)).voxels
    return Volume.from_array(voxels, (2.5, 0.75, 0.75), units=units, padding=-2000)


def test_volume_is_described_and_its_window_recognised(qtbot) -> None:
    widget = shown(qtbot, SourceSection)
    widget.show_volume(hu(), memory=12_000_000, limits=(-160.0, 240.0))
    assert "8 × 16 × 16 voxels" in widget.info.text()
    assert "2.50 × 0.75 × 0.75 mm" in widget.info.text()
    assert "12.0 MB more" in widget.info.text()
    assert widget.window_name == "soft tissue"


def test_what_is_special_about_a_volume_is_seen_and_goes_with_it(qtbot) -> None:
    widget = shown(qtbot, SourceSection)
    uneven = replace(hu().geometry, slice_positions=(0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 9.0))
    volume = replace(hu(), geometry=uneven, found=("GE", "8 files of 9"), notes=("1 mm assumed along z",))
    widget.show_volume(volume, memory=0, limits=(-160.0, 240.0))
    assert "GE, 8 files of 9" in widget.info.text()
    assert widget.notes.isVisible()
    assert widget.notes.text() == "Slice distances are uneven, 1 to 3 mm.\n1 mm assumed along z."
    assert volume.summary in widget.info.toolTip()
    widget.show_volume(hu(), memory=0, limits=(-160.0, 240.0))
    assert not widget.notes.isVisible()
    assert "1 mm assumed" not in widget.info.toolTip()
    widget.show_volume(volume, memory=0, limits=(-160.0, 240.0))
    widget.show_words("There is no volume.")
    assert not widget.notes.isVisible()
    assert "1 mm assumed" not in widget.info.toolTip()


def test_windows_in_hu_are_not_offered_for_other_values(qtbot) -> None:
    widget = shown(qtbot, SourceSection)
    widget.show_volume(hu("raw"), memory=0, limits=hu("raw").intensity_range)
    assert [widget.windows.itemData(index) for index in range(widget.windows.count())] == ["full"]


def test_chosen_layer_stays_chosen_when_it_is_renamed(qtbot) -> None:
    from napari.components import ViewerModel

    viewer = ViewerModel()
    first, second = (viewer.add_image(hu().voxels, name=name) for name in ("first", "second"))
    widget = shown(qtbot, SourceSection)
    widget.offer_layers(viewer)
    assert widget.layer is first
    widget.choose(second)
    second.name = "another name"
    widget.offer_layers(viewer)
    assert widget.layer is second
    assert isinstance(widget.layer, Image)


# Fit


def report(step: int, psnr: float = 30.0) -> FitReport:
    return FitReport(step=step, steps=200, loss=1.4e-4, psnr=psnr, seconds=1, seconds_left=61, preview=None)


def test_one_button_is_fit_then_stop_then_stopping(qtbot) -> None:
    widget = shown(qtbot, FitSection)
    assert not widget.fit.isEnabled()
    widget.show_idle(None)
    with qtbot.waitSignal(widget.fit_wanted):
        qtbot.mouseClick(widget.fit, LEFT)
    widget.show_running()
    assert "Stop" in widget.fit.text().replace("&", "")
    with qtbot.waitSignal(widget.stop_wanted):
        qtbot.mouseClick(widget.fit, LEFT)
    assert widget.fit.text() == "Stopping..."
    assert not widget.fit.isEnabled()


def test_continue_is_offered_after_a_stop_only_and_the_curve_goes_on(qtbot) -> None:
    widget = shown(qtbot, FitSection)
    widget.show_idle(None)
    assert not widget.go_on.isVisible()
    widget.show_running()
    widget.show_report(report(20))
    widget.show_idle(None, stopped=True)
    with qtbot.waitSignal(widget.continue_wanted):
        qtbot.mouseClick(widget.go_on, LEFT)
    widget.show_running()
    assert not widget.go_on.isVisible()
    widget.show_report(report(50))
    assert widget.plot.steps == [20, 50]


def test_report_is_shown_in_words_bar_and_plot(qtbot) -> None:
    widget = shown(qtbot, FitSection)
    widget.show_running()
    widget.show_report(report(20, psnr=0.0))
    assert "PSNR – dB" in widget.words.text()
    widget.show_report(report(50))
    assert "Step 50 of 200, 1 min 01 s left" in widget.words.text()
    assert "LR PSNR 30.0 dB, loss 1.4e-04" in widget.words.text()
    assert widget.bar.value() == widget.bar.maximum() // 4
    assert widget.plot.steps == [20, 50]
    course = widget.course()
    widget.show_course(None)
    assert widget.plot.steps == []
    widget.show_course(course)
    assert widget.plot.steps == [20, 50]
    assert "Step 50 of 200" in widget.words.text()


def test_plot_of_a_long_fit_does_not_grow_for_ever(qtbot) -> None:
    section = shown(qtbot, FitSection)
    plot = section.plot
    for step in range(5_000):
        plot.add(step, 30.0, 0.1)
    assert len(plot.steps) <= 2_000
    assert plot.steps == sorted(plot.steps)


# Reconstruct and compare


def offered(section: ReconstructSection) -> list[str]:
    return [section.upscalers.itemText(index) for index in range(section.upscalers.count())]


def test_upscalers_are_those_that_can_be_found_and_a_way_to_own_ones(qtbot) -> None:
    widget = shown(qtbot, ReconstructSection)
    names = [widget.upscalers.itemData(index) for index in range(widget.upscalers.count())]
    assert offered(widget) == ["auto", "SRDenseNet", "SPAN (small)", "Lanczos", "Own weights..."]
    assert sorted(names[:-1]) == sorted(CHOICES)
    assert widget.upscaler == "auto"
    assert not widget.words.isVisible()


def test_upscaler_whose_weights_are_missing_cannot_be_chosen_and_it_is_said(qtbot) -> None:
    widget = shown(qtbot, ReconstructSection)
    widget.show_missing([])
    assert not widget.words.isVisible()
    widget.show_missing(["span"])
    assert "The weights of SPAN are missing from this installation" in widget.words.text()
    assert offered(widget)[2] == "SPAN (no weights)"
    assert [widget.upscalers.model().item(index).isEnabled() for index in (1, 2)] == [True, False]


def test_asking_for_own_weights_leaves_the_choice_until_there_are_some(qtbot) -> None:
    widget = shown(qtbot, ReconstructSection)
    widget.show_upscaler("lanczos")
    with qtbot.waitSignal(widget.own_wanted):
        choose(widget, "Own weights...")
    assert (widget.upscaler, widget.upscalers.currentText()) == ("lanczos", "Lanczos")


def test_own_weights_stand_in_the_list_by_the_name_of_their_file(qtbot, tmp_path) -> None:
    widget = shown(qtbot, ReconstructSection)
    first, second = tmp_path / "first.safetensors", tmp_path / f"{'long' * 30}.safetensors"
    widget.show_own(first, "first tooltip")
    assert (widget.own, widget.upscaler) == (first, "auto")
    with qtbot.waitSignal(widget.upscaler_chosen):
        choose(widget, first.name)
    assert widget.upscaler == str(first)
    assert "first tooltip" in widget.upscalers.toolTip()
    widget.show_own(first, "better tooltip")
    assert widget.upscaler == str(first)
    assert "better tooltip" in widget.upscalers.toolTip()
    widget.show_own(second, "second")
    assert offered(widget)[-3:] == ["Lanczos", second.name, "Own weights..."]
    assert widget.minimumSizeHint().width() <= 340


def test_own_weights_that_go_leave_auto_only_if_they_were_chosen(qtbot, tmp_path) -> None:
    widget = shown(qtbot, ReconstructSection)
    path = tmp_path / "mine.safetensors"
    for name, left in ((str(path), "auto"), ("span", "span")):
        widget.show_own(path, "")
        widget.show_upscaler(name)
        widget.drop_own()
        assert (widget.own, widget.upscaler, len(offered(widget))) == (None, left, 5)


def choose(section: ReconstructSection, text: str) -> None:
    """Choose an entry of the list as a person does."""
    index = section.upscalers.findText(text)
    section.upscalers.setCurrentIndex(index)
    section.upscalers.activated.emit(index)


def cells(table: FigureTable) -> list[list[str]]:
    return [
        [table.item(row, column).text() for column in range(table.columnCount())]
        for row in range(table.rowCount())
    ]


def test_table_names_what_each_line_is_compared_with_and_shows_a_dash_until_there_is_a_figure(qtbot) -> None:
    table = shown(qtbot, CompareSection).figures.table
    figures = Figures(
        whole=Errors(psnr=40.94, rmse=36.4),
        body=Errors(psnr=37.1, rmse=57.2),
        window=Errors(psnr=float("nan"), rmse=float("nan")),
        ssim=0.98149,
    )
    table.show_regions("HU", WINDOWS["lung"])
    line = Line(name="LR fit", against="LR", in_slice=figures, whole=None)
    other = Line(name="Lanczos", against="original", in_slice=None, whole=None)
    table.show_figures("Slice 49", "Volume", [line, other])
    assert cells(table) == [
        ["Slice 49", "", "", "", ""],
        ["LR fit\nvs LR", "40.9 dB\n36 HU", "37.1 dB\n57 HU", "–", "0.981"],
        ["Lanczos\nvs original", "–", "–", "–", "–"],
        ["Volume", "", "", "", ""],
        ["LR fit\nvs LR", "–", "–", "–", "–"],
        ["Lanczos\nvs original", "–", "–", "–", "–"],
    ]
    assert "cannot be compared with the lines below" in table.item(1, 0).toolTip()
    assert "from -1350 to 150 HU" in table.horizontalHeaderItem(3).toolTip()
    assert not table.isColumnHidden(2)
    table.show_regions("raw", None)
    assert table.isColumnHidden(2)
    assert table.isColumnHidden(3)


def test_difference_needs_whole_results_and_the_rest_a_fit(qtbot) -> None:
    widget = shown(qtbot, CompareSection)
    widget.show_possible(True, False)
    assert widget.button("side by side").isEnabled()
    assert not widget.button("difference").isEnabled()
    widget.show_possible(True, True)
    widget.button("difference").click()
    widget.show_possible(True, False)
    assert widget.mode == "off"


def test_each_mode_shows_its_own_choice(qtbot) -> None:
    widget = shown(qtbot, CompareSection)
    widget.show_possible(True)
    choices = {"wipe": widget.edge, "difference": widget.absolute, "3D": widget.looks}
    for mode in ("side by side", *choices):
        widget.button(mode).click()
        assert [name for name, box in choices.items() if box.isVisible()] == [mode] * (mode in choices)


def test_looks_in_hu_are_offered_for_hu_alone(qtbot) -> None:
    widget = shown(qtbot, CompareSection)
    widget.offer_looks("HU")
    assert [widget.looks.itemText(index) for index in range(widget.looks.count())] == [
        "Bone",
        "Skin",
        "Lung",
        "As shown",
    ]
    widget.looks.setCurrentIndex(2)
    widget.offer_looks("HU")
    assert widget.look == "lung"
    widget.offer_looks("raw")
    assert widget.look == "as shown"


def test_default_of_the_panel_is_a_preset_that_the_preferences_offer() -> None:
    assert isinstance(find_preset("default"), Settings)
    assert {"fast", "default", "quality", "paper-2", "paper-3", "paper-4"} == set(PRESETS)


def test_what_is_in_view_is_read_whole_in_a_narrow_panel(qtbot) -> None:
    section = FileSection()
    qtbot.addWidget(section)
    section.show_possible(True, exact=True)
    section.show_view("Slice 15: preview, sharpening in the background")
    section.resize(300, 300)
    section.show()
    qtbot.waitUntil(lambda: section.view.width() > 250)
    assert section.view.height() >= section.view.heightForWidth(section.view.width())
