"""The dock widget Codec comparison: an `.inr` beside other codecs, at the same bytes or at the same bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Image

from ..classical.by_bound import Bounded
from ..core.errors import InrError
from ..core.units import within
from ..inr_volume import InrVolume
from ..plugin.compare import link
from ..plugin.job import Done, Job
from ..plugin.layers import (
    METADATA,
    Carried,
    carried,
    check_layer,
    kwargs_over,
    layer_name,
    path_of,
    voxels_of,
)
from ..plugin.notices import show_error
from ..plugin.opened import inr_of
from ..plugin.settings import own_weights, preferences
from ..plugin.work import bounded, rivals
from ..plugin.work.bounded import ComparedAtBound
from ..plugin.work.rivals import Compared, Rival, Trying
from .codec_sections import NO_FILE, NO_ORIGINAL, ChoiceSection, ResultSection
from .panel import Panel

if TYPE_CHECKING:
    import napari.viewer

ENCODING = "Encoding"  # how the line begins that says what is being done


class CodecComparisonWidget(Panel):
    """Compare an `.inr` with other codecs: in the viewer and in figures at the same bytes, or by bytes."""

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)  # as in the panel Compress
        self.choice, self.result = ChoiceSection(), ResultSection()
        self.show_sections(self.choice, self.result)
        self.comparing = Job(self)
        self._originals: list[Image] = []
        self._found: list[Rival] = []
        self._bounded: list[Bounded] = []
        self._source: Image | None = None  # the original of what is being compared
        self._source_bytes = self._voxels = 1
        self._bound = ""  # in words
        self.choice.files.layer_chosen.connect(self._update)
        self.choice.compare_wanted.connect(self._compare)
        self.choice.cancel_wanted.connect(self.comparing.drop)
        self.comparing.reported.connect(self._reported)
        self.comparing.finished.connect(self._show)
        self.comparing.failed.connect(self._failed)
        self.comparing.ended.connect(self._ended)
        layers = self.viewer.layers.events
        for event in (layers.inserted, layers.removed, layers.renamed):
            event.connect(self.reset_choices)
        self.viewer.events.theme.connect(self._theme_changed)
        self.result.plot.set_theme(self.viewer.theme)
        self.choice.show_running(False)
        self.reset_choices()

    def reset_choices(self, _: object = None) -> None:
        """Offer the layers that are in the viewer now; what is chosen stays so."""
        images = [layer for layer in self.viewer.layers if isinstance(layer, Image)]
        files: dict[int, Image] = {}  # one layer of each network, the reconstruction if it is there
        self._originals = []
        for layer in images:
            held = carried(layer)
            if held is None or held.volume is not None:
                self._originals.append(layer)
            elif held.inr is not None and (held.kind == "hr" or id(held.inr) not in files):
                files[id(held.inr)] = layer
        self.choice.files.offer(list(files.values()))
        self._update()

    def _update(self) -> None:
        file = self.choice.files.layer
        inr = None if file is None else inr_of(file)
        fitting = self._originals if inr is None else [one for one in self._originals if _is_of(one, inr)]
        self.choice.originals.offer(fitting)
        ready = inr is not None and bool(fitting)
        if not self.comparing.running:
            exact = None if inr is None else inr.exact
            self.choice.offer_bound(
                None if inr is None or exact is None else within(exact.max_error, inr.units)
            )
        self.choice.compare.setEnabled(ready and not self.comparing.running)
        if not self.comparing.running:
            self._say_what_is_missing(inr, ready)

    def _say_what_is_missing(self, inr: InrVolume | None, ready: bool) -> None:
        words = NO_FILE if inr is None else NO_ORIGINAL.format(*inr.geometry.shape)
        if not ready:
            self.choice.words.setText(words)
        elif self.choice.words.text().startswith((NO_FILE, NO_ORIGINAL.partition("{")[0])):
            self.choice.words.setText("")

    def _compare(self) -> None:
        file, original = self.choice.files.layer, self.choice.originals.layer
        held = None if file is None else carried(file)
        if file is None or original is None or held is None or held.inr is None:
            return
        if not self.choice.chosen:
            self.choice.words.setText("Check at least one codec.")
            return
        try:
            check_layer(original)
        except InrError as error:
            self.choice.words.setText(f"This cannot be compared with: {error}.")
            return
        self._source, self._found, self._bounded = original, [], []
        slices = self._slices(original, held.inr.geometry.shape[0])
        if self.choice.at_bound:
            self._compare_at_bound(original, held.inr, slices)
        else:
            self._compare_at_bytes(file, original, held.inr, slices)
        self.choice.show_running(True)
        self.choice.words.setText(f"{ENCODING}...")
        self._update()

    def _slices(self, original: Image, depth: int) -> slice:
        """Return all slices, or as many as are wanted around the one in view."""
        if self.choice.all_slices.isChecked():
            return slice(0, depth)
        count = min(self.choice.count.value(), depth)
        z = round(float(original.world_to_data(self.viewer.dims.point[-3:])[0]))
        start = min(max(z - count // 2, 0), depth - count)
        return slice(start, start + count)

    def _compare_at_bytes(self, file: Image, original: Image, inr: InrVolume, slices: slice) -> None:
        depth = inr.geometry.shape[0]
        self._source_bytes = max(1, inr.source_bytes * (slices.stop - slices.start) // depth)
        self.result.show_rivals([], 1)
        self.comparing.start(
            rivals.compare,
            original,
            inr,
            path_of(file),
            own_weights(),
            preferences().device,
            self.choice.chosen,
            slices,
        )

    def _compare_at_bound(self, original: Image, inr: InrVolume, slices: slice) -> None:
        assert inr.exact is not None
        depth, rows, columns = inr.geometry.shape
        part = bounded.whole_slabs(inr.exact, slices, depth)
        self._source_bytes = max(1, inr.source_bytes * len(part) // depth)
        self._voxels = len(part) * rows * columns
        self._bound = within(inr.exact.max_error, inr.units)
        self.result.show_bounded([], 1, 1)
        self.comparing.start(
            bounded.compare_at_bound, original, inr, preferences().device, self.choice.chosen, slices
        )

    def _reported(self, record: Done | Trying | Rival | Bounded) -> None:
        if isinstance(record, Done):
            self.choice.progress.setRange(0, record.total)
            self.choice.progress.setValue(record.done)
        elif isinstance(record, Trying):
            self.choice.words.setText(f"{ENCODING} with {record.label}...")
        elif isinstance(record, Bounded):
            self._bounded.append(record)
            self.result.show_bounded(self._bounded, self._source_bytes, self._voxels)
        else:
            self._found.append(record)
            self.result.show_rivals(self._found, self._source_bytes)

    def _show(self, compared: Compared | ComparedAtBound) -> None:
        """Say who is better; at the same bytes, add the reconstructions, linked to the original."""
        if isinstance(compared, ComparedAtBound):
            found = [compared.ours, *compared.rivals]
            words = bounded.verdict(compared, self._bound)
            self.result.show_bounded(found, compared.source_bytes, compared.voxels, words)
            return
        words = " ".join([rivals.verdict(compared.ours, compared.rivals), *compared.notes])
        self.result.show_rivals([compared.ours, *compared.rivals], compared.source_bytes, words)
        source = self._source
        if source is None or source not in self.viewer.layers:
            return
        place = kwargs_over(source)
        first = source.affine.inverse(source.data_to_world((compared.start, 0, 0)))
        layers = [source]
        for rival in (compared.ours, *compared.rivals):
            if rival.voxels is None:
                continue
            layers.append(
                self.viewer.add_image(
                    rival.voxels,
                    name=layer_name(source.name, rival.label, rival.psnr),
                    **(place | {"translate": tuple(map(float, first))}),
                    contrast_limits=source.contrast_limits,
                    metadata={METADATA: Carried(kind="made")},
                    visible=False,
                )
            )
        link(layers)

    def _failed(self, words: str) -> None:
        self.choice.words.setText(f"{words}.")
        show_error(words)

    def _ended(self) -> None:
        self.choice.show_running(False)
        if self.choice.words.text().startswith(ENCODING):
            self.choice.words.setText("")
        self._update()

    def _theme_changed(self, _: object = None) -> None:
        self.result.plot.set_theme(self.viewer.theme)


def _is_of(layer: Image, inr: InrVolume) -> bool:
    """Whether a layer may be what the `.inr` was made from: it has as many voxels along each axis."""
    return tuple(voxels_of(layer).shape[-3:]) == inr.geometry.shape
