"""What tests of several commands use: options of a quick fit, and what commands printed and wrote."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_inr_volume.io.inr_file import read_inr
from napari_inr_volume.superres.upscale import Upscaler

QUICK = ["--layers", "2", "--hidden", "16", "--steps", "30", "--batch", "512", "--device", "cpu"]


LONGER = [*QUICK, "--steps", "200", "--upscaler", "lanczos"]


def in_this_process(*arguments: str | Path) -> int:
    """Run the command here, without the fixture `run`, which a fixture of a session cannot use."""
    from napari_inr_volume import cli

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["inr-volume", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
    code: int = end.value.code
    return code


def complaints(err: str) -> list[str]:
    """Return the lines of standard error but those on what was read."""
    return [line for line in err.splitlines() if not line.startswith("read ")]


def voxels_by(upscaler: Upscaler, inr_path: Path) -> NDArray[Any]:
    """Return what an .inr decodes to."""
    from napari_inr_volume import decompress

    return decompress(read_inr(inr_path), upscaler=upscaler, device="cpu").voxels


def decompressed(run: Any, *arguments: str | Path, to: Path) -> tuple[dict[str, Any], str, NDArray[Any]]:
    """Run decompress to an .npy; returns its report, standard error and the voxels."""
    code, out, err = run("decompress", *arguments, to, "--device", "cpu", "--json")
    assert code == 0, err
    return json.loads(out), err, np.load(to)
