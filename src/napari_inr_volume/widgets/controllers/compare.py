"""The last fit against its original: arrangements of the layers, saving."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from qtpy.QtCore import QObject
from superqt.utils import QSignalThrottler, signals_blocked

from ...core.errors import InrError
from ...core.units import suffix
from ...core.words import DASH, in_bytes, in_figures, in_ratio
from ...plugin import dialogs
from ...plugin.compare import Arrangement
from ...plugin.compare_with import compared, first_slice, short_name, value_at
from ...plugin.fit_layers import FitLayers
from ...plugin.job import LatestJob
from ...plugin.layers import carried, voxels_of
from ...plugin.looking import select_seen
from ...plugin.names import Names
from ...plugin.notices import file_name, show_error, show_info
from ...plugin.work import measure as work
from ...plugin.writers import save_inr
from ..compare_section import CompareSection
from ..orthogonal import show_orthogonal_views
from ..save_bar import NOTHING, SaveBar
from .state import PanelState

if TYPE_CHECKING:
    from napari.layers import Image

CURSOR_DELAY_MS = 50  # the values under the cursor follow this often


class CompareController(QObject):
    """Shows the fit beside its original."""

    def __init__(
        self, state: PanelState, section: CompareSection, bar: SaveBar, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.state = state
        self.section = section
        self.bar = bar
        self.arrangement = Arrangement(state.viewer, section.show_edge)
        self.names = Names(state.viewer, self)
        self.subtracting = LatestJob(self)
        self._reconstruction: Image | None = None  # that was chosen to be subtracted from, when it came
        self._subtracted_from: tuple[FitLayers | None, Image | None] = None, None
        section.mode_chosen.connect(self.arrange)
        section.edge_moved.connect(self._move_edge)
        section.absolute_chosen.connect(self._show_absolute)
        section.orthogonal_wanted.connect(self._show_orthogonal)
        bar.wanted.connect(self.save)
        state.session_changed.connect(self.make_way)
        self._under = QSignalThrottler(parent=self)
        self._under.setTimeout(CURSOR_DELAY_MS)
        self._under.triggered.connect(self.show_values)
        state.viewer.cursor.events.position.connect(self._cursor_moved)
        state.changed.connect(self.show_possible)
        self.subtracting.finished.connect(self._subtracted)
        self.subtracting.failed.connect(self._not_subtracted)

    def show_possible(self) -> None:
        """Offer what can be compared now, and show how large the file is, if there is one."""
        fitted, applying = self.state.fitted, self.state.applying.running
        done = fitted is not None and fitted.inr is not None
        self.bar.show_possible(done)
        self.section.show_possible(done, not applying)
        self.offer_layers()
        lost = fitted is None or fitted.error is None
        if self.section.mode == "difference" and lost and self._subtracted_from[1] is None:
            self.section.choose("off")
        if fitted is None or fitted.inr is None:
            self.bar.show_words(NOTHING)
        else:
            self.bar.show_words(f"{fitted.name}: {size_words(fitted)}")

    def offer_layers(self) -> None:
        """Offer what can be subtracted from now, the uppermost first, and what there is to see in 3D."""
        fitted = self.state.fitted
        if fitted is not None:
            self.section.offer_looks(fitted.volume.units)
            self.names.want(fitted.shown)
            layers = compared(self.state.viewer, fitted.source)
            self.section.subtracted.offer(
                [layer for layer in reversed(layers) if can_subtract(layer, fitted)]
            )
            if fitted.hr is not None and fitted.hr is not self._reconstruction:
                with signals_blocked(self.section.subtracted):
                    self.section.subtracted.choose(fitted.hr)
                if self.section.subtracted.layer is fitted.hr:
                    self._reconstruction = fitted.hr

    def make_way(self) -> None:
        """Stop comparing: the layers are about to change, or others are compared."""
        self.subtracting.forget()
        self._subtracted_from = None, None
        self.section.choose("off")

    def arrange(self) -> None:
        """Show the layers as the chosen mode says; a difference that is not there yet is computed first."""
        fitted, mode = self.state.fitted, self.section.mode
        self.offer_layers()
        if fitted is None or mode == "off":
            self.arrangement.show("off", [], None if fitted is None else fitted.error)
        elif mode == "difference" and (fitted.error is None or self._other_wanted(fitted)):
            self._subtract(fitted)
        else:
            share = self.section.edge.value() / 100
            self.arrangement.show(mode, fitted.shown, fitted.error, share=share, look=self.section.look)
        select_seen(self.state.viewer)

    def _other_wanted(self, fitted: FitLayers) -> bool:
        """Whether the difference that is there is not the one that is chosen."""
        wanted = self.section.subtracted.layer
        return wanted is not None and fitted.difference is not None and fitted.difference.of is not wanted

    def _subtract(self, fitted: FitLayers) -> None:
        """Subtract the original from the layer that is chosen; an earlier difference goes."""
        layer = self.section.subtracted.layer
        if layer is None:
            return
        self._subtracted_from = fitted, layer
        fitted.drop_difference()
        voxels = getattr(voxels_of(layer), "decoded", voxels_of(layer))
        start = first_slice(layer, fitted.source)
        if start is not None:
            self.subtracting.ask(object(), work.difference, fitted.volume, voxels, start)
        else:
            held = carried(layer)
            assert held is not None
            assert held.inr is not None
            self.subtracting.ask(object(), work.lr_difference, fitted.volume, voxels, held.inr.factor)

    def _subtracted(self, error: NDArray[Any]) -> None:
        """Show what was computed, if it is still wanted: layers may have gone meanwhile."""
        (fitted, layer), self._subtracted_from = self._subtracted_from, (None, None)
        self.subtracting.forget()  # the layer holds the answer
        viewer = self.state.viewer
        if fitted is None or layer is None or fitted is not self.state.fitted or layer not in viewer.layers:
            return
        fitted.show_difference(error, layer, absolute=self.section.absolute.isChecked())
        if self.section.mode == "difference":
            self.arrange()

    def _not_subtracted(self, words: str) -> None:
        self._subtracted_from = None, None
        show_error(words)
        self.section.choose("off")

    def _show_absolute(self, absolute: bool) -> None:
        fitted = self.state.fitted
        if fitted is not None and fitted.difference is not None:
            fitted.difference.show_absolute(absolute)

    def _move_edge(self, share: float) -> None:
        if self.arrangement.wipe is not None:
            self.arrangement.wipe.move(share)

    def flicker(self) -> None:
        """Show all of the reconstruction and all of the original in turn, as a wipe."""
        if self.section.button("wipe").isEnabled():
            self.section.choose("wipe")
            self.section.edge.setValue(0 if self.section.edge.value() > 50 else 100)

    # Under the cursor

    def _cursor_moved(self, _: object = None) -> None:
        self._under.throttle()

    def show_values(self) -> None:
        """Show the value of each compared layer under the cursor, and what it is off from the original."""
        fitted = self.state.fitted
        if fitted is None or fitted.source not in self.state.viewer.layers:
            self.section.show_values([])
            return
        viewer, source = self.state.viewer, fitted.source
        flat = viewer.dims.ndisplay == 2  # in 3D the mouse is over no voxel
        point = viewer.cursor.position
        layers = [source, *compared(viewer, source)]
        values = [value_at(layer, point) if flat else None for layer in layers]
        lines = [f"original: {in_value(values[0])}{suffix(fitted.volume.units)}"]
        for layer, value in zip(layers[1:], values[1:], strict=True):
            off = "" if value is None or values[0] is None else f" ({in_offset(value - values[0])})"
            lines.append(f"{short_name(layer, source)}: {in_value(value)}{off}")
        self.section.show_values(lines)

    def _show_orthogonal(self) -> None:
        show_orthogonal_views(self.state.viewer)

    def save(self) -> None:
        """Ask where to save the network, and save it."""
        fitted = self.state.fitted
        if fitted is None or fitted.inr is None:
            return
        name = f"{file_name(fitted.name)}.inr"
        path = dialogs.ask_where_to_save("Save .inr", name, ["Fitted network (*.inr)"], self.section.window())
        if path is None:
            return
        try:
            path = save_inr(fitted.inr, path)
        except InrError as error:
            show_error(str(error))
        else:
            show_info(f"Saved {path.name}: {in_bytes(path.stat().st_size)}.")


def size_words(fitted: FitLayers) -> str:
    """Return the file's size and ratio; the ratio with the super-resolution model too, if there is one."""
    assert fitted.inr is not None
    source, size = fitted.inr.source_bytes, fitted.file_bytes
    words = f".inr {in_bytes(size)}, {in_ratio(source / size)}"
    if fitted.inr.exact is not None:
        exact = fitted.inr.exact.nbytes
        words = f"{words}: preview {in_bytes(size - exact)}, exact layer {in_bytes(exact)}"
    if not fitted.model_bytes:
        return words
    return f"{words} (with the model {in_ratio(source / (size + fitted.model_bytes))})"


def can_subtract(layer: Image, fitted: FitLayers) -> bool:
    """Whether the volume of a fit can be subtracted from a layer: on its grid, or the LR of a network."""
    held = carried(layer)
    if layer is fitted.lr and not fitted.lr_filled:  # all of it is decoded first
        return False
    if held is not None and held.kind == "lr":
        return held.inr is not None and layer.data.shape == held.inr.lr_shape
    return fitted.source.data.shape == fitted.volume.shape and first_slice(layer, fitted.source) is not None


def in_value(value: float | None) -> str:
    """Return a voxel's value, or a dash."""
    return DASH if value is None else in_figures(value)


def in_offset(error: float) -> str:
    """Return how far a voxel is off, with its sign."""
    return in_figures(error) if error <= 0 else f"+{in_figures(error)}"
