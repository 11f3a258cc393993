"""`inr-volume strip`: the preview alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ..console import print_json, tell
from ..core.words import in_bytes
from .files import inr_output
from .options import InrPath, JsonOption


def strip(
    src: InrPath,
    output: Annotated[Path, typer.Argument(metavar="OUT.inr", help="The .inr file to write.")],
    *,
    force: Annotated[
        bool,
        typer.Option("--force", help="Overwrite an existing output file of any kind, but never the source."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Copy an .inr file without its exact layer.

    What is left is the preview: the network, and the upscaler's weights if they are embedded.
    """
    from ..core.errors import InrError
    from ..io.inr_file import read_inr, read_model, write_inr

    to = inr_output(output, src, force)
    to.check()
    inr, model = read_inr(src), read_model(src)
    if not inr.has_preview:
        raise InrError(f"{src.name} has no network: nothing would be left without the exact layer")
    preview = replace(inr, exact=None)
    with to.claimed():
        to.keep(lambda path: write_inr(preview, path, model=model))
    before, after = src.stat().st_size, output.stat().st_size
    if as_json:
        print_json({"output": str(output), "file_bytes": after, "bytes_left_out": before - after})
    elif inr.exact is None:
        tell(f"{output}: {in_bytes(after)}; {src.name} has no exact layer, so this is a copy")
    else:
        tell(f"{output}: {in_bytes(after)}, of {in_bytes(before)} with the exact layer")
