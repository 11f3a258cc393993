"""`inr-volume compress`: fit a network to a volume."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..console import print_json, say, tell
from ..core.advice import advice
from ..core.errors import FitError, InrError
from ..core.units import suffix
from ..core.words import in_bytes
from ..fields.constant import NO_NETWORK
from .curve import check_plannable, show_curve
from .figures import peak_in_words, ratios, ratios_in_words
from .files import inr_output, read
from .options import (
    ClusterOptions,
    ExactOptions,
    FitOptions,
    RunOptions,
    SeriesOptions,
    Source,
    TargetOptions,
    UpscalerOptions,
)

if TYPE_CHECKING:
    from ..outputs import Kept
    from ..session import Compressed, Request


OutputArgument = Annotated[
    Path | None, typer.Argument(metavar="OUT.inr", help="The .inr file to write; --plan needs none.")
]
ResumeOption = Annotated[
    bool,
    typer.Option(
        "--resume", help="Resume the fit saved in OUT.inr.fit; give the same SRC and settings as before."
    ),
]
PlanOption = Annotated[
    bool,
    typer.Option(
        "--plan",
        help="Fit and write nothing: show which sizes promise which quality on this volume, from short"
        " probes of it.",
    ),
]

QUALITY = ("lr_psnr", "hr_psnr", "lanczos_psnr", "rmse", "p99", "max_error")  # of the report


def compress(
    src: Source,
    output: OutputArgument = None,
    *,
    source: SeriesOptions,
    fit: FitOptions,
    target: TargetOptions,
    exact: ExactOptions,
    upscaling: UpscalerOptions,
    resume: ResumeOption = False,
    plan: PlanOption = False,
    cluster: ClusterOptions,
    run: RunOptions,
) -> None:
    """Fit a network to a volume and save it as an .inr file.

    Ctrl-C ends the fit and saves the best result so far; so do SIGTERM and closing the terminal. While
    fitting, OUT.inr.fit holds the state of the fit, saved once a minute, and while an exact layer is made,
    OUT.inr.exact holds what is done of it. After an interruption, a crash or a power cut, --resume continues
    from there and gives the same file as an uninterrupted run. Both files are removed when it has finished.
    """
    from ..compute.device import find_device
    from ..core.atomic import claimed
    from ..fields.state_file import load_state
    from ..outputs import Kept
    from .fitting import Fitting

    started = time.perf_counter()
    request = request_of(fit, target, exact, upscaling, run)
    if cluster != ClusterOptions():  # whose device that is
        request = replace(request, device="cpu" if run.device == "cpu" else "auto")
    if plan:
        check_plannable(fit, target, exact, resume)
        request.check()
        show_curve(read(src, source), request, run.as_json)
        return
    if output is None:
        raise InrError("the .inr file to write is missing: give it after SRC; only --plan needs none")
    to = inr_output(output, src, run.force)
    to.check()
    kept = Kept(output)
    _check_resume(output, kept, resume)
    before = load_state(kept.fit) if resume and kept.there() != [kept.exact] else None
    request.check()
    with cluster.place(run.device) as place:
        volume = read(src, source)
        with to.claimed(), claimed(kept.fit):
            fitting = Fitting(to, kept, embed=upscaling.embed_model)
            compressed = fitting.run(volume, request, before, place)
            if not compressed.fitted.stopped:
                fitting.forget()
    device = find_device(request.device).type if place is None else place.device
    report = _report(compressed, output, request, device, time.perf_counter() - started)
    _print(report, compressed, run.as_json)
    if compressed.fitted.stopped:
        raise typer.Exit(128 + fitting.stop.signal)


def request_of(
    fit: FitOptions, target: TargetOptions, exact: ExactOptions, upscaling: UpscalerOptions, run: RunOptions
) -> Request:
    """Return what these options ask for. Raises FitError where they contradict each other."""
    from ..session import Request

    none = exact.exact_only
    if none and (fit, target, upscaling) != (FitOptions(), TargetOptions(), UpscalerOptions()):
        raise FitError(
            "--exact-only fits no network, so it takes no preset, no settings of a fit, no target and no"
            " upscaler; leave those out, or leave out --exact-only"
        )
    return Request(
        settings=NO_NETWORK if none else fit.settings(),
        target=target.beside(fit),
        upscaler="lanczos" if none else upscaling.upscaler,
        device=run.device,
        embed=upscaling.embed_model,
        max_error=exact.bound(),
    )


def _check_resume(output: Path, kept: Kept, resume: bool) -> None:
    """Raise FitError if there is something to resume and it is not to be, or the other way round."""
    there = kept.there()
    if there and not resume:
        held = "the state of an interrupted fit" if there[0] == kept.fit else "an unfinished exact layer"
        raise FitError(
            f"{there[0]} holds {held}; add --resume to continue it, or delete the file to start over"
        )
    if resume and not there and output.exists():
        raise FitError(
            f"there is nothing to resume: {output} is finished, and there is no file {kept.fit.name} beside"
            " it; leave out --resume to fit it again"
        )


def _report(
    compressed: Compressed, output: Path, request: Request, device: str, seconds: float
) -> dict[str, Any]:
    """Return the figures of what was saved, and what was expected of it if a target was set."""
    inr, fitted, plan = compressed.inr, compressed.fitted, compressed.plan
    assert fitted.result is not None
    file_bytes = output.stat().st_size
    both = ratios(inr, file_bytes, 0 if request.embed else fitted.model_bytes)
    report: dict[str, Any] = {
        "output": str(output),
        "preset": request.settings.preset,
        "device": device,
        "seconds": seconds,
        "exact": None if inr.exact is None else {"max_error": inr.exact.max_error, "bytes": inr.exact.nbytes},
        "fit_seconds": fitted.result.seconds,
        "steps": fitted.result.steps,
        "interrupted": fitted.stopped,
        "parameters": inr.field.parameters,
        **(dict.fromkeys(QUALITY) if inr.quality is None else asdict(inr.quality)),
        "units": inr.units,
        "upscaler": inr.upscaler.name,
        "upscaler_sha256": inr.upscaler.sha256,
        "file_bytes": file_bytes,
        "source_bytes": inr.source_bytes,
        **both,
        "advice": advice(both["ratio"], inr.units),
    }
    if plan is not None:
        target, met = compressed.target, compressed.missed is None
        report["target"] = {"kind": target.kind, "value": target.value, "met": met}
        report["expected"] = {
            "file_bytes": plan.file_bytes,
            "lr_psnr": plan.lr_psnr,
            "hr_psnr": plan.hr_psnr,
        }
    return report


def _print(report: dict[str, Any], compressed: Compressed, as_json: bool) -> None:
    if compressed.missed:
        say(compressed.missed)
    if as_json:
        print_json(report)
        return
    low, high = compressed.inr.intensity_range
    words = [f"{report['output']}: {in_bytes(report['file_bytes'])}", ratios_in_words(report)]
    if report["preset"] != NO_NETWORK.preset:
        words += [
            f"LR {report['lr_psnr']:.2f} dB",
            f"reconstruction ({report['upscaler']}) {report['hr_psnr']:.2f} dB"
            f" ({peak_in_words(high - low, compressed.inr.units)})",
            f"{report['steps']:,} steps in {report['fit_seconds']:.0f} s on {report['device']}",
        ]
    tell(", ".join(words))
    if report["exact"]:
        bound, size = report["exact"]["max_error"], in_bytes(report["exact"]["bytes"])
        unit = suffix(compressed.inr.units)
        tell(f"exact layer: {size}, every voxel {f'within {bound:g}{unit}' if bound else 'as it was'}")
    if report["advice"]:
        say(report["advice"])
