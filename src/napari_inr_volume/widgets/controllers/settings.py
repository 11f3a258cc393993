"""What to fit, and what to expect of it: size, quality and time, predicted while the settings are edited."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal
from superqt.utils import QSignalDebouncer

from ...core.advice import advice
from ...core.errors import InrError
from ...core.words import in_bytes, in_ratio, in_time
from ...fields.registry import find_preset, ladder_of, suited
from ...fields.settings import Settings
from ...io.inr_size import predicted_bytes
from ...plugin.job import Done, LatestJob
from ...plugin.notices import sentence
from ...plugin.predict import decoding_key, predicted_steps, speed_key
from ...plugin.work import forecast
from ..settings_section import SettingsSection
from .state import PanelState

if TYPE_CHECKING:
    from ...core.volume import Volume
    from ...core.windows import Window
    from ...exact.predict import ExactPrediction
    from ...planning import FactorModel, Plan
    from ...plugin.fit_layers import FitLayers
    from ...plugin.predict import Speed
    from ...session import Request

EDIT_DELAY_MS = 500  # after the last edit, before the speed is tried and the settings are remembered
TRYING = "Exact layer: trying it on parts of the volume..."
WAITING = "Exact layer: predicted once the other work has ended."
COMPILING = (
    "Exact layer: compiling the coder. That is done once after installing and can take a minute or more; size"
    " and time are predicted then."
)
LOOKING = "Looking at the volume, to choose settings..."
NO_VOLUME = "Choose a volume to see what to expect."


class SettingsController(QObject):
    """Predicts what the settings come to, from short trials in the background."""

    predicted = Signal()  # what to expect is shown anew
    edited = Signal()  # some time after the last edit: remember what is set

    def __init__(
        self,
        state: PanelState,
        section: SettingsSection,
        upscaler: Callable[[], str],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.state = state
        self.section = section
        self.upscaler = upscaler
        self.plan: Plan | None = None  # for the target that is shown
        self.refusal: str | None = None  # why the target cannot be fitted
        self.probing, self.looking, self.coding = LatestJob(self), LatestJob(self), LatestJob(self)
        self._speeds: dict[Speed, float] = {}  # steps a second
        self._measuring: dict[Speed, float] = {}  # seconds that measuring the volume takes
        self._curve: tuple[object, list[tuple[int, float]]] | None = None  # what it is of, and the last one
        self._exact: dict[float, ExactPrediction] = {}  # of the volume, by the largest error
        self._failed: dict[object, str] = {}  # what could not be found out since the last edit, and why
        self._edits = QSignalDebouncer(parent=self)
        self._edits.setTimeout(EDIT_DELAY_MS)
        self._edits.triggered.connect(self._after_edit)
        section.changed.connect(self.show_edit)
        state.volume_changed.connect(self._volume_changed)
        state.changed.connect(self._show_waiting)
        self.probing.finished.connect(self._keep_speed)
        self.looking.reported.connect(self._show_looking)
        self.looking.failed.connect(self._looking_failed)
        self.looking.finished.connect(self._looked)
        self.probing.failed.connect(self._probing_failed)
        self.coding.reported.connect(self._show_exact_trial)
        self.coding.finished.connect(self._keep_exact)
        self.coding.failed.connect(self._exact_failed)
        self.probing.ended.connect(self._code)  # one after the other: both take times
        self.coding.ended.connect(self._probe)
        for job in (
            self.looking,
            state.fitting,
            state.applying,
            state.measuring,
        ):  # they held the trials up, or ended them
            job.ended.connect(self._edits.throttle)

    @property
    def settings(self) -> Settings:
        """The settings to fit: those that are shown, or those that are planned for the target."""
        return self.section.settings if self.plan is None else self.plan.settings

    @property
    def has_target(self) -> bool:
        """Whether a target chooses some of the settings."""
        return self.section.target.kind != "preset"

    def request(self, window: Window) -> Request:
        """Return what is asked for now, to be measured through a window."""
        from ...session import Request

        return Request(
            settings=self.section.settings,
            target=self.section.target,
            upscaler=self.upscaler(),
            device=self.section.device,
            window=window,
            max_error=self.section.max_error,
            models=self._models() if self.has_target else None,
        )

    def show_edit(self) -> None:
        """Predict anew now, and try what is not known yet when the person pauses."""
        self._failed.clear()
        self._suit()
        self.predict()
        self._edits.throttle()

    def _suit(self) -> None:
        """Show what the preset comes to for this volume, unless a target chooses that."""
        shown, volume = self.section.settings, self.state.volume
        if volume is not None and shown.by_volume:
            preset = find_preset(shown.preset)
            own = preset if self.has_target else suited(preset, volume.shape, volume.source_bytes)
            if own != shown:
                self.section.show_settings(own)

    def predict(self) -> None:
        """Say what to expect of the settings, as far as it is known, and show sizes to choose from."""
        self.plan = self.refusal = None
        self._predict()
        planned = None if self.plan is None else (self.plan.file_bytes, self.plan.hr_psnr)
        self.section.show_sizes(self._sizes(), planned)
        self.predicted.emit()

    def _predict(self) -> None:
        volume, settings, quality, missed = self.state.volume, self.section.settings, "", ""
        if volume is None:
            self.section.show_prediction(NO_VOLUME)
            return
        if self.has_target:
            from ...planning import plan

            try:
                models = self._models()
                if models is None:
                    self.refusal = self._failed.get(self._question())
                    self.section.show_prediction(self.refusal or LOOKING)
                    return
                self.plan = plan(volume, list(models), self.section.target, settings)
            except InrError as error:
                self.refusal = sentence(str(error))
                self.section.show_prediction(self.refusal)
                return
            settings, size = self.plan.settings, self.plan.file_bytes
            quality = (
                f", LR about {self.plan.lr_psnr:.1f} dB, reconstruction about {self.plan.hr_psnr:.1f} dB"
            )
            missed = f". {self.plan.missed}" if self.plan.missed else ""
        else:
            size = predicted_bytes(volume, settings, self.upscaler())
        ratio = volume.source_bytes / size
        words = f"{in_bytes(size)}, {in_ratio(ratio)}{quality}, {self._time(volume, settings)}{missed}"
        if self.section.max_error is None:
            self.section.show_prediction(f"Expected: {words}", advice(ratio, volume.units))
        else:
            self._predict_exact(volume, f"Expected of the preview: {words}", size)

    def _time(self, volume: Volume, settings: Settings) -> str:
        """Say how long a fit takes, and its measuring, which begins when the fit can be used."""
        speed = self._speeds.get(speed_key(settings, self.section.device))
        measuring = self._measuring.get(decoding_key(settings, self.upscaler(), self.section.device))
        if speed is None or measuring is None:
            return "measuring the speed..."
        fitting = in_time(predicted_steps(volume, settings) / speed)
        return f"about {fitting} to fit and {in_time(measuring)} to measure it"

    def _sizes(self) -> list[tuple[int, float]]:
        """Return the sizes that there are for a target, each in bytes and with its PSNR; none if unknown."""
        volume, settings = self.state.volume, self.section.settings
        try:
            models = self._models() if self.has_target and volume is not None else None
        except InrError:  # this kind of field cannot be planned for, as the prediction says
            return []
        if volume is None or models is None:
            return []
        if self._curve is None or self._curve[0] != (models, settings):  # it takes longer than an edit may
            from ...planning import curve

            plans = curve(volume, list(models), settings)
            self._curve = (models, settings), [(each.file_bytes, each.hr_psnr) for each in plans]
        return self._curve[1]

    def _predict_exact(self, volume: Volume, words: str, size: int) -> None:
        """Say what to expect of the preview, in words and bytes, and of the exact layer beside it."""
        assert self.section.max_error is not None
        found = self._exact.get(self.section.max_error)
        if found is None:
            busy = self.state.fitting.running or self.state.applying.running
            self.section.show_prediction(words, exact=WAITING if busy else TRYING)
            return
        whole = size + found.nbytes
        ratio = volume.source_bytes / whole
        self.section.show_prediction(
            words,
            advice(ratio, volume.units),
            f"Exact layer: about {in_bytes(found.nbytes)}, {in_time(found.seconds)} more. The file: about"
            f" {in_bytes(whole)}, {in_ratio(ratio)}",
        )

    def keep_speed(self, fitted: FitLayers, share: float, seconds: float) -> None:
        """Remember how long a share of a fit took."""
        work = predicted_steps(fitted.volume, fitted.settings) * share
        self._speeds[speed_key(fitted.settings, fitted.request.device)] = work / seconds

    def keep_measuring(self, fitted: FitLayers, seconds: float) -> None:
        """Remember how long the measuring of a fit took."""
        if fitted.volume is self.state.volume:
            key = decoding_key(fitted.settings, str(fitted.wanted), fitted.request.device)
            self._measuring[key] = seconds

    def make_way(self) -> None:
        """End the trials: a fit is to have the processor."""
        self.probing.drop()
        self.looking.drop()
        self.coding.drop()

    def _volume_changed(self) -> None:
        self.probing.forget()
        self.looking.forget()
        self.coding.forget()
        self._curve, self._exact, self._measuring = None, {}, {}
        if self.state.volume is not None:
            self.section.kept.show_units(self.state.volume.units)
        self.show_edit()

    def _after_edit(self) -> None:
        self.edited.emit()
        self._look()
        self._probe()
        self._code()

    def _models(self) -> tuple[FactorModel, ...] | None:
        models: tuple[FactorModel, ...] | None = self.looking.answer_to(self._question())
        return models

    def _question(self) -> tuple[object, ...]:
        """Return what the models of a target depend on, beside the volume."""
        settings = self.section.settings
        probes = ladder_of(settings).probes(settings)
        return *((probe.field, probe.fit) for probe in probes), self.upscaler(), self.section.device

    def _look(self) -> None:
        """Look in the background at what fits to the volume come to, if a target needs to know."""
        if self.state.volume is not None and self.has_target and not self.state.fitting.running:
            try:
                question = self._question()
            except InrError:  # this kind of field cannot be planned for, as the prediction says
                return
            if question in self._failed:
                return
            self.looking.ask(
                question,
                forecast.look,
                self.state.volume,
                self.section.settings,
                device=self.section.device,
                upscaler=self.upscaler(),
            )

    def _show_looking(self, record: Done) -> None:
        if self.has_target:
            part = 100 * record.done // record.total
            self.section.show_prediction(f"Looking at the volume, to choose settings: {part} %")

    def _looking_failed(self, words: str) -> None:
        self._failed[self._question()] = sentence(words)
        self.predict()

    def _looked(self) -> None:
        self.predict()
        self._probe()
        self._code()

    def _code(self) -> None:
        """Try what an exact layer of the volume takes, unless it is known or the computer is busy.

        A trial that nobody waits for any more is dropped.
        """
        volume, max_error = self.state.volume, self.section.max_error
        if volume is None or max_error is None or max_error in self._exact:
            self.coding.drop()
        elif ("exact", max_error) not in self._failed and not self._busy(self.probing):
            if not self.coding.running:
                self.section.show_exact_prediction(TRYING)
            self.coding.ask(max_error, forecast.exact, volume, max_error)

    def _busy(self, trial: LatestJob) -> bool:
        """Whether another trial or the work itself has the processor."""
        jobs = self.looking, self.state.fitting, self.state.applying, self.state.measuring, trial
        return any(job.running for job in jobs)

    def _keep_exact(self, found: tuple[float, ExactPrediction]) -> None:
        max_error, prediction = found
        self._exact[max_error] = prediction
        self.predict()

    def _show_waiting(self) -> None:
        """Say that nothing is tried while a fit or a reconstruction has the processor."""
        max_error = self.section.max_error
        busy = self.state.fitting.running or self.state.applying.running
        if busy and self.state.volume is not None and max_error is not None and max_error not in self._exact:
            self.section.show_exact_prediction(WAITING)

    def _show_exact_trial(self, record: forecast.Compiling | forecast.Compiled) -> None:
        if self.section.max_error is not None and self.section.max_error not in self._exact:
            compiling = isinstance(record, forecast.Compiling)
            self.section.show_exact_prediction(COMPILING if compiling else TRYING)

    def _exact_failed(self, words: str) -> None:
        self._failed["exact", self.section.max_error] = words
        self.section.show_exact_prediction(f"Exact layer: {words}.")

    def _probe(self) -> None:
        """Try how fast these settings are fitted, unless it is known or the computer is busy."""
        volume, settings, device = self.state.volume, self.settings, self.section.device
        key = self._trial()
        known = key[0] in self._speeds and key[1] in self._measuring
        if volume is None or known or key in self._failed or self._busy(self.coding):
            return
        self.probing.ask(key, forecast.probe, volume, settings, device=device, upscaler=self.upscaler())

    def _trial(self) -> tuple[Speed, Speed]:
        """Return what a trial of the speed depends on, beside the volume."""
        device = self.section.device
        return speed_key(self.settings, device), decoding_key(self.settings, self.upscaler(), device)

    def _probing_failed(self, words: str) -> None:
        self._failed[self._trial()] = words

    def _keep_speed(self, found: forecast.Trial) -> None:
        self._speeds.setdefault(found.pace, found.speed)  # a fit's own is better
        self._measuring[found.decoding] = found.measuring
        self.predict()
