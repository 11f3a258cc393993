"""`inr-volume compress --plan`: which bytes promise which PSNR on a volume, for a person to pick from."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from ..console import interruptible, print_json, progress_bar, tell
from ..core.errors import FitError
from ..core.generators import drain
from ..core.words import in_bytes, in_ratio
from .options import ExactOptions, FitOptions, TargetOptions

if TYPE_CHECKING:
    from ..core.volume import Volume
    from ..session import Request


def check_plannable(fit: FitOptions, target: TargetOptions, exact: ExactOptions, resume: bool) -> None:
    """Raise FitError if something is asked for that does not go with a choice of sizes."""
    chosen = (fit.factor, fit.hidden, fit.boxes, fit.bits) != (None,) * 4
    if chosen or resume or (target, exact) != (TargetOptions(), ExactOptions()):
        raise FitError(
            "--plan shows the sizes there are to choose from, so it takes no target, no --factor, --hidden,"
            " --boxes or --bits, no exact layer and no --resume; leave those out"
        )


def show_curve(volume: Volume, request: Request, as_json: bool) -> None:
    """Print the bytes, the ratio and the predicted PSNR of files of this volume, from small to large."""
    from ..planning import curve, probe

    with interruptible() as stop, progress_bar() as progress:
        task = progress.add_task("looking for settings", total=None)
        probing = probe(volume, request.settings, upscaler=request.upscaler, device=request.device, stop=stop)
        models = drain(probing, lambda done: progress.update(task, completed=done[0], total=done[1]))
    plans = curve(volume, models, request.settings, embed=request.embed)
    if as_json:
        points = [
            {
                "file_bytes": plan.file_bytes,
                "ratio": volume.source_bytes / plan.file_bytes,
                "lr_psnr": plan.lr_psnr,
                "hr_psnr": plan.hr_psnr,
                "upscaler": plan.upscaler,
                "factor": plan.settings.factor,
                "field": asdict(plan.settings.field),
            }
            for plan in plans
        ]
        print_json({"preset": request.settings.preset, "source_bytes": volume.source_bytes, "points": points})
        return
    rows = [("bytes", "ratio", "predicted PSNR (range)", "settings")]
    for plan in plans:
        factor = " x ".join(f"{value:g}" for value in plan.settings.factor)
        rows.append(
            (
                in_bytes(plan.file_bytes),
                in_ratio(volume.source_bytes / plan.file_bytes),
                f"{plan.hr_psnr:.1f} dB",
                f"factor {factor}, {plan.settings.field.in_words}",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        tell("  ".join([*(cell.rjust(width) for cell, width in zip(row, widths, strict=False)), row[3]]))
    if plans:
        some = plans[len(plans) // 2].file_bytes
        tell(f"To make one of them: --max-bytes {some}, or --ratio or --target-psnr")
