"""The dock widget Compress (INR): source, settings, fit, reconstruct, compare, save, from top to bottom.

The sections are views with small setters. This widget answers their signals: it starts `plugin.jobs` and
shows what comes of them in the viewer, through `plugin.session`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils import progress
from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import (
    QDockWidget,
)

from ..core.errors import InrError
from ..core.volume import Volume
from ..core.windows import find_window
from ..fields.registry import find_preset, ladder_of
from ..fields.settings import Settings
from ..inr_volume import InrVolume
from ..io.inr_size import predicted_bytes
from ..plugin import compare, dialogs, jobs, unsaved
from ..plugin.fit_layers import FIT, Session
from ..plugin.jobs import DecodedLr, Done, FitOutcome, FitReport, Fitted, Job, Reconstruction
from ..plugin.kept_fits import Kept, settings_from
from ..plugin.layers import UPSCALERS, add_layer, check_layer, original_layer
from ..plugin.notices import file_name, plain, show_error, show_info, show_warning
from ..plugin.predict import predicted_memory, predicted_steps, speed_key
from ..plugin.readers import Choice, choose
from ..plugin.settings import OWN_WEIGHTS, load_last_used, own_weights, preferences, remember
from ..plugin.writers import save_inr
from .compare_section import CompareSection
from .fit_section import FitSection
from .panel import Panel
from .reconstruct_section import ReconstructSection
from .section import in_bytes, in_ratio, in_time
from .settings_section import SettingsSection, target_from, to_fields
from .source_section import EMPTY, SourceSection

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Image
    from numpy.typing import NDArray

    from ..core.metrics import Comparison
    from ..fields.base import FitState
    from ..io.dicom import Broken, Listing
    from ..planning import FactorModel, Plan
    from ..plugin.predict import Speed
    from ..superres.model_file import ModelInfo

TITLE = "Compress (INR)"
EDIT_DELAY_MS = 500  # after the last edit, before the speed is tried and the settings are remembered
SCROLL_DELAY_MS = 80  # while scrolling, the figures follow this often
REFRESH_DELAY_MS = 250  # while a reconstruction fills, its layer is drawn this often


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
        self.show_sections(self.source, self.settings, self.fit, self.reconstruct, self.compare)

        self.volume: Volume | None = None  # of the chosen layer
        self.session: Session | None = None  # the last fit
        self.arrangement = compare.Arrangement(self.viewer)
        self.describing, self.loading, self.probing = Job(self), Job(self), Job(self)
        self.fitting, self.applying = Job(self), Job(self)
        self.measuring, self.subtracting = Job(self), Job(self)
        self.checking = Job(self)
        self.recalling = Job(self)  # a fit of the volume that was stopped before
        self.looking = Job(self)  # for what targets need to know of the volume
        self._bar: progress | None = None  # in the activity dock
        self._speeds: dict[Speed, float] = {}  # steps a second
        self._probed: Speed | None = None
        self._identity: str | None = None  # of the volume, once it is known
        self._kept: Kept | InrVolume | None = None  # a fit of it: stopped before, or not saved
        self._models: list[FactorModel] | None = None  # what fits come to, of what `_looked_at` names
        self._looked_at: tuple[object, ...] = ()
        self._plan: Plan | None = None  # for the target that is shown
        self._larger: Plan | None = None  # the next try, where a fit fell short of its target
        self._described: Image | None = None  # the chosen layer
        self._describe_again = self._measure_again = False
        self._folder = Path()  # that is being loaded
        self._choice = Choice(name="", key=None)  # of what is in it
        self._own = Path()  # the weights file that is being checked
        self._recalled = False  # as last used, or asked for just now
        self._edit_timer = _timer(self, EDIT_DELAY_MS, self._after_edit)
        self._figures_timer = _timer(self, SCROLL_DELAY_MS, self._show_figures)
        self._refresh_timer = _timer(self, REFRESH_DELAY_MS, self._refresh_reconstruction)
        self._recall()
        self._connect()
        self.fit.plot.set_theme(self.viewer.theme)
        models = Job(self)
        models.finished.connect(self.reconstruct.show_missing)
        models.start(jobs.missing_weights)
        self.reset_choices()

    def _connect(self) -> None:
        self.source.layer_chosen.connect(self._describe)
        self.source.folder_wanted.connect(self._choose_folder)
        self.source.cancel_wanted.connect(self.loading.drop)
        self.source.window_chosen.connect(self._set_window)
        self.settings.changed.connect(self._settings_changed)
        self.fit.fit_wanted.connect(self.start_fit)
        self.fit.continue_wanted.connect(self.continue_fit)
        self.fit.stop_wanted.connect(self.fitting.stop)
        self.fit.pause_wanted.connect(self._pause)
        self.reconstruct.apply_wanted.connect(self._apply)
        self.reconstruct.cancel_wanted.connect(self.applying.drop)
        self.reconstruct.own_wanted.connect(self._choose_own)
        self.reconstruct.upscaler_chosen.connect(self._settings_changed)
        self.compare.mode_chosen.connect(self._arrange)
        self.compare.opacity_changed.connect(self._set_opacity)
        self.compare.save_wanted.connect(self._save)

        self.describing.finished.connect(self._show_volume)
        self.describing.failed.connect(self._show_no_volume)
        self.describing.ended.connect(self._describing_ended)
        self.loading.reported.connect(self._loading_reported)
        self.loading.finished.connect(self._loaded)
        self.loading.ended.connect(self._loading_ended)
        self.probing.finished.connect(self._keep_speed)
        self.probing.ended.connect(self._probe_again)
        self.recalling.finished.connect(self._recalled_fit)
        self.recalling.ended.connect(self._recall_again)
        self.looking.reported.connect(self._show_looking)
        self.looking.finished.connect(self._keep_models)
        self.looking.failed.connect(self.settings.prediction.setText)
        self.looking.ended.connect(self._looking_ended)
        self.fitting.reported.connect(self._fit_reported)
        self.fitting.finished.connect(self._fit_finished)
        self.fitting.failed.connect(self.fit.words.setText)
        self.fitting.ended.connect(self._fit_ended)
        self.checking.finished.connect(self._take_own)
        self.checking.failed.connect(self._refuse_own)
        self.applying.reported.connect(self._apply_reported)
        self.applying.finished.connect(self._apply_finished)
        self.applying.ended.connect(self._apply_ended)
        self.measuring.finished.connect(self._measured)
        self.measuring.ended.connect(self._measuring_ended)
        self.subtracting.finished.connect(self._subtracted)
        for job in (self.loading, self.fitting, self.applying, self.measuring, self.subtracting):
            job.failed.connect(show_error)

        self.viewer.events.theme.connect(self._theme_changed)
        self.viewer.dims.events.point.connect(self._scrolled)
        layers = self.viewer.layers.events
        for event in (layers.inserted, layers.removed, layers.renamed):
            event.connect(self.reset_choices)
        layers.removed.connect(self._layer_removed)

    # Source

    def reset_choices(self, _: object = None) -> None:
        """Offer the layers that are in the viewer now."""
        self.source.offer_layers(self.viewer)
        if self.source.layer is not self._described or self.source.layer is None:
            self._describe()

    def _describe(self, _: object = None) -> None:
        """Look at the chosen layer in the background: its volume, or why it is none."""
        layer = self.source.layer
        if layer is not self._described:
            if self._described is not None:
                self._described.events.set_data.disconnect(self._describe)
            if layer is not None:
                layer.events.set_data.connect(self._describe)
        self._described = layer
        self.volume = self._identity = self._kept = self._models = None
        self._looked_at = ()
        self.looking.drop()
        self._update_buttons()
        if layer is None:
            self.source.show_words(EMPTY)
            self._predict()
            return
        try:
            check_layer(layer)
        except InrError as error:
            self._show_no_volume(str(error))
            return
        self.source.show_words("Looking at the layer...")
        self._describe_again = self.describing.running
        if not self._describe_again:
            self.describing.start(jobs.describe, layer)

    def _describing_ended(self) -> None:
        if self._describe_again:  # another layer was chosen meanwhile, or its data changed
            self._describe_again = False
            self._describe()

    def _show_volume(self, volume: Volume) -> None:
        if self._describe_again or self._described is None:
            return
        self.volume = volume
        memory = predicted_memory(volume, self.settings.settings)
        self.source.show_volume(volume, memory, self._described.contrast_limits)
        self.recalling.drop()  # it was of another volume
        self._recall_again()
        self._update_buttons()
        self._settings_changed()

    def _recall_again(self) -> None:
        """Look for a fit of the volume that was stopped before, unless that is known."""
        if self.volume is not None and self._identity is None and not self.recalling.running:
            self.recalling.start(jobs.recall, self.volume)

    def _recalled_fit(self, found: tuple[Volume, str, Kept | InrVolume | None]) -> None:
        volume, identity, kept = found
        if volume is not self.volume:
            return
        replaced = self.session is not None and self.session.volume is volume  # fitted again by now
        self._identity, self._kept = identity, None if replaced else kept
        if kept is not None and not self.fitting.running and self.session is None:
            self.fit.words.setText(kept.words if isinstance(kept, Kept) else unsaved.WORDS)
        self._update_buttons()

    def _show_no_volume(self, words: str) -> None:
        if self._describe_again:
            return
        self.volume = None
        self.source.show_words(f"This cannot be compressed: {words}.")
        self._update_buttons()
        self._predict()

    def _choose_folder(self) -> None:
        folder = dialogs.ask_folder("Open a CT folder")
        if folder is not None:
            self._folder, self._choice = folder, Choice(name=folder.name, key=None)
            self.source.show_loading(f"Looking through {folder.name}...")
            self.loading.start(jobs.find_series, folder)

    def _loading_reported(self, record: Done) -> None:
        self.source.show_loading(f"Reading {self._choice.name}...", record.done, record.total)

    def _loaded(self, result: Listing | tuple[Broken, ...] | Volume) -> None:
        """Add the volume that was read; or ask which series to read, or whether to skip what is broken."""
        if isinstance(result, Volume):
            self.source.choose(add_layer(self.viewer, original_layer(result, self._choice.name)))
        elif isinstance(result, tuple):
            if dialogs.ask_to_skip(result, self._choice.name):
                self._read(self._choice, skip_broken=True)
        elif (choice := choose(result, self._folder.name)) is not None:
            self._read(choice, skip_broken=False)

    def _read(self, choice: Choice, *, skip_broken: bool) -> None:
        self._choice = choice
        self.source.show_loading(f"Reading {choice.name}...")
        self.loading.start(jobs.read, self._folder, choice.key, skip_broken=skip_broken)

    def _loading_ended(self) -> None:
        if not self.loading.running:  # a series is read right after it was found
            self.source.end_loading()

    def _set_window(self, name: str) -> None:
        """Show what belongs to the chosen volume through the window, and measure the fit through it."""
        if self.volume is None or self._described is None:
            return
        self._edit_timer.start()
        self._described.contrast_limits = find_window(name, self.volume).limits
        session = self.session
        if session is not None and session.source is self._described:
            for layer in session.shown:
                layer.contrast_limits = self._described.contrast_limits
            self._measure()

    # Settings

    def _settings_changed(self) -> None:
        self._predict()
        self._edit_timer.start()

    def _after_edit(self) -> None:
        self._remember()
        self._look()
        self._probe()

    def _remember(self) -> None:
        own = self.reconstruct.own
        remember(
            {
                "settings": to_fields(self.settings.settings),
                "target": asdict(self.settings.target),
                "device": self.settings.device,
                "upscaler": self.reconstruct.upscaler,
                OWN_WEIGHTS: "" if own is None else str(own),
                "window": self.source.window_name,
            }
        )

    def _recall(self) -> None:
        """Set the panel as it was last time, or else as the preferences say."""
        used, preferred = load_last_used(), preferences()
        settings = settings_from(used.get("settings")) or find_preset(preferred.preset)
        self.settings.show_settings(settings)
        self.settings.show_target(target_from(used.get("target")))
        self.settings.show_device(used.get("device", preferred.device))
        own = own_weights()
        if own is not None:
            self.reconstruct.show_own(own, "Being checked...")
            self._check_own(own, recalled=True)
        self.reconstruct.show_upscaler(str(used.get("upscaler", "auto")))
        self.source.preferred_window = str(used.get("window", ""))

    def _predict(self) -> None:
        """Say what to expect of the settings, as far as it is known."""
        line, self._plan = self.settings.prediction, None
        self.settings.banner.show_ratio(None)
        if self.volume is None:
            line.setText("Choose a volume to see what to expect.")
            return
        settings, quality, words = self.settings.settings, "", ""
        size = predicted_bytes(self.volume, settings, self.reconstruct.upscaler)
        if self.settings.target.kind != "preset":
            if self._models is None or self._looked_at != self._look_at():
                line.setText("Looking at the volume, to choose settings...")
                return
            from ..planning import plan

            try:
                self._plan = plan(self.volume, self._models, self.settings.target, settings)
            except InrError as error:
                line.setText(f"{error}.")
                return
            settings, size = self._plan.settings, self._plan.file_bytes
            quality = (
                f", LR about {self._plan.lr_psnr:.1f} dB, reconstruction about {self._plan.hr_psnr:.1f} dB"
            )
            words = f". {self._plan.missed}" if self._plan.missed else ""
        speed = self._speeds.get(speed_key(settings, self.settings.device))
        work = predicted_steps(self.volume, settings)
        seconds = "measuring the speed..." if speed is None else f"about {in_time(work / speed)}"
        ratio = self.volume.source_bytes / size
        line.setText(f"Expected: {in_bytes(size)}, {in_ratio(ratio)}{quality}, {seconds}{words}")
        self.settings.banner.show_ratio(ratio)

    def _look_at(self) -> tuple[object, ...]:
        """Return what the models of a target depend on, beside the volume."""
        probes = ladder_of(self.settings.settings).probes(self.settings.settings)
        fits = [(probe.field, probe.fit) for probe in probes]
        return *fits, self.reconstruct.upscaler, self.settings.device

    def _look(self) -> None:
        """Look in the background at what fits to the volume come to, if a target needs to know."""
        if self.volume is None or self.settings.target.kind == "preset" or self.fitting.running:
            return
        if self._models is not None and self._looked_at == self._look_at():
            return
        if self.looking.running:
            self.looking.drop()  # it was of other settings; the next look begins when it has ended
            self._looked_at = ()
            return
        self._models, self._looked_at = None, self._look_at()
        self.looking.start(
            jobs.look,
            self.volume,
            self.settings.settings,
            device=self.settings.device,
            upscaler=self.reconstruct.upscaler,
        )

    def _show_looking(self, record: Done) -> None:
        if self.settings.target.kind != "preset":
            part = 100 * record.done // record.total
            self.settings.prediction.setText(f"Looking at the volume, to choose settings: {part} %")

    def _keep_models(self, models: list[FactorModel]) -> None:
        self._models = models
        self._predict()
        self._probe()

    def _looking_ended(self) -> None:
        if self._models is None and self._looked_at != self._look_at():
            self._look()

    def _probe(self) -> None:
        """Try how fast these settings are fitted, unless it is known or the computer is busy with a fit."""
        settings, device = self._settings_to_fit(), self.settings.device
        key = speed_key(settings, device)
        if (
            self.looking.running
            or self.volume is None
            or key in self._speeds
            or self.fitting.running
            or self.applying.running
        ):
            return
        if self.probing.running:
            self.probing.drop()
        else:
            self._probed = key
            self.probing.start(jobs.probe, settings, self.volume.shape, device)

    def _keep_speed(self, speed: float) -> None:
        assert self._probed is not None
        self._speeds[self._probed] = speed
        self._predict()

    def _probe_again(self) -> None:
        if self._probed != speed_key(self._settings_to_fit(), self.settings.device):
            self._probe()

    def _settings_to_fit(self) -> Settings:
        """Return the settings that are shown, or those that are planned for the target."""
        return self.settings.settings if self._plan is None else self._plan.settings

    # Fit

    def start_fit(self) -> None:
        """Fit the chosen volume with the settings shown; a second fit at a time is refused with a word."""
        if self.fitting.running:
            show_info("A fit is running. Stop it, or wait until it has ended.")
            return
        if self.volume is None or self._described is None:
            show_info("Choose a volume first: a 3D image layer, or a CT folder.")
            return
        if self.settings.target.kind != "preset" and self._plan is None:
            show_info(
                "The settings for the target are not known yet. Wait a moment, or choose another target."
            )
            return
        session = Session(self.viewer, self._described, self.volume, self._settings_to_fit())
        session.plan, session.target = self._plan, self.settings.target
        self._start(session, self.settings.device)

    def continue_fit(self) -> None:
        """Go on with the fit that was stopped last, as it was begun; what it had by then keeps its layers."""
        stopped = self.session
        if self.fitting.running:
            return
        if stopped is None or stopped.state is None:
            self._continue_kept()
            return
        self.settings.show_settings(stopped.settings)
        session = Session(self.viewer, stopped.source, stopped.volume, stopped.settings)
        session.plan, session.target = stopped.plan, stopped.target
        self._start(session, stopped.state.device, stopped.state)

    def _continue_kept(self) -> None:
        """Go on with a fit of the chosen volume that was stopped before napari was closed."""
        kept = self._kept
        if kept is None or self.volume is None or self._described is None:
            return
        if isinstance(kept, Kept):
            settings = kept.settings
            self.settings.show_settings(settings)
        else:
            settings = replace(self.settings.settings, factor=kept.factor)
        self._start(Session(self.viewer, self._described, self.volume, settings), self.settings.device, kept)

    def _start(
        self, session: Session, device: str, resume: FitState | Kept | InrVolume | None = None
    ) -> None:
        for job in (self.probing, self.looking, self.measuring, self.applying, self.subtracting):
            job.drop()
        self.compare.button("off").setChecked(True)
        self.session = session
        self._bar = progress(total=session.settings.fit.all_steps, desc=plain(f"Fitting {session.name}"))
        self.fitting.start(
            jobs.fit,
            session.volume,
            session.settings,
            device=device,
            upscaler=self.reconstruct.upscaler,
            or_lanczos=session.plan is not None or isinstance(resume, InrVolume),  # its factor is not chosen
            window=self.source.find_window(session.volume),
            seconds_per_preview=preferences().preview_interval,
            resume=resume,
            keep=True,
        )
        self.fitting.control.z = session.z
        self._kept = None
        self.settings.lock(True)
        self.fit.show_running(continued=resume is not None)
        self._update_buttons()
        self._show_figures()

    def _pause(self, paused: bool) -> None:
        if paused:
            self.fitting.control.paused.set()
        else:
            self.fitting.control.paused.clear()

    def _fit_reported(self, record: FitReport | Fitted | DecodedLr | Done) -> None:
        session = self.session
        assert session is not None
        if isinstance(record, FitReport):
            if record.preview is not None:
                session.show_preview(record.preview)
                self.fitting.control.shown.set()
            self.fit.show_report(record)
            self._show_step(record.step, record.steps)
            share = record.step / record.steps
            work = predicted_steps(session.volume, session.settings) * share
            self._speeds[speed_key(session.settings, self.settings.device)] = work / record.seconds
        elif isinstance(record, Fitted):
            session.show_fitted(record)
            self.fit.show_measuring(0, 1)
            self._show_figures()
        elif isinstance(record, DecodedLr):
            session.show_lr(record)
        else:
            self.fit.show_measuring(record.done, record.total)

    def _fit_finished(self, outcome: FitOutcome) -> None:
        session = self.session
        assert session is not None
        measured, quality = outcome.measured, outcome.inr.quality
        assert quality is not None
        session.comparisons = {FIT: outcome.lr, "lanczos": measured.lanczos}
        session.comparisons[measured.upscaler] = measured.reconstruction
        session.set_inr(outcome.inr)
        self.fit.words.setText(
            f"Done: {outcome.inr.fit.steps:,} steps kept, LR PSNR {quality.lr_psnr:.1f} dB"
        )
        if session.target.kind == "psnr" and session.state is None:
            self._seek_on(session, quality.hr_psnr)

    def _seek_on(self, session: Session, reached: float) -> None:
        """Plan a larger network where a fit fell short of the PSNR that was asked for, or say that it did."""
        from ..planning import next_plan

        asked = session.target.value
        if reached >= asked or session.plan is None:
            return
        if self._models is not None and self._looked_at == self._look_at():
            self._larger = next_plan(
                session.volume, self._models, session.target, self.settings.settings, session.plan, reached
            )
        short = f"{reached:.1f} dB reached, {asked:.1f} dB asked for"
        self.fit.words.setText(
            f"{short}: {session.plan.missed or 'no larger network is tried'}"
            if self._larger is None
            else f"{short}: a larger network is fitted next"
        )

    def _fit_ended(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self._show_title("")
        self.settings.lock(False)
        if self.session is not None and self.session.inr is None:  # it failed, or was stopped too early
            self.session.drop_preview()
            self.session = None
        self._layer_removed()
        self._show_figures()
        self._predict()
        larger, self._larger = self._larger, None
        if larger is not None and self.session is not None:
            last = self.session
            session = Session(self.viewer, last.source, last.volume, larger.settings)
            session.plan, session.target = larger, last.target
            self._start(session, self.settings.device)

    def _show_step(self, step: int, steps: int) -> None:
        """Show how far the fit is where it is seen with the panel hidden: activity dock and tab."""
        if self._bar is not None:
            self._bar.update(step - self._bar.n)
        self._show_title(f" {100 * step // steps} %")

    def _show_title(self, words: str) -> None:
        dock = self.parentWidget()
        while dock is not None and not isinstance(dock, QDockWidget):
            dock = dock.parentWidget()
        if dock is not None:
            dock.setWindowTitle(TITLE + words)

    # Reconstruct

    def _choose_own(self) -> None:
        path = dialogs.ask_file("Choose weights of your own", ["Weights of a network (*.safetensors)"])
        if path is not None:
            self._check_own(path)

    def _check_own(self, path: Path, *, recalled: bool = False) -> None:
        """Look in the background whether a weights file can be used."""
        if self.checking.start(jobs.check_weights, path):
            self._own, self._recalled = path, recalled
        else:
            show_info(f"{self._own.name} is being checked; choose {path.name} again in a moment.")

    def _take_own(self, info: ModelInfo) -> None:
        """Offer the weights file that was checked; one that was asked for just now is the choice."""
        path, title = self._own, UPSCALERS[info.architecture]
        self.reconstruct.show_own(
            path, f"{title}, trained on: {plain(info.training)}\nSHA-256 {info.sha256}\n{plain(str(path))}"
        )
        if not self._recalled:
            self.reconstruct.show_upscaler(str(path))
            self.reconstruct.show_words("")
            self._predict()
        self._remember()

    def _refuse_own(self, words: str) -> None:
        """Say why a weights file cannot be used; the earlier choice stays, or if it was this one, auto."""
        if self.reconstruct.upscaler == str(self._own):
            words += "; the upscaler is auto instead"
        if self.reconstruct.own == self._own:
            self.reconstruct.drop_own()
        self.reconstruct.show_words(f"{words}.")
        show_warning(f"{words}.")

    def _apply(self) -> None:
        session = self.session
        if session is None or session.inr is None or self.applying.running or self.fitting.running:
            return
        self.measuring.drop()
        self.subtracting.drop()
        self._edit_timer.start()
        self.compare.button("off").setChecked(True)
        try:
            voxels = session.start_reconstruction()
        except InrError as error:
            show_error(str(error))
            self._update_buttons()
            return
        self.applying.start(
            jobs.reconstruct,
            session.volume,
            session.inr,
            voxels,
            device=self.settings.device,
            upscaler=self.reconstruct.upscaler,
            or_lanczos=session.plan is not None,  # the target chose the factor
            window=self.source.find_window(session.volume),
        )
        self.applying.control.z = session.z
        self.reconstruct.show_progress(0, 2 * len(voxels))
        self._update_buttons()

    def _apply_reported(self, record: Done | int) -> None:
        if isinstance(record, Done):
            self.reconstruct.show_progress(record.done, record.total)
        elif self.session is not None and record == self.session.z:
            self._refresh_reconstruction()
        elif not self._refresh_timer.isActive():
            self._refresh_timer.start()

    def _refresh_reconstruction(self) -> None:
        if self.session is not None and self.session.hr is not None:
            self.session.hr.refresh(thumbnail=False, extent=False)

    def _apply_finished(self, result: Reconstruction) -> None:
        if self.session is not None:
            self.session.set_reconstruction(result)

    def _apply_ended(self) -> None:
        if self.session is not None and self.session.upscaler is None:  # it failed, or was cancelled
            self.session.drop_reconstruction()
        self._update_buttons()
        self._show_figures()

    # Compare

    def _scrolled(self, _: object = None) -> None:
        if self.session is None:
            return
        for job in (self.fitting, self.applying):
            job.control.z = self.session.z
        if not self._figures_timer.isActive():
            self._figures_timer.start()

    def _show_figures(self) -> None:
        session = self.session
        if session is None:
            self.compare.show_nothing()
            return
        self.compare.table.show_figures(f"Slice {session.z}", session.lines())
        if session.inr is not None:
            self.compare.sizes.setText(_size_words(session.inr, session.model_bytes))

    def _measure(self) -> None:
        """Measure anew, through another window."""
        session = self.session
        if session is None or session.lr is None or session.inr is None:
            return
        if self.fitting.running or self.applying.running:  # they measure at their end
            return
        self._measure_again = self.measuring.running
        if self._measure_again:
            self.measuring.drop()
            return
        session.comparisons = {}
        self._show_figures()
        restored = session.hr is not None and session.upscaler != "lanczos"
        self.measuring.start(
            compare.measure,
            session.volume,
            session.inr,
            session.lr.data,
            session.hr.data if session.hr is not None and restored else None,
            device=self.settings.device,
            window=self.source.find_window(session.volume),
        )

    def _measured(self, comparisons: tuple[Comparison, Comparison, Comparison | None]) -> None:
        session = self.session
        if session is None:
            return
        lr, lanczos, restored = comparisons
        session.comparisons = {FIT: lr, "lanczos": lanczos}
        if restored is not None and session.upscaler is not None:
            session.comparisons[session.upscaler] = restored
        self._show_figures()

    def _measuring_ended(self) -> None:
        if self._measure_again:
            self._measure_again = False
            self._measure()

    def _arrange(self) -> None:
        """Show the layers as the chosen mode says; a difference that is not there yet is computed first."""
        session = self.session
        mode = self.compare.mode
        if session is None or mode == "off":
            self.arrangement.show("off", [], None if session is None else session.error)
        elif mode == "difference" and session.error is None:
            if session.hr is not None:
                self.subtracting.start(compare.difference, session.volume, session.hr.data)
        else:
            self.arrangement.show(mode, session.shown, session.error, self.compare.opacity.value() / 100)

    def _subtracted(self, error: NDArray[Any]) -> None:
        if self.session is not None and self.session.hr is not None:
            self.session.show_difference(error)
            self._arrange()

    def _set_opacity(self, opacity: float) -> None:
        if self.session is not None and self.compare.mode == "overlay" and len(self.session.shown) > 1:
            self.session.shown[-1].opacity = opacity

    def _save(self) -> None:
        if self.session is None or self.session.inr is None:
            return
        name = f"{file_name(self.session.name)}.inr"
        path = dialogs.ask_where_to_save("Save .inr", name, ["Fitted network (*.inr)"])
        if path is None:
            return
        try:
            path = save_inr(self.session.inr, path)
        except InrError as error:
            show_error(str(error))
        else:
            show_info(f"Saved {path.name}: {in_bytes(path.stat().st_size)}.")

    # The viewer

    def _update_buttons(self) -> None:
        """Offer what can be done now."""
        session, fitting, applying = self.session, self.fitting.running, self.applying.running
        fitted = session is not None and session.inr is not None and not fitting
        if not fitting:
            stopped = session is not None and session.state is not None
            self.fit.show_idle(self.volume is not None, stopped or self._kept is not None)
        if not applying:
            self.reconstruct.show_idle(fitted)
        self.compare.show_possible(fitted, session is not None and session.hr is not None and not applying)

    def _layer_removed(self, _: object = None) -> None:
        """Let go of layers that the person took away; of the volume too, once none of its layers is left."""
        session = self.session
        if session is not None and not self.fitting.running:
            session.forget_removed()
            if session.hr is None:
                self.applying.drop()
            if not session.shown:
                self.session = None
                self.measuring.drop()
            if self.compare.mode == "difference" and session.error is None and not self.subtracting.running:
                self.compare.button("off").setChecked(True)
        self._update_buttons()

    def _theme_changed(self, _: object = None) -> None:
        self.fit.plot.set_theme(self.viewer.theme)


def _size_words(inr: InrVolume, model_bytes: int) -> str:
    """Return the file's size and ratio; the ratio with the super-resolution model too, if there is one."""
    from ..io.inr_file import to_bytes

    size = len(to_bytes(inr))
    words = f".inr {in_bytes(size)}, {in_ratio(inr.source_bytes / size)}"
    if not model_bytes:
        return words
    return f"{words} (with the model {in_ratio(inr.source_bytes / (size + model_bytes))})"


def _timer(parent: QObject, delay: int, slot: Callable[[], None]) -> QTimer:
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(delay)
    timer.timeout.connect(slot)
    return timer
