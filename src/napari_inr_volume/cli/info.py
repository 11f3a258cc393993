"""`inr-volume info`: what an .inr declares."""

from __future__ import annotations

from ..console import flat, print_json, print_rows
from ..core.advice import advice
from .options import InrPath, JsonOption


def info(src: InrPath, as_json: JsonOption = False) -> None:
    """Print everything an .inr file declares.

    That is its sizes, geometry, network and fit, and the quality that was measured when it was made.
    """
    from ..io.inr_file import describe

    declared = describe(src)
    ratio = declared["source_bytes"] / declared["file_bytes"]
    declared |= {"ratio": ratio, "advice": advice(ratio, declared["intensity"]["units"])}
    if as_json:
        print_json(declared)
    else:
        print_rows(flat(declared))
