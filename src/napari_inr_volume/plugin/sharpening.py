"""Sharpens a layer of an `.inr` while it is in a viewer: starts the work, draws what comes of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import ref

from qtpy.QtCore import QObject, Qt, QTimer, Signal

from .activity import ActivityBar
from .job import Job
from .layers import voxels_of, widen_contrast
from .notices import show_error, show_warning
from .shown_voxels import ShownVoxels, Step
from .work.sharpen import Damaged, Ready, sharpen

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from .opened import Opened

PATIENCE_MS = 300  # what is not sharp by then is said on the canvas


class Sharpening(QObject):
    """Follows one layer, by its voxels, from when it is put into the viewer to when it is taken away.

    The voxels keep it alive. On the UI thread only, but for `_looked`.
    """

    changed = Signal()  # what is in view, or how exact that is
    _looked = Signal()

    def __init__(self, viewer: ViewerModel, voxels: ShownVoxels) -> None:
        super().__init__()
        self.job = Job(self)
        self._viewer, self._voxels = ref(viewer), ref(voxels)
        self._layer: ref[Image] | None = None
        self._new = True  # it was in no viewer yet
        self._limits: tuple[float, ...] | None = None  # that it was opened with, until it is known what it is
        self._said = ""  # on the canvas, by us
        self._ready: Callable[[Image], None] = lambda layer: None  # told when it is known how it is restored
        self._bar = ActivityBar(self)  # of a view of all slices
        self._patience = QTimer(self)
        self._patience.setSingleShot(True)
        self._patience.setInterval(PATIENCE_MS)
        self._patience.timeout.connect(self._say_what_is_missing)
        self._working: ShownVoxels | None = None  # or the thread would be the last to let go of us
        self._again = False  # something was looked at while work was being dropped
        # Later, since drawing must not wait; and napari may draw in a thread of its own.
        self._looked.connect(self._look, Qt.ConnectionType.QueuedConnection)
        self.job.reported.connect(self._reported)
        self.job.finished.connect(self._finished)
        self.job.failed.connect(show_error)
        self.job.ended.connect(self._ended)
        self._arm()
        viewer.layers.events.inserting.connect(self._arm)
        viewer.layers.events.inserted.connect(self._inserted)
        viewer.layers.events.removed.connect(self._removed)

    def tell_ready(self, ready: Callable[[Image], None]) -> None:
        """Call `ready` once, with the layer, when it is known how it is restored."""
        self._ready = ready

    @property
    def layer(self) -> Image | None:
        """The layer, if it is in the viewer."""
        return None if self._layer is None else self._layer()

    @property
    def words(self) -> str:
        """What is in view and how exact it is; nothing of a layer that is gone."""
        voxels = self._voxels()
        words = "" if voxels is None or self.layer is None else voxels.words
        return words[:1].upper() + words[1:]

    def _arm(self, _: object = None) -> None:
        """Be ready: a layer is drawn when it is made, and again before anybody hears that it was inserted."""
        voxels = self._voxels()
        if voxels is not None:
            voxels.on_look = self._looked.emit

    def _inserted(self, event: Any) -> None:
        layer, voxels = event.value, self._voxels()
        if voxels is None:
            return
        if voxels_of(layer) is voxels:
            if self._new:
                self._limits = tuple(layer.contrast_limits)
            self._layer, self._new = ref(layer), False
            widen_contrast(layer)
            layer.events.data.connect(self._data_changed)
            layer.events.visible.connect(self._say)
        elif not self._new:
            self._disarm()

    def _disarm(self) -> None:
        """Let voxels that are in no layer of this viewer be exact."""
        voxels = self._voxels()
        if voxels is not None and self.layer is None:
            voxels.on_look = None

    def _removed(self, event: Any) -> None:
        if event.value is self.layer:
            self._leave()

    def _data_changed(self, _: object = None) -> None:
        """Leave a layer that shows other voxels by now, such as the whole volume in memory."""
        if self.layer is not None and voxels_of(self.layer) is not self._voxels():
            self._leave()

    def _leave(self) -> None:
        self.job.drop()
        self._patience.stop()
        self._say_on_canvas("")
        layer, self._layer = self.layer, None
        self._disarm()
        if layer is not None:
            layer.events.data.disconnect(self._data_changed)
            layer.events.visible.disconnect(self._say)
        self.changed.emit()

    def _look(self) -> None:
        voxels = self._voxels()
        if voxels is None or self.layer is None:
            self._disarm()
            return
        if self.job.running:
            self._again = self.job.control.drop.is_set()
        elif voxels.next_steps():
            self._working = voxels
            self.job.start(sharpen, voxels)
        self._say()

    def _reported(self, record: Ready | Step | Damaged) -> None:
        voxels, layer = self._voxels(), self.layer
        if voxels is None or layer is None:
            return
        if isinstance(record, Ready):
            ready, self._ready = self._ready, lambda layer: None
            ready(layer)
            if record.window is not None and tuple(layer.contrast_limits) == self._limits:
                layer.contrast_limits = record.window.limits
            self._limits = None
        elif isinstance(record, Damaged):
            show_warning(f"{layer.name}: {record.words}. The preview takes their place.")
        else:
            self._draw_wherever_shown(record)
        self._show_progress(voxels)
        self._say()

    def _draw_wherever_shown(self, step: Step) -> None:
        """Draw all layers anew that show what was decoded: layers of one file share their levels."""
        viewer = self._viewer()
        for layer in () if viewer is None else list(viewer.layers):
            found = sharpening_of(layer)
            if found is not None:
                found._draw(step)

    def _draw(self, step: Step) -> None:
        """Draw the layer anew if it shows what was decoded."""
        voxels, layer = self._voxels(), self.layer
        if voxels is not None and layer is not None and voxels.changes_view(step):
            layer.refresh(extent=False)

    def _finished(self, _: object) -> None:
        """Draw a view of all slices once, at the end; look whether something was looked at meanwhile."""
        voxels, layer = self._voxels(), self.layer
        if voxels is not None and layer is not None:
            if not voxels.next_steps():
                layer.refresh(extent=False)
            self._look()

    def _ended(self) -> None:
        if not self.job.running:
            self._working = None
            self._bar.end()
            if self._again:
                self._again = False
                self._look()

    def _show_progress(self, voxels: ShownVoxels) -> None:
        """Show in the activity dock how many slices of a view of all are there."""
        layer = self.layer
        if layer is None or not voxels.views_all or voxels.sharp:
            self._bar.end()
            return
        if not self._bar.shown:
            self._bar.begin(f"Decoding {layer.name}", len(voxels))
        self._bar.show(voxels.there)

    def _say(self, _: object = None) -> None:
        """Say on the canvas, unless it takes but a moment, that what it shows is not all there yet."""
        voxels, layer = self._voxels(), self.layer
        if voxels is not None and layer is not None:
            if voxels.sharp or not layer.visible:
                self._patience.stop()
                self._say_on_canvas("")
            elif self._said:
                self._say_what_is_missing()
            elif not self._patience.isActive():
                self._patience.start()
        self.changed.emit()

    def _say_what_is_missing(self) -> None:
        voxels, layer = self._voxels(), self.layer
        if voxels is not None and layer is not None and layer.visible and not voxels.sharp:
            self._say_on_canvas(f"{layer.name}\n{voxels.state}")

    def _say_on_canvas(self, words: str) -> None:
        viewer = self._viewer()
        if viewer is None or words == self._said:
            return
        overlay = viewer.canvas.overlays.text
        if overlay.text in ("", self._said):  # else it is the person's own, or another layer's
            overlay.text, overlay.visible, self._said = words, bool(words), words


def in_window() -> bool:
    """Return whether there is a window of napari's, in which layers can sharpen."""
    import napari

    return napari.current_viewer() is not None


def follow(voxels: ShownVoxels, opened: Opened, name: str, layer_name: str) -> None:
    """Let voxels sharpen in napari's window, if there is one, as soon as a layer of them is added to it.

    Once it is known how the file is restored, the layer is named after that, unless the person named it.
    """
    import napari

    viewer = napari.current_viewer()
    if viewer is None:
        return
    sharpening = Sharpening(getattr(viewer, "__wrapped__", viewer), voxels)
    voxels.sharpening = sharpening
    if voxels.level == "lr":
        return

    def ready(layer: Image) -> None:
        for note in opened.notes:
            show_warning(note)
        numbered = r"( \[\d+\])?"  # by napari, where another has the name
        as_given = re.fullmatch(re.escape(layer_name) + numbered, layer.name)
        if voxels.level == "hr" and as_given:
            layer.name = opened.hr_name(name)

    sharpening.tell_ready(ready)


def sharpening_of(layer: Image | None) -> Sharpening | None:
    """Return what sharpens a layer, if anything does."""
    found = None if layer is None else getattr(voxels_of(layer), "sharpening", None)
    return found if isinstance(found, Sharpening) else None
