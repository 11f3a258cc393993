"""The dock widget Compress (INR): source, settings, fit, reconstruct, compare, save, from top to bottom.

    section (a view) --signals--> controller --starts--> plugin.work, in a thread
       ^                             |   ^                    |
       +-------- small setters ------+   +---- Job signals ---+

What the controllers share is in a `PanelState`. This widget puts them together, follows the viewer, and
remembers what is set.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING
from weakref import ref

from qtpy.compat import isalive
from qtpy.QtWidgets import QDockWidget

from ..core.choices import Device
from ..core.volume import Volume
from ..fields.registry import find_preset
from ..plugin.job import Job
from ..plugin.kept_fits import settings_from
from ..plugin.keys import KEYS, TITLE
from ..plugin.predict import predicted_memory
from ..plugin.settings import OWN_WEIGHTS, load_last_used, own_weights, preferences, remember
from ..plugin.work import modules
from .compare_section import CompareSection
from .controllers.compare import CompareController
from .controllers.figures import FiguresController
from .controllers.fit import FitController
from .controllers.reconstruct import ReconstructController
from .controllers.sessions import SessionsController
from .controllers.settings import SettingsController
from .controllers.source import SourceController
from .controllers.state import PanelState
from .fit_section import FitSection
from .kept_row import max_error_from
from .panel import Panel
from .reconstruct_section import ReconstructSection
from .save_bar import SaveBar
from .settings_section import SettingsSection, target_from, to_fields
from .source_section import SourceSection

if TYPE_CHECKING:
    import napari.viewer
    from napari.utils.events import Event


class CompressWidget(Panel):
    """Compress a volume, watch it, compare it, save it."""

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        # Plugins get a proxy, whose layers are new proxies each time: no `is`, no weak reference. Only public
        # attributes are used, on the UI thread.
        self.viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self.source = SourceSection()
        self.settings = SettingsSection()
        self.fit = FitSection()
        self.reconstruct = ReconstructSection()
        self.compare = CompareSection()
        self.save = SaveBar()
        self._later = (self.settings, self.fit, self.reconstruct, self.compare, self.save)
        self.show_sections(
            self.source, self.settings, self.fit, self.reconstruct, self.compare, footer=self.save
        )
        self._recall()

        state = self.state = PanelState(self.viewer, self.source.find_window, self._device, self)
        self.source_controller = SourceController(state, self.source, self._memory, self)
        self.settings_controller = SettingsController(
            state, self.settings, lambda: self.reconstruct.upscaler, self
        )
        self.fit_controller = FitController(state, self.fit, self.settings_controller, self)
        self.reconstruct_controller = ReconstructController(state, self.reconstruct, self)
        self.figures_controller = FiguresController(state, self.compare.figures, self)
        self.compare_controller = CompareController(state, self.compare, self.save, self)
        named = self.fit, self.reconstruct, self.compare
        self.sessions_controller = SessionsController(state, self.fit, named, self.source.choose, self)
        self._loading = Job(self)
        self._loading.start(modules.load)
        self._connect()
        self._bind_keys()
        own = own_weights()
        if own is not None:
            self.reconstruct_controller.recall_own(own)
        self.reconstruct.show_upscaler(str(load_last_used().get("upscaler", "auto")))
        self._follow_theme()
        self.reset_choices()

    def _connect(self) -> None:
        self.source_controller.window_chosen.connect(self._remember)
        self.source_controller.window_chosen.connect(self.figures_controller.measure_anew)
        self.settings_controller.edited.connect(self._remember)
        self.fit_controller.started.connect(self._fit_started)
        self.fit_controller.progressed.connect(lambda percent: self._show_title(f" {percent} %"))
        self.fit_controller.ended.connect(self._fit_ended)
        self.fit_controller.usable.connect(self.figures_controller.measure)
        self.figures_controller.measured.connect(self.fit_controller.show_measured)
        self.figures_controller.took.connect(self.settings_controller.keep_measuring)
        self.figures_controller.restored_otherwise.connect(self.reconstruct_controller.apply)
        self.reconstruct_controller.ended.connect(self.figures_controller.check_restored)
        self.reconstruct_controller.ended.connect(self.figures_controller.measure)
        self.reconstruct_controller.upscaler_changed.connect(self.settings_controller.show_edit)
        self.reconstruct_controller.own_taken.connect(self._remember)
        self.reconstruct_controller.started.connect(self.compare_controller.make_way)
        self.viewer.events.theme.connect(self._follow_theme)
        for event in (
            self.viewer.dims.events.point,
            self.viewer.dims.events.order,
            self.viewer.dims.events.ndisplay,
        ):
            event.connect(self._scrolled)
        layers = self.viewer.layers.events
        for event in (layers.inserted, layers.removed, layers.renamed):
            event.connect(self.reset_choices)
        layers.removed.connect(self._layer_removed)
        layers.inserted.connect(self._layer_added, position="last")  # when napari has made room for it

    def _bind_keys(self) -> None:
        """Bind the keys to what they do; once the panel is gone they do nothing, until another binds them."""
        bound = ref(self)
        for name, key in KEYS.items():

            def act(_: object, name: str = name) -> None:
                panel = bound()
                if panel is not None and isalive(panel):
                    getattr(panel, name)()

            self.viewer.bind_key(key, act, overwrite=True)

    def fit_or_stop(self) -> None:
        """Do what the Fit button does, or say why it cannot be pressed."""
        if self.fit.fit.isEnabled():
            self.fit.fit.click()
        else:
            self.fit_controller.start()

    def compare_next(self) -> None:
        """Compare in the next way that is possible."""
        self.compare.choose_next()

    def show_next_window(self) -> None:
        """Show the volume through the next window."""
        self.source.choose_next_window()

    def flicker(self) -> None:
        """Show all of the reconstruction and all of the original in turn."""
        self.compare_controller.flicker()

    def reset_choices(self, _: object = None) -> None:
        """Offer the layers that are in the viewer now."""
        self.source_controller.offer_layers()
        self.compare_controller.offer_layers()
        begun = bool(self.source.layers.layers) or self.state.fitted is not None
        for part in self._later:
            part.setVisible(begun)

    def _memory(self, volume: Volume) -> int:
        return predicted_memory(volume, self.settings.settings)

    def _device(self) -> Device:
        return self.settings.device

    def _fit_started(self) -> None:
        self.settings_controller.make_way()
        self.state.applying.drop()
        self.figures_controller.make_way()
        self.compare_controller.make_way()
        self.settings.lock(True)

    def _fit_ended(self) -> None:
        self._show_title("")
        self.settings.lock(False)
        self.settings_controller.show_edit()

    def _scrolled(self, _: object = None) -> None:
        fitted = self.state.fitted
        if fitted is not None:
            for job in (self.state.fitting, self.state.applying, self.state.measuring):
                job.control.z, job.control.cut = fitted.z, fitted.cut
            self.figures_controller.scrolled()

    def _layer_removed(self, _: object = None) -> None:
        self.state.forget_removed()

    def _layer_added(self, event: Event) -> None:
        self.source_controller.layer_added(event.value)

    def _follow_theme(self, _: object = None) -> None:
        for plot in (self.settings.sizes, self.fit.plot):
            plot.set_theme(self.viewer.theme)

    def _show_title(self, words: str) -> None:
        """Show in the tab how far the fit is, for when the panel is hidden."""
        dock = self.parentWidget()
        while dock is not None and not isinstance(dock, QDockWidget):
            dock = dock.parentWidget()
        if dock is not None:
            dock.setWindowTitle(TITLE + words)

    def _remember(self) -> None:
        own = self.reconstruct.own
        remember(
            {
                "settings": to_fields(self.settings.settings),
                "target": asdict(self.settings.target),
                "max_error": self.settings.max_error,
                "device": self.settings.device,
                "upscaler": self.reconstruct.upscaler,
                OWN_WEIGHTS: "" if own is None else str(own),
                "window": self.source.window_name,
            }
        )

    def _recall(self) -> None:
        """Set the panel as it was last time, or else as the preferences say."""
        used, preferred = load_last_used(), preferences()
        self.settings.show_settings(settings_from(used.get("settings")) or find_preset(preferred.preset))
        self.settings.show_target(target_from(used.get("target")))
        self.settings.kept.show_max_error(max_error_from(used.get("max_error")))
        self.settings.show_device(used.get("device", preferred.device))
        self.source.preferred_window = str(used.get("window", ""))
