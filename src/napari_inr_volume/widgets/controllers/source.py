"""Which volume is chosen: a layer of the viewer, or one that is loaded from a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from qtpy.QtCore import QObject, Signal
from superqt.utils import QSignalDebouncer

from ...core.errors import InrError
from ...core.volume import Volume
from ...core.windows import find_window
from ...plugin import dialogs
from ...plugin.fit_layers import PLACE
from ...plugin.job import Done, Job, LatestJob
from ...plugin.layers import add_layer, carried, check_layer, original_layer, widen_contrast
from ...plugin.looking import look_at
from ...plugin.notices import show_error
from ...plugin.readers import Choice, choose, name_of
from ...plugin.samples import head_phantom
from ...plugin.work import source
from ..source_section import SourceSection
from .state import PanelState

if TYPE_CHECKING:
    from napari.layers import Image, Layer

    from ...io.dicom import Broken, Listing

SLIDER_REST_MS = 400  # the contrast slider is at rest when it was not moved for so long
# Events of a layer that make another volume of it.
CHANGED = ("data", *PLACE)


class SourceController(QObject):
    """Tells the state which volume is chosen."""

    window_chosen = Signal()

    def __init__(
        self,
        state: PanelState,
        section: SourceSection,
        memory: Callable[[Volume], int],  # bytes that a fit takes beside the volume
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.state = state
        self.section = section
        self.describing, self.loading = LatestJob(self), Job(self)
        self._memory = memory
        self._listened: Image | None = None  # the layer whose events are connected
        self._path = Path()  # that is being loaded
        self._choice = Choice(name="", key=None)  # of what is in it
        self._setting = False  # the contrast, by the box
        self._slides = QSignalDebouncer(parent=self)
        self._slides.setTimeout(SLIDER_REST_MS)
        self._slides.triggered.connect(self.window_chosen)
        section.layer_chosen.connect(self.describe)
        section.folder_wanted.connect(self._choose_folder)
        section.sample_wanted.connect(self._open_sample)
        section.cancel_wanted.connect(self.loading.drop)
        section.window_chosen.connect(self._set_window)
        self.describing.finished.connect(self._show_volume)
        self.describing.failed.connect(self._show_no_volume)
        self.loading.reported.connect(self._loading_reported)
        self.loading.finished.connect(self._loaded)
        self.loading.failed.connect(show_error)
        self.loading.ended.connect(self._loading_ended)

    def offer_layers(self) -> None:
        """Offer the layers that are in the viewer now."""
        self.section.offer_layers(self.state.viewer)
        if self.section.layer is not self._listened or self.section.layer is None:
            self.describe()

    def layer_added(self, layer: Layer) -> None:
        """Choose an original that was opened, and go to it."""
        held = carried(layer)
        if held is not None and held.kind == "original":
            look_at(self.state.viewer, [cast("Image", layer)], anew=True)
            self.section.choose(cast("Image", layer))

    def describe(self, _: object = None) -> None:
        """Look at the chosen layer in the background: its volume, or why it is none."""
        layer = self.section.layer
        self._listen_to(layer)
        self.describing.forget()
        if layer is None:
            self.state.set_source(None, None)
            self.section.show_none()
            return
        try:
            check_layer(layer)
        except InrError as error:
            self._show_no_volume(str(error))
        else:
            self.section.show_words("Looking at the layer...")
            self.state.set_source(layer, None, awaited=True)
            self.describing.ask(object(), source.describe, layer)

    def _listen_to(self, layer: Image | None) -> None:
        if layer is self._listened:
            return
        for old in [self._listened] if self._listened is not None else []:
            for name in CHANGED:
                old.events[name].disconnect(self.describe)
            old.events.contrast_limits.disconnect(self._limits_changed)
        for new in [layer] if layer is not None else []:
            for name in CHANGED:
                new.events[name].connect(self.describe)
            new.events.contrast_limits.connect(self._limits_changed)
        self._listened = layer

    def _show_volume(self, volume: Volume) -> None:
        layer = self.section.layer
        assert layer is not None
        widen_contrast(layer)
        self.section.show_volume(volume, self._memory(volume), layer.contrast_limits)
        self.state.set_source(layer, volume)

    def _show_no_volume(self, words: str) -> None:
        self.section.show_words(f"This cannot be compressed: {words}.")
        self.state.set_source(self.section.layer, None)

    def _open_sample(self) -> None:
        for layer_data in head_phantom():
            add_layer(self.state.viewer, layer_data)

    def _choose_folder(self) -> None:
        path = dialogs.ask_source("Open CT: a folder or a file", self.section.window())
        if path is not None:
            self._path, self._choice = path, Choice(name=name_of(path), key=None)
            self.section.show_loading(f"Looking through {self._choice.name}...")
            self.loading.start(source.find_series, path)

    def _loading_reported(self, record: Done) -> None:
        self.section.show_loading(f"Reading {self._choice.name}...", record.done, record.total)

    def _loaded(self, result: Listing | tuple[Broken, ...] | Volume) -> None:
        """Add the volume that was read; or ask which series to read, or whether to skip what is broken."""
        if isinstance(result, Volume):
            add_layer(self.state.viewer, original_layer(result, self._choice.name))
        elif isinstance(result, tuple):
            if dialogs.ask_to_skip(result, self._choice.name, self.section.window()):
                self._read(self._choice, skip_broken=True)
        elif (choice := choose(result, name_of(self._path), self.section.window())) is not None:
            self._read(choice, skip_broken=False)

    def _read(self, choice: Choice, *, skip_broken: bool) -> None:
        self._choice = choice
        self.section.show_loading(f"Reading {choice.name}...")
        self.loading.start(source.read, self._path, choice.key, skip_broken=skip_broken)

    def _loading_ended(self) -> None:
        if not self.loading.running:  # a series is read right after it was found
            self.section.end_loading()

    def _limits_changed(self, _: object = None) -> None:
        """Follow the contrast slider; once it rests, what depends on the window follows too."""
        layer, volume = self.state.layer, self.state.volume
        if layer is None or volume is None or self._setting:
            return
        before = self.section.find_window(volume)
        self.section.show_limits(tuple(layer.contrast_limits))
        if self.section.find_window(volume) != before:
            self._slides.throttle()

    def _set_window(self, name: str) -> None:
        """Show what belongs to the chosen volume through the window."""
        layer, volume, fitted = self.state.layer, self.state.volume, self.state.fitted
        if layer is None or volume is None:
            return
        self._setting = True
        layer.contrast_limits = find_window(name, volume).limits
        if fitted is not None and fitted.source is layer:
            for shown in fitted.shown:
                shown.contrast_limits = layer.contrast_limits
        self._setting = False
        self.section.show_limits(tuple(layer.contrast_limits))
        self.window_chosen.emit()
