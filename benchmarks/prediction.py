"""What is predicted for a ratio, against what comes of it.

    python benchmarks/prediction.py SOURCE... [--ratios 500 1500] [--preset default] [--json OUT]

Each source is probed once; for each ratio it is planned, fitted, written and measured as a whole.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from napari_inr_volume import compress
from napari_inr_volume.core.errors import FitError
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.fields.registry import find_preset
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren.config import siren_of
from napari_inr_volume.io.inr_file import to_bytes
from napari_inr_volume.io.sources import read_source
from napari_inr_volume.planning import FactorModel, plan, probe
from napari_inr_volume.target import Target

from report import machine, table, write_json, write_section


def main() -> None:
    """Fit, print the table, and put it into docs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("source", type=Path, nargs="+")
    parser.add_argument("--ratios", type=float, nargs="+", default=[500.0, 1_500.0])
    parser.add_argument("--preset", default="default")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    base = find_preset(arguments.preset)
    figures = []
    for source in arguments.source:
        volume = read_source(source)
        models = probed(volume, base)
        for ratio in arguments.ratios:
            found = measure(volume, models, ratio, base)
            figures.append({"volume": source.name.split(".")[0], "ratio": ratio} | found)
            print(figures[-1], flush=True)
    text = as_text(figures, arguments.preset)
    print(text)
    write_section("prediction", text)
    write_json(arguments.json, {"machine": machine(), "preset": arguments.preset, "figures": figures})


def probed(volume: Volume, base: Settings) -> list[FactorModel]:
    """Return what a probe finds."""
    probing = probe(volume, base, device="cpu")
    while True:
        try:
            next(probing)
        except StopIteration as end:
            return end.value


def measure(volume: Volume, models: list[FactorModel], ratio: float, base: Settings) -> dict[str, Any]:
    """Return what was predicted and what came, or why no file can be so small."""
    try:
        planned = plan(volume, models, Target(kind="ratio", value=ratio), base)
    except FitError as error:
        return {"refused": str(error)}
    inr = compress(volume, planned.settings, device="cpu", upscaler=planned.upscaler)
    assert inr.quality is not None
    siren = siren_of(planned.settings)[0]
    boxes = f"{siren.boxes} boxes of " if siren.boxes > 1 else ""
    return {
        "network": f"x{planned.settings.factor[1]:g}, {boxes}5 x {siren.hidden_features}",
        "expected_bytes": planned.file_bytes,
        "bytes": len(to_bytes(inr)),
        "expected_hr_psnr": planned.hr_psnr,
        "hr_psnr": inr.quality.hr_psnr,
        "expected_lr_psnr": planned.lr_psnr,
        "lr_psnr": inr.quality.lr_psnr,
    }


def as_text(figures: list[dict[str, Any]], preset: str) -> str:
    """Return the table."""
    rows = [
        [
            f"{found['volume']}, {found['ratio']:,.0f}:1",
            found["network"],
            f"{found['expected_bytes']:,}",
            f"{found['bytes']:,} ({found['bytes'] / found['expected_bytes'] - 1:+.1%})",
            f"{found['expected_hr_psnr']:.1f} dB",
            f"{found['hr_psnr']:.1f} dB ({found['hr_psnr'] - found['expected_hr_psnr']:+.1f})",
            f"{found['expected_lr_psnr']:.1f} dB",
            f"{found['lr_psnr']:.1f} dB ({found['lr_psnr'] - found['expected_lr_psnr']:+.1f})",
        ]
        for found in figures
        if "refused" not in found
    ]
    refused = "".join(
        f"\n\n{found['volume']} at {found['ratio']:,.0f}:1 is refused: {found['refused']}."
        for found in figures
        if "refused" in found
    )
    header = ["asked", "planned", "bytes predicted", "bytes", "HR PSNR predicted", "HR PSNR (range)"]
    header += ["LR PSNR predicted", "LR PSNR (range)"]
    return f"Preset `{preset}`, seed 0. {machine()}.\n\n{table(header, rows)}{refused}"


if __name__ == "__main__":
    main()
