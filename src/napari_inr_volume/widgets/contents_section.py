"""The part of the widget INR file that shows all that an `.inr` declares."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QHeaderView, QSizePolicy, QTreeWidget, QTreeWidgetItem

from ..core.text import printable
from ..core.units import suffix
from ..core.words import in_bytes, in_decibels, in_error, in_ratio
from ..exact.layer import ExactLayer
from ..fields.registry import find_kind
from ..inr_volume import InrVolume
from ..io.inr_file import SLABS
from ..plugin.notices import plain
from ..plugin.work.inr import Contents
from ..superres.catalogue import title_of
from .section import AdviceLine, Section, TextLine

PEAK = "Peak: the intensity range of the original."
OPEN = ("File", "Quality when it was made")  # the groups that are seen at first

Line = tuple[str, str, str]  # name, value, what it means with its unit
Group = tuple[str, list[Line]]


class ContentsSection(Section):
    """A word of warning, and a tree of groups."""

    def __init__(self) -> None:
        super().__init__("Contents", "What the file declares.")
        self.banner = AdviceLine()
        self.words = TextLine()
        self.tree = Tree()
        for widget in (self.banner, self.words, self.tree):
            self.body.addWidget(widget)
        self.show_words("")

    def show_words(self, words: str) -> None:
        """Show why there is nothing to show."""
        self.banner.show_words(None)
        self.tree.hide()
        self.words.setText(words)
        self.words.setVisible(bool(words))

    def show_contents(self, contents: Contents) -> None:
        """Show what an `.inr` holds."""
        self.banner.show_ratio(contents.ratio, contents.inr.units)
        self.words.setText(" ".join(contents.notes))
        self.words.setVisible(bool(contents.notes))
        self.tree.show_groups(groups_of(contents))
        self.tree.show()


class Tree(QTreeWidget):
    """Groups of names and values, as high as what is unfolded; the panel scrolls, not the tree."""

    def __init__(self) -> None:
        super().__init__()
        self.setColumnCount(2)
        self.setHeaderHidden(True)
        self.setToolTip("What the file declares; each line's tooltip says what it means, and in which unit.")
        self.setIndentation(12)
        self.setUniformRowHeights(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.header().setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
        self.header().setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        self.itemExpanded.connect(self._fit_height)
        self.itemCollapsed.connect(self._fit_height)

    def show_groups(self, groups: list[Group]) -> None:
        """Show groups; those that were unfolded stay so."""
        before = {item.text(0): item.isExpanded() for item in self._tops()}
        self.clear()
        for name, lines in groups:
            top = QTreeWidgetItem([name])
            font = top.font(0)
            font.setBold(True)
            top.setFont(0, font)
            self.addTopLevelItem(top)
            top.setFirstColumnSpanned(True)
            for label, value, meaning in lines:
                item = QTreeWidgetItem([printable(label), printable(value)])
                item.setToolTip(0, plain(meaning))
                item.setToolTip(1, f"{plain(value)}\n{plain(meaning)}")  # whole, should it be cut
                item.setSizeHint(1, QSize(0, self._row_height))  # not of 0, whose width follows the names
                top.addChild(item)
            top.setSizeHint(1, QSize(0, self._row_height))
            top.setExpanded(before.get(name, name in OPEN))
        self._fit_height()

    @property
    def _row_height(self) -> int:
        return self.fontMetrics().height() + 4

    def _tops(self) -> list[QTreeWidgetItem]:
        found = (self.topLevelItem(index) for index in range(self.topLevelItemCount()))
        return [item for item in found if item is not None]

    def _fit_height(self, _: object = None) -> None:
        rows = sum(1 + (item.childCount() if item.isExpanded() else 0) for item in self._tops())
        self.setFixedHeight(rows * self._row_height + 2 * self.frameWidth() + 4)


def groups_of(contents: Contents) -> list[Group]:
    """Return all that an `.inr` declares."""
    inr = contents.inr
    groups = [
        ("File", _file(contents)),
        ("Quality when it was made", _quality(contents)),
        ("Original", _original(inr)),
        ("LR grid", _lr(inr)),
        ("Network", _network(inr)),
        ("Fit", _fit(inr)),
        ("Upscaler", _upscaler(contents)),
    ]
    return (
        groups
        if inr.exact is None
        else [*groups, ("Exact layer", _exact(inr.exact, _unit(inr), contents.file_bytes))]
    )


def _file(contents: Contents) -> list[Line]:
    path, size = contents.path, contents.file_bytes
    lines = [
        ("Name", "not from a file", "Fitted here, or a sample.")
        if path is None
        else ("Name", path.name, str(path)),
        ("Size", in_bytes(size), f"{size:,} bytes{', once it is saved' if path is None else ''}."),
        ("Ratio", in_ratio(contents.ratio), "Bytes of the source's stored pixels over bytes of the file."),
    ]
    if contents.ratio_with_model is not None:
        words = "The same with the bytes of the super-resolution model counted, which every reader needs."
        lines.append(("Ratio with model", in_ratio(contents.ratio_with_model), words))
    lines.append(("Format", contents.version, "Version of the .inr format."))
    for section in contents.sections:
        words = f"A part of the file; its checksum (CRC-32 {section.crc32}) matches."
        if section.tag == SLABS:
            words = "A part of the file; what it holds is checked when it is decoded."
        words += "" if section.known else " This version does not know what it is for."
        lines.append((f"Section {section.tag}", in_bytes(section.size), words))
    lines.append(("Written by", contents.inr.software, "Software that wrote the file."))
    return lines


def _exact(layer: ExactLayer, unit: str, size: int) -> list[Line]:
    bound = f"within ±{layer.max_error:g}{unit}" if layer.max_error else "as it was"
    words = "How far a voxel may be off from the original. Slices that are decoded already show it."
    preview = size - layer.nbytes
    return [
        ("Every voxel", bound, words),
        ("Its size", in_bytes(layer.nbytes), f"{layer.nbytes:,} bytes of the file."),
        ("Without it", in_bytes(preview), f"{preview:,} bytes: the network, which is the preview."),
    ]


def _quality(contents: Contents) -> list[Line]:
    """Return the figures of the file; where the upscaler it names is missing here, whose they are."""
    inr, quality = contents.inr, contents.inr.quality
    named = title_of(inr.upscaler.name)
    by = f", by {named}" if contents.notes else ""
    if quality is None:
        return [("Not measured", "", "The file records no figures.")]
    low, high = inr.intensity_range
    unit = _unit(inr)
    return [
        (
            "LR PSNR (range)",
            f"{in_decibels(quality.lr_psnr)} dB",
            f"The decoded LR against the Lanczos LR of the original. {PEAK}",
        ),
        (
            "HR PSNR (range)",
            f"{in_decibels(quality.hr_psnr)} dB{by}",
            f"The reconstruction against the original. {PEAK}",
        ),
        (
            "Lanczos (range)",
            f"{in_decibels(quality.lanczos_psnr)} dB",
            f"PSNR of the same LR put back by Lanczos alone, against the original. {PEAK}",
        ),
        ("Peak of the PSNR", f"{high - low:,.0f}{unit}", "Width of the original's intensity range."),
        ("HR RMSE", f"{in_error(quality.rmse)}{unit}{by}", "Root mean square error of the reconstruction."),
        ("HR 99 % below", f"{in_error(quality.p99)}{unit}{by}", "99th percentile of the absolute error."),
        (
            "HR largest error",
            f"{in_error(quality.max_error)}{unit}{by}",
            "Of all voxels of the reconstruction.",
        ),
    ]


def _original(inr: InrVolume) -> list[Line]:
    geometry, unit = inr.geometry, _unit(inr)
    low, high = inr.intensity_range
    lines = [
        *_grid(geometry.shape, geometry.spacing, geometry.origin),
        ("Slices", _slices(geometry.slice_positions), "Distances of the slices along z."),
    ]
    for axis, column in zip("zyx", zip(*geometry.direction, strict=True), strict=True):
        words = "Unit vector in the patient's x, y, z (LPS of DICOM)."
        lines.append((f"Direction of {axis}", _listed(column), words))
    padding = "none" if inr.padding is None else f"{inr.padding:,.0f}{unit}"
    return [
        *lines,
        ("Values", f"{inr.dtype}, {inr.units}", "Type and unit of the voxels."),
        ("Intensity range", f"{low:,.0f} to {high:,.0f}{unit}", "Padding not counted."),
        ("Padding", padding, "Voxels outside the scan circle; they decode to the lowest intensity."),
        (
            "Stored pixels",
            in_bytes(inr.source_bytes),
            f"{inr.source_bytes:,} bytes; the ratio is that to the file.",
        ),
    ]


def _lr(inr: InrVolume) -> list[Line]:
    geometry = inr.lr_geometry
    factor = " × ".join(f"{value:g}" for value in inr.factor)
    return [
        ("Factor (z, y, x)", factor, "HR voxels per LR voxel."),
        *_grid(geometry.shape, geometry.spacing, geometry.origin),
    ]


def _grid(shape: Iterable[int], spacing: Iterable[float], origin: Iterable[float]) -> list[Line]:
    millimetres = " × ".join(f"{value:.2f}" for value in spacing)
    return [
        ("Voxels (z, y, x)", " × ".join(str(length) for length in shape), "Of the grid, along each axis."),
        ("Spacing (z, y, x)", f"{millimetres} mm", "From voxel centre to voxel centre."),
        ("Origin (x, y, z)", f"{_listed(origin)} mm", "Centre of the first voxel in the patient (LPS)."),
    ]


def _slices(positions: tuple[float, ...] | None) -> str:
    if positions is None or len(positions) == 1:
        return "evenly spaced"
    distances = np.diff(positions)
    return f"{distances.min():.2f} to {distances.max():.2f} mm apart"


def _network(inr: InrVolume) -> list[Line]:
    return [
        *find_kind(inr.field.kind).details(inr.field),
        ("Coding", f"{inr.coding}, {in_bytes(len(inr.payload))}", "How the parameters are stored."),
    ]


def _fit(inr: InrVolume) -> list[Line]:
    return [
        ("Preset", inr.fit.preset, "Settings of the fit."),
        ("Steps", f"{inr.fit.steps:,}", "Done when the network was at its best."),
        ("Seed", str(inr.fit.seed), "Where the random numbers started."),
    ]


def _upscaler(contents: Contents) -> list[Line]:
    wanted = contents.inr.upscaler
    lines = [
        ("Name", title_of(wanted.name), "What restores the in-plane resolution."),
    ]
    if wanted.sha256 is not None:
        where = "in the file" if contents.embedded else "not in the file"
        lines.append(("Weights", where, f"SHA-256 {wanted.sha256}"))
        lines.append(("SHA-256", f"{wanted.sha256[:12]}...", f"Of the weights: {wanted.sha256}"))
    if contents.notes:
        lines.append(("Used here", title_of(contents.upscaler), " ".join(contents.notes)))
    return lines


def _unit(inr: InrVolume) -> str:
    return suffix(inr.units)


def _listed(numbers: Iterable[float]) -> str:
    return ", ".join(f"{number:.2f}".rstrip("0").rstrip(".") for number in numbers)
