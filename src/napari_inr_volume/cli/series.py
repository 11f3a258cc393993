"""`inr-volume series`: which DICOM series there are to choose from."""

from __future__ import annotations

from dataclasses import fields

from rich.table import Table

from ..console import out, print_json, slices_bar, tell
from ..core.text import printable
from .options import JsonOption, Source


def series(src: Source, as_json: JsonOption = False) -> None:
    """List the DICOM series of a source.

    Choose one of them with --series. Files that cannot be read are listed too.
    """
    from ..io.dicom import list_series

    with slices_bar("looking through files") as on_files:
        listing = list_series(src, on_files)
    if as_json:
        rows = [
            {field.name: getattr(line, field.name) for field in fields(line) if field.name != "paths"}
            for line in listing.series
        ]
        broken = [{"path": str(one.path), "reason": one.reason} for one in listing.broken]
        print_json({"series": rows, "skipped": listing.skipped_by_reason, "broken": broken})
        return
    table = Table("", "description", "part", "slices", "size", "kernel", box=None, pad_edge=False)
    table.add_column("key", overflow="fold")
    for number, line in enumerate(listing.series, start=1):
        size = f"{line.rows} x {line.columns}"
        cells = (str(number), line.description, line.part, str(line.slices), size, line.kernel, line.key)
        table.add_row(*map(printable, cells))
    out.print(table)
    skipped = ", ".join(f"{count} {reason}" for reason, count in listing.skipped_by_reason.items())
    tell(f"skipped: {skipped or 'nothing'}")
    for one in listing.broken:
        tell(f"broken: {one}")
