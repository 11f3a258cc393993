"""What commands read and write: sources with a progress bar, outputs and what each may replace."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..console import say, slices_bar
from .options import SeriesOptions

if TYPE_CHECKING:
    from ..core.volume import Volume
    from ..outputs import Output


def warn(words: str) -> None:
    """Show one line on standard error that is no error, but must be seen."""
    say(f"inr-volume: {words}", "yellow")


def read(source: Path, options: SeriesOptions | None = None) -> Volume:
    """Read a source with a progress bar, and say what was read."""
    from ..io.sources import read_source

    options = options or SeriesOptions()
    with slices_bar(f"reading {source.name}") as on_slices:
        volume = read_source(source, options.series, on_slices, skip_broken=options.skip_broken)
    say(f"read {volume.summary}")
    return volume


def inr_output(path: Path, source: Path, force: bool) -> Output:
    """Return an .inr that is to be written, made from a source."""
    from ..io.files import SUFFIX
    from ..io.inr_file import looks_like_inr
    from ..outputs import Output

    return Output(
        path=path, suffixes=[SUFFIX], own=looks_like_inr, kind="an .inr", sources=(source,), force=force
    )


def figure_output(path: Path, sources: tuple[Path, ...], force: bool) -> Output:
    """Return a picture of a comparison that is to be written."""
    from ..outputs import Output
    from ..picture import SUFFIX, is_picture

    kind = "a picture made by this software"
    return Output(path=path, suffixes=[SUFFIX], own=is_picture, kind=kind, sources=sources, force=force)


def weights_output(path: Path, sources: tuple[Path, ...], force: bool) -> Output:
    """Return a weights file that is to be written, trained on these sources."""
    from ..outputs import Output
    from ..superres.upscale import SUFFIX

    kind = "a weights file of this software"
    return Output(path=path, suffixes=[SUFFIX], own=_is_weights_file, kind=kind, sources=sources, force=force)


def _is_weights_file(path: Path) -> bool:
    from ..core.errors import ModelError
    from ..superres.model_file import load_weights

    try:
        load_weights(path)
    except ModelError:
        return False
    return True
