"""The dock widget INR file: what an opened `.inr` holds, decoding it whole, and its error slice by slice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image
from superqt.utils import QSignalThrottler

from ..core.errors import InrError
from ..core.windows import Window
from ..plugin import dialogs
from ..plugin.exports import export_layer
from ..plugin.figures_file import save_figures
from ..plugin.job import Done, Job, LatestJob
from ..plugin.layers import Carried, carried, check_layer, path_of, voxels_of
from ..plugin.notices import show_error
from ..plugin.opened import Kind, inr_of, layer_of, show_decoded
from ..plugin.settings import PLUGIN, own_weights, preferences
from ..plugin.sharpening import Sharpening, sharpening_of
from ..plugin.work import inr as work
from ..plugin.work.inr import Contents, Decoded, Errors
from ..plugin.writers import SUFFIX
from .contents_section import ContentsSection
from .error_section import EMPTY, ErrorSection
from .file_section import NO_FILE, FileSection
from .panel import Panel

if TYPE_CHECKING:
    import napari.viewer

    from ..inr_volume import InrVolume

NO_ORIGINAL = "Open the original too, to see how far the .inr is from it."
SCROLL_DELAY_MS = 80  # while scrolling, the figures follow this often


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
        self.looking, self.decoding, self.measuring = LatestJob(self), Job(self), Job(self)
        self._wanted: tuple[Image, Kind] | None = None  # a layer of what is being decoded, and what of it
        self._sharpening: Sharpening | None = None  # of the exact layer that is chosen
        self._contents: Contents | None = None  # of its file, once it was looked into
        self._outcome = ""  # of decoding or measuring, in words
        self._window = Window("shown", 0, 1)  # of the figures
        self._scrolls = QSignalThrottler(parent=self)
        self._scrolls.setTimeout(SCROLL_DELAY_MS)
        self._connect()
        self._follow_theme()
        self.reset_choices()
        self._follow()

    def _connect(self) -> None:
        self.file.layers.layer_chosen.connect(self._layer_chosen)
        self.file.open_wanted.connect(self._open)
        self.file.decode_wanted.connect(self._decode)
        self.file.export_wanted.connect(self._export)
        self.file.cancel_wanted.connect(self._cancel)
        self.errors.measure_wanted.connect(self._measure)
        self.errors.save_wanted.connect(self._save_figures)
        self.errors.originals.layer_chosen.connect(self._original_chosen)
        self.looking.finished.connect(self._show_contents)
        self.looking.failed.connect(self.contents.show_words)
        self.decoding.finished.connect(self._show_decoded)
        self.decoding.ended.connect(self._decoding_ended)
        self.measuring.finished.connect(self._show_errors)
        self.measuring.ended.connect(self._measuring_ended)
        for job in (self.decoding, self.measuring):
            job.reported.connect(self._reported)
            job.failed.connect(self._failed)
        self._scrolls.triggered.connect(self._show_slice)

        layers = self.viewer.layers.events
        for event in (layers.inserted, layers.removed, layers.renamed):
            event.connect(self.reset_choices)
        self.viewer.layers.selection.events.active.connect(self._follow)
        self.viewer.dims.events.point.connect(self._scrolled)
        self.viewer.events.theme.connect(self._follow_theme)

    # Which file, which original

    @property
    def layer(self) -> Image | None:
        """The layer of an `.inr` that is chosen, if any."""
        return self.file.layers.layer

    @property
    def original(self) -> Image | None:
        """The layer to measure against, if any."""
        return self.errors.originals.layer

    def reset_choices(self, _: object = None) -> None:
        """Offer the layers that are in the viewer now; what is chosen stays so, renamed or not."""
        original = self.original
        images = [one for one in self.viewer.layers if isinstance(one, Image)]
        self.file.layers.offer([one for one in images if inr_of(one) is not None])
        # An LR that is being fitted carries no network yet; it is no original either.
        self.errors.originals.offer(
            [one for one in images if (carried(one) or Carried(kind="original")).kind == "original"]
        )
        self._layer_chosen()
        self._follow_view()
        if self.original is not original:
            self._choose_original()
            self._original_chosen()
        self._update_buttons()

    def _choose_original(self) -> None:
        """Choose the first layer with as many voxels as the `.inr` decodes to, if there is one."""
        shape = None if self.inr is None else self.inr.geometry.shape
        fitting = [layer for layer in self.errors.originals.layers if layer.data.shape == shape]
        if fitting:
            self.errors.originals.choose(fitting[0])

    def _follow(self, _: object = None) -> None:
        """Choose the active layer, if it was decoded from an `.inr`."""
        active = self.viewer.layers.selection.active
        if active is not None:
            self.file.layers.choose(active)

    def _layer_chosen(self) -> None:
        """Look into another `.inr`; the LR fit and the reconstruction of one are the same."""
        layer = self.layer
        inr = None if layer is None else inr_of(layer)
        if inr is self.inr:
            return
        self.inr = inr
        self._follow_view()
        self._cancel()
        self.file.show_words(NO_FILE if inr is None else "")
        self._choose_original()
        self._original_chosen()
        self.looking.forget()
        self._contents = None
        self.contents.show_words("" if inr is None else "Reading it...")
        if inr is not None and layer is not None:
            means = path_of(layer), own_weights(), preferences().device
            self.looking.ask(object(), work.look, inr, *means)

    def _show_contents(self, contents: Contents) -> None:
        self._contents = contents
        self.contents.show_contents(contents)

    def _original_chosen(self) -> None:
        self.measuring.drop()
        self._show_no_errors()
        self._update_buttons()

    def _open(self) -> None:
        path = dialogs.ask_file("Open an .inr", [f"Fitted network (*{SUFFIX})"], self.window())
        if path is None:
            return
        try:
            opened = self.viewer.open(str(path), plugin=PLUGIN)
        except InrError as error:
            show_error(str(error))
        else:
            self.viewer.layers.selection.active = opened[-1]

    def _follow_view(self) -> None:
        """Say from now on what is in view of the best layer of the chosen `.inr`, as long as it sharpens."""
        inr = self.inr
        kinds: tuple[Kind, ...] = ("exact", "hr", "lr")
        layers = [] if inr is None else [layer_of(self.viewer, inr, kind) for kind in kinds]
        layer = next((one for one in layers if one is not None), None)
        sharpening = sharpening_of(layer)
        if sharpening is not self._sharpening:
            if self._sharpening is not None:
                self._sharpening.changed.disconnect(self._show_view)
            if sharpening is not None:
                sharpening.changed.connect(self._show_view)
            self._sharpening = sharpening
        self._show_view()

    def _show_view(self) -> None:
        self.file.show_view("" if self._sharpening is None else self._sharpening.words)

    def _export(self) -> None:
        """Export the layer that is chosen, as the menu does with the one that is selected."""
        if self.layer is not None:
            self.viewer.layers.selection.active = self.layer
            export_layer(self.viewer)

    # Decode

    def _decode(self, kind: Kind) -> None:
        """Decode all slices: into the layer that shows them one by one, or into one that is added."""
        if self.inr is None or self.layer is None or self._busy:
            return
        shown = layer_of(self.viewer, self.inr, kind)
        if shown is not None and isinstance(voxels_of(shown), np.ndarray):
            self.file.show_words(f"'{shown.name}' is decoded and in memory.")
            return
        self._wanted, self._outcome = (self.layer, kind), ""
        what = {"lr": "LR", "hr": "reconstruction", "exact": "exact layer"}[kind]
        self.file.show_words(f"Decoding the {what}...")
        self.file.progress.show_progress(0, 0)
        means = path_of(self.layer), own_weights(), preferences().device
        self.decoding.start(work.decode, self.inr, kind, *means)
        self._update_buttons()

    def _show_decoded(self, decoded: Decoded) -> None:
        assert self._wanted is not None
        shown = show_decoded(self.viewer, *self._wanted, decoded)
        if shown is not None:
            self._outcome = " ".join([*decoded.notes, f"'{shown.name}' is decoded and in memory."])

    def _decoding_ended(self) -> None:
        self._wanted = None
        self.file.progress.hide()
        self.file.show_words(NO_FILE if self.inr is None else self._outcome)
        self._update_buttons()

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
                " choose the layer that it was made from."
            )
            return
        self._outcome = ""
        black, white = self.original.contrast_limits
        self._window = Window("shown", (black + white) / 2, white - black)
        self.errors.show_nothing("Measuring...")
        self.file.progress.show_progress(0, 0)
        means = path_of(self.layer), own_weights(), preferences().device
        self.measuring.start(work.find_errors, self.original, self.inr, *means, self._window)
        self._update_buttons()

    def _show_errors(self, found: Errors) -> None:
        assert self.inr is not None
        self.errors.show_errors(found, self._window, self.inr.units)
        self._show_slice()

    def _save_figures(self) -> None:
        """Save the figures, with what is known of the file."""
        found, layer = self._contents, self.layer
        if found is not None and layer is not None:
            name = layer.name.split(" [")[0]
            model = 0 if found.embedded else found.model_bytes
            save_figures(name, found.inr, found.file_bytes, model, self.errors.compared, self.window())

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
            self.errors.show_nothing(EMPTY if self.errors.originals.layers else NO_ORIGINAL)

    def _scrolled(self, _: object = None) -> None:
        self._scrolls.throttle()

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
        self.file.progress.show_progress(record.done, record.total)

    def _failed(self, words: str) -> None:
        self._outcome = words
        show_error(words)

    def _update_buttons(self) -> None:
        """Offer what can be done now."""
        free = self.inr is not None and not self._busy
        self.file.show_possible(free, self.inr is not None and self.inr.exact is not None)
        self.errors.measure.setEnabled(free and self.original is not None)

    def _follow_theme(self, _: object = None) -> None:
        self.errors.plot.set_theme(self.viewer.theme)
