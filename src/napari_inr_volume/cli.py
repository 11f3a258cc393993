"""The command `inr-volume`: compress, decompress, info, compare, series, train-sr, demo.

Results go to standard output, progress and errors to standard error. Exit codes: 0 done, 2 bad
input or usage, 130 interrupted (143 by SIGTERM, 129 by SIGHUP).
"""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.table import Table

from . import __version__
from .console import (
    Interrupted,
    Stop,
    ended_by_signals,
    flat,
    interruptible,
    out,
    print_json,
    print_rows,
    progress_bar,
    say,
    slices_bar,
    spinner,
    tell,
)
from .core.advice import advice
from .core.choices import Device
from .core.errors import FitError, InrError
from .core.text import printable
from .core.windows import WindowName, find_window
from .core.words import in_bytes, in_ratio, with_decibels
from .fields.registry import PRESETS, find_kind, find_preset
from .fields.settings import Settings
from .target import Target, TargetKind

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from .codec import Measured
    from .core.volume import Triple, Volume
    from .fields.base import FitResult, FitState
    from .inr_volume import InrVolume
    from .outputs import Output
    from .superres.pairs import Pair
    from .superres.upscale import Upscaler

SECONDS_PER_CHECKPOINT = 60.0  # what a killed fit loses at most
OUT_OF_MEMORY = "out of memory; free some, or give a smaller volume or batch"

app = typer.Typer(
    help="Turn a CT volume into a neural network small enough to mail, and back.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Source = Annotated[
    Path,
    typer.Argument(
        help="A DICOM folder, file, DICOMDIR or zip, NIfTI, NRRD, MetaImage, TIFF, a folder of PNG or TIFF"
        " slices, .npy or .npz."
    ),
]
InrPath = Annotated[Path, typer.Argument(help="An .inr file.")]
SeriesOption = Annotated[
    str | None,
    typer.Option(help="Which DICOM series: its number in `inr-volume series SRC`, or its key there."),
]
SkipBrokenOption = Annotated[
    bool,
    typer.Option("--skip-broken", help="Leave out broken files of a DICOM series, and say so."),
]
ForceOption = Annotated[
    bool,
    typer.Option("--force", help="Replace an existing file of any kind; never the source itself."),
]
DeviceOption = Annotated[Device, typer.Option(help="Where to compute; auto takes a GPU where there is one.")]
UpscalerOption = Annotated[
    str,
    typer.Option(
        help="What restores the in-plane resolution: auto, lanczos, srdensenet, span, or a weights file"
        " of your own (.safetensors)."
    ),
]
OtherUpscalerOption = Annotated[
    str | None,
    typer.Option(
        help="Another upscaler than the file's: auto, lanczos, srdensenet, span, or a weights file"
        " (.safetensors); decompress takes a weights file only if it is the one that the .inr names."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]


def main() -> None:
    """Run the command; what a user can act on ends in one line, not in a traceback."""
    try:
        with ended_by_signals():
            sys.exit(app(standalone_mode=False) or 0)
    except (InrError, typer.exceptions.TyperException) as error:
        words = str(error) if isinstance(error, InrError) else error.format_message()
        _end(error, words, 2)
    except MemoryError as error:
        _end(error, OUT_OF_MEMORY, 2)
    except RuntimeError as error:
        from .compute.device import out_of_memory

        if not out_of_memory(error):
            raise
        _end(error, OUT_OF_MEMORY, 2)
    except Interrupted as error:
        kept = hasattr(error, "__notes__")
        _end(error, "interrupted" if kept else "interrupted; no result was written", error.exit_code)


def _end(error: BaseException, words: str, code: int) -> NoReturn:
    """Leave with one line: what happened, and the error's notes on what is kept."""
    line = "; ".join([words, *getattr(error, "__notes__", ())])
    say(f"inr-volume: {line}", "red" if code == 2 else None)
    sys.exit(code)


@app.command()
def compress(
    src: Source,
    output: Annotated[Path, typer.Argument(metavar="OUT.inr", help="The .inr file to write.")],
    series: SeriesOption = None,
    skip_broken: SkipBrokenOption = False,
    preset: Annotated[str, typer.Option(help=f"One of {', '.join(PRESETS)}.")] = "default",
    factor: Annotated[
        str | None,
        typer.Option(help="HR voxels per LR voxel: one number for all axes, or three for z,y,x (1,4,4)."),
    ] = None,
    layers: Annotated[int | None, typer.Option(help="Sine layers, as the paper counts them.")] = None,
    hidden: Annotated[int | None, typer.Option(help="Hidden features, the width of a layer.")] = None,
    omega: Annotated[float | None, typer.Option(help="omega_0, the frequency of the first layer.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    batch: Annotated[int | None, typer.Option(help="LR voxels a step.")] = None,
    steps: Annotated[
        int | None, typer.Option(help="Steps of the fit in all; the tuning and the rate follow.")
    ] = None,
    bits: Annotated[float | None, typer.Option(help="Bits of the file for each weight.")] = None,
    max_bytes: Annotated[
        int | None,
        typer.Option(
            help="Choose factor, hidden features and bits: the best file of no more than these bytes."
        ),
    ] = None,
    ratio: Annotated[
        float | None,
        typer.Option("--ratio", help="The same for a ratio: stored pixels over bytes of the file."),
    ] = None,
    target_psnr: Annotated[
        float | None,
        typer.Option(help="The same for a quality: the smallest file that reaches this PSNR, in dB (range)."),
    ] = None,
    lr_psnr: Annotated[
        float | None, typer.Option(help="End the fit once the LR reaches this PSNR, in dB (range).")
    ] = None,
    device: DeviceOption = "auto",
    seed: Annotated[int | None, typer.Option(help="Same seed, same file.")] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with the fit that OUT.inr.fit keeps; give SRC and settings as before."
        ),
    ] = False,
    upscaler: UpscalerOption = "auto",
    embed_model: Annotated[
        bool, typer.Option("--embed-model", help="Put the upscaler's weights into the .inr, if it has any.")
    ] = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fit a network to a CT volume and save it as an .inr.

    Ctrl-C ends the fit and keeps what it has reached, and so do SIGTERM and a closed terminal. OUT.inr.fit
    beside it keeps where the fit stood, also once a minute while fitting: after an interruption, a crash or
    a power cut, --resume goes on from there, to the same file as without it. A finished fit removes it.
    """
    from . import codec
    from .compute.device import find_device
    from .core.atomic import claimed
    from .fields.state_file import load_state
    from .superres.upscale import find_upscaler

    started = time.perf_counter()
    settings = _settings(preset, factor, layers, hidden, omega, lr, batch, steps, lr_psnr, seed, bits)
    target = _target(max_bytes, ratio, target_psnr)
    if target.kind != "preset" and (factor, hidden, bits) != (None, None, None):
        raise FitError("a target chooses --factor, --hidden and --bits; leave those out, or the target")
    to = _inr_output(output, src, force)
    to.check()
    checkpoint = output.with_name(f"{output.name}.fit")
    _check_resume(output, checkpoint, resume)
    before = load_state(checkpoint) if resume else None
    planned = target.kind != "preset"
    restore = find_upscaler(upscaler, settings.factor[1:], device=device, or_lanczos=planned)
    where = find_device(device)
    volume = _read(src, series, skip_broken)
    with to.claimed(), claimed(checkpoint), _saying_what_is_kept(checkpoint):
        seeker = None
        if planned:
            seeker = _Seeker(volume, target, settings, upscaler, device, embed_model)
            settings, restore = seeker.settings, seeker.restore
            if before is not None:  # it may be of a later try than the first
                settings = replace(settings, field=before.field, fit=before.fit)
        while True:
            result, stop = _fit(volume, settings, device, checkpoint, before)
            if result.stopped and not _keep_partial(result, stop, output, checkpoint):
                if not resume:
                    checkpoint.unlink(missing_ok=True)
                raise typer.Exit(128 + stop.signal)
            # The network is kept before anything else can go wrong.
            inr = codec.encode(volume, settings, result, restore)
            model = restore.weights if embed_model and restore.weights else None
            _save(inr, to, model, stop)
            inr = replace(inr, quality=_measured(volume, inr, restore, device, output).quality)
            _save(inr, to, model)
            assert inr.quality is not None
            if seeker is None or result.stopped or not seeker.seek_on(inr.quality.hr_psnr):
                break
            settings, restore, before = seeker.settings, seeker.restore, None
        if not result.stopped:
            checkpoint.unlink(missing_ok=True)
    file_bytes = output.stat().st_size
    ratios = _ratios(inr, file_bytes, 0 if embed_model else len(restore.weights))
    report = {
        "output": str(output),
        "preset": settings.preset,
        "device": where.type,
        "seconds": time.perf_counter() - started,
        "fit_seconds": result.seconds,
        "steps": result.steps,
        "interrupted": result.stopped,
        "parameters": settings.field.parameters,
        "lr_psnr": inr.quality.lr_psnr,
        "hr_psnr": inr.quality.hr_psnr,
        "lanczos_psnr": inr.quality.lanczos_psnr,
        "upscaler": inr.upscaler.name,
        "upscaler_sha256": inr.upscaler.sha256,
        "file_bytes": file_bytes,
        "source_bytes": inr.source_bytes,
        **ratios,
        "advice": advice(ratios["ratio"]),
        **({} if seeker is None else seeker.report(inr.quality.hr_psnr)),
    }
    if as_json:
        print_json(report)
    else:
        peak = _peak(inr)
        tell(
            f"{output}: {in_bytes(file_bytes)}, {_in_words(ratios)},"
            f" LR {inr.quality.lr_psnr:.2f} dB, reconstruction ({inr.upscaler.name})"
            f" {inr.quality.hr_psnr:.2f} dB ({peak}), {result.steps:,} steps in {result.seconds:.0f} s"
            f" on {where.type}"
        )
        if report["advice"]:
            say(str(report["advice"]))
    if result.stopped:
        raise typer.Exit(128 + stop.signal)


@app.command()
def decompress(
    src: InrPath,
    output: Annotated[Path, typer.Argument(metavar="OUT", help="A .nii, .nii.gz, .nrrd, .tif or .npy file.")],
    upscaler: OtherUpscalerOption = None,
    even: Annotated[
        bool,
        typer.Option("--even", help="Resample to even slice distances and right angles, if it has others."),
    ] = False,
    device: DeviceOption = "auto",
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Reconstruct the volume of an .inr at its full resolution."""
    from . import codec
    from .io.inr_file import read_inr, read_model
    from .io.volumes import EVEN_GRIDS, find_suffix, write_volume
    from .outputs import Output
    from .superres.upscale import UPSCALERS

    started = time.perf_counter()
    to = Output(path=output, sources=(src,), force=force)
    to.check()
    inr = read_inr(src)
    model = read_model(src)
    restore = _upscaler(inr, model, upscaler, device)
    own = upscaler is not None and upscaler not in UPSCALERS
    if own and inr.upscaler.sha256 not in (None, restore.sha256):
        restore = _named_upscaler(inr, [model, upscaler], device)
    with slices_bar("decoding") as on_slices:
        volume = codec.decompress(inr, upscaler=restore, device=device, on_slices=on_slices)
    if even:
        from .core.even import evened

        with spinner("resampling"):
            volume = evened(volume)
    caveats = volume.geometry.caveats
    if caveats and find_suffix(output) in EVEN_GRIDS:
        _warn(
            f"{output.name} cannot say it all: {'; '.join(caveats)}; --even exports an evenly spaced,"
            " orthogonal volume"
        )
    with spinner(f"writing {output.name}"):
        to.check()
        write_volume(volume, output)
    report = {
        "output": str(output),
        "shape": volume.shape,
        "dtype": volume.voxels.dtype.name,
        "units": volume.units,
        "upscaler": restore.name,
        "upscaler_sha256": restore.sha256,
        "seconds": time.perf_counter() - started,
    }
    if as_json:
        print_json(report)
    else:
        shape = " x ".join(str(length) for length in volume.shape)
        tell(f"{output}: {shape} {volume.voxels.dtype.name} ({volume.units}), restored by {restore.name}")


@app.command()
def info(src: InrPath, as_json: JsonOption = False) -> None:
    """Print everything an .inr declares."""
    from .io.inr_file import describe

    declared = describe(src)
    words = advice(declared["source_bytes"] / declared["file_bytes"])
    declared |= {"ratio": declared["source_bytes"] / declared["file_bytes"], "advice": words}
    if as_json:
        print_json(declared)
        return
    print_rows(flat(declared))


@app.command()
def compare(
    src: Source,
    inr_path: Annotated[Path, typer.Argument(metavar="IN.inr", help="The .inr made of it.")],
    series: SeriesOption = None,
    skip_broken: SkipBrokenOption = False,
    window: Annotated[
        WindowName, typer.Option(help="CT window of the picture and of the 8-bit PSNR.")
    ] = "full",
    z: Annotated[
        int | None, typer.Option("--slice", help="Axial slice of the picture, from 0; by default the middle.")
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Where to write the picture, a .png; by default beside the .inr.")
    ] = None,
    upscaler: OtherUpscalerOption = None,
    device: DeviceOption = "auto",
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare an .inr with the volume it was made of: figures, and a picture in the paper's manner."""
    from .io.inr_file import read_inr

    inr = read_inr(inr_path)
    to = _figure_output(figure or inr_path.with_name(f"{inr_path.stem}-compare.png"), (src, inr_path), force)
    to.check()
    volume = _read(src, series, skip_broken)
    _print_comparison(_compare(volume, inr, inr_path, window, z, to, upscaler, device), as_json)


@app.command()
def series(src: Source, as_json: JsonOption = False) -> None:
    """List the DICOM series in a folder, and what cannot be read there, to choose one with --series."""
    from .io.dicom import list_series

    with progress_bar() as progress:
        task = progress.add_task("looking through files", total=None)
        listing = list_series(src, lambda done, total: progress.update(task, completed=done, total=total))
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


@app.command("train-sr")
def train_sr(
    volumes: Annotated[
        list[Path], typer.Argument(metavar="SRC...", help="CT volumes to learn from: sources as of compress.")
    ],
    output: Annotated[Path, typer.Option(help="The weights file to write, .safetensors.")],
    validate: Annotated[
        list[Path], typer.Option(help="A volume to judge by, never learnt from. Give it once or more often.")
    ],
    network: Annotated[
        str, typer.Option(help="srdensenet (the paper's), or span (small, for processors).")
    ] = "span",
    factor: Annotated[int, typer.Option(help="HR voxels per LR voxel along y and x: 4, or 2.")] = 4,
    steps: Annotated[int, typer.Option(help="Steps of training.")] = 20_000,
    batch: Annotated[int, typer.Option(help="Patches a step.")] = 16,
    patch: Annotated[int, typer.Option(help="Length of a patch, in LR voxels.")] = 32,
    decoded_share: Annotated[
        float, typer.Option(help="How much of it is LR decoded from fitted SIRENs, 0 to 1.")
    ] = 0.3,
    lr: Annotated[float, typer.Option(help="Learning rate at its highest.")] = 1e-3,
    seed: Annotated[int, typer.Option(help="Where the random numbers start.")] = 0,
    words: Annotated[
        str | None, typer.Option(help="What it was trained on, for the weights file; no names by default.")
    ] = None,
    skip_broken: SkipBrokenOption = False,
    device: DeviceOption = "auto",
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a super-resolution network (x4 or x2 in the plane) on CT volumes of your own.

    Beside the output a folder of its name (.train) keeps a checkpoint, a log and a plot. Interrupted at any
    moment, the same command goes on where it was.
    """
    from .compute.device import find_device
    from .core.atomic import working_folder
    from .outputs import Output, check_folder
    from .superres.model_file import save_weights
    from .superres.pairs import PatchConfig
    from .superres.train import TrainConfig, train
    from .superres.upscale import SUFFIX
    from .training import write_log

    to = Output(
        path=output,
        suffixes=[SUFFIX],
        own=_is_weights_file,
        kind="a weights file of this software",
        sources=(*volumes, *validate),
        force=force,
    )
    patches = PatchConfig(batch=batch, patch=patch, decoded_share=decoded_share)
    config = TrainConfig(
        network=network, factor=factor, steps=steps, learning_rate=lr, patches=patches, seed=seed
    )
    with to.claimed(), working_folder(output.with_suffix(".train")) as folder, interruptible() as stop:
        check_folder(folder, _is_of_training)
        pairs, judged = _training_data(volumes, validate, factor, folder, seed, device, stop, skip_broken)
        where = find_device(device)
        with progress_bar("gain") as progress:
            task = progress.add_task(f"training {network}", total=steps, gain="")
            training = train(pairs, judged, config, folder / "checkpoint.pt", where, stop=stop)
            shown = 0
            while True:
                try:
                    record = next(training)
                except StopIteration as end:
                    result = end.value
                    break
                latest = record.history[-1]
                gains = ", ".join(f"{score.volume} {score.kind} {score.gain:+.2f}" for score in latest.scores)
                progress.update(task, completed=record.step, gain=f"loss {record.loss:.3g}")
                if len(record.history) > shown:
                    shown = len(record.history)
                    write_log(folder, record.history)
                    say(f"step {latest.step:,}: dB above Lanczos: {gains}")
        write_log(folder, result.history)
        if result.stopped:
            say(f"stopped at step {result.step:,} of {steps:,}; the same command goes on from there")
            raise typer.Exit(128 + stop.signal)
        words = words or f"{len(volumes)} volumes, {steps:,} steps, seed {seed}"
        saved = to.keep(lambda path: save_weights(path, result.network, training=words))
    scores = result.history[-1].scores
    report = {
        "output": str(output),
        "network": network,
        "sha256": saved.sha256,
        "file_bytes": saved.size,
        "steps": result.step,
        "seconds": result.seconds,
        "validation": [asdict(score) for score in scores],
        "log": str(folder / "log.csv"),
    }
    if as_json:
        print_json(report)
        return
    tell(
        f"{output}: {network}, {in_bytes(saved.size)}, {result.step:,} steps in {result.seconds / 60:.1f} min"
    )
    print_rows(
        (
            f"{score.volume}, {score.kind} LR",
            f"PSNR {with_decibels(score.psnr)} (range), Lanczos {with_decibels(score.lanczos_psnr)}",
        )
        for score in scores
    )


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to put the demo's files.")] = Path("demo-output"),
    preset: Annotated[str, typer.Option(help=f"One of {', '.join(PRESETS)}.")] = "default",
    steps: Annotated[int | None, typer.Option(help="Steps of the fit.")] = None,
    device: DeviceOption = "auto",
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Do the whole way on a CT head phantom: write DICOM, read, fit, save, re-open, reconstruct, compare."""
    from . import codec
    from .core.phantom import head_phantom
    from .io.dicom_export import write_dicom_series
    from .io.inr_file import read_inr
    from .outputs import check_folder
    from .superres.upscale import find_upscaler

    settings = _settings(preset, steps=steps)
    restore = find_upscaler("auto", settings.factor[1:], device=device)
    source, inr_path = folder / "phantom-dicom", folder / "phantom.inr"
    to = _inr_output(inr_path, source, force)
    figure = _figure_output(folder / "phantom-compare.png", (source, inr_path), force)
    if folder.is_dir():
        to.check()
        figure.check()
    check_folder(source, _is_of_phantom)
    with spinner("making a CT head phantom as a DICOM series"):
        write_dicom_series(head_phantom(), source)
    volume = _read(source)
    with to.claimed():
        result, stop = _fit(volume, settings, device)
        if result.stopped:
            raise Interrupted(stop.signal)
        inr = codec.encode(volume, settings, result, restore)
        _save(inr, to, None, stop)
        inr = replace(inr, quality=_measured(volume, inr, restore, device, inr_path).quality)
        _save(inr, to, None)
    report = _compare(volume, read_inr(inr_path), inr_path, "brain", None, figure, None, device)
    _print_comparison(report | {"fit_seconds": result.seconds, "steps": result.steps}, as_json)


@app.callback(invoke_without_command=True)
def _no_command(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    if version:
        print(f"inr-volume {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


def _settings(
    preset: str,
    factor: str | None = None,
    layers: int | None = None,
    hidden: int | None = None,
    omega: float | None = None,
    lr: float | None = None,
    batch: int | None = None,
    steps: int | None = None,
    lr_psnr: float | None = None,
    seed: int | None = None,
    bits: float | None = None,
) -> Settings:
    """Return the preset with the given options in its place."""
    settings = find_preset(preset)
    kind = find_kind(settings.field.kind)
    options = {
        "all_steps": steps,
        "hidden_features": hidden,
        "layers": layers,
        "omega_0": omega,
        "learning_rate": lr,
        "batch": batch,
        "weight_bits": bits,
        "target_psnr": lr_psnr,
        "seed": seed,
    }
    for name, value in options.items():
        if value is not None:
            settings = kind.with_option(settings, name, value)
    return settings if factor is None else replace(settings, factor=_parse_factor(factor))


def _target(max_bytes: int | None, ratio: float | None, psnr: float | None) -> Target:
    """Return the one target that was given, or that of a preset."""
    kinds: tuple[tuple[TargetKind, float | None], ...] = (
        ("bytes", max_bytes),
        ("ratio", ratio),
        ("psnr", psnr),
    )
    given = [Target(kind=kind, value=value) for kind, value in kinds if value is not None]
    if len(given) > 1:
        raise FitError("--max-bytes, --ratio and --target-psnr exclude one another; give one of them")
    return given[0] if given else Target()


class _Seeker:
    """The settings to fit next for a target, and what was foretold of them."""

    def __init__(
        self, volume: Volume, target: Target, base: Settings, upscaler: str, device: Device, embed: bool
    ) -> None:
        from .planning import plan, probe

        self.volume, self.target, self.base = volume, target, base
        self.upscaler, self.device = upscaler, device
        self.embed = embed
        with interruptible() as stop, progress_bar() as progress:
            task = progress.add_task("looking for settings", total=None)
            probing = probe(volume, base, upscaler=upscaler, device=device, stop=stop)
            while True:
                try:
                    done, total = next(probing)
                except StopIteration as end:
                    self.models = end.value
                    break
                progress.update(task, completed=done, total=total)
        self.plan = plan(volume, self.models, target, base, embed=self.embed)
        self._tell()

    @property
    def settings(self) -> Settings:
        return self.plan.settings

    @property
    def restore(self) -> Upscaler:
        from .superres.upscale import find_upscaler

        return find_upscaler(self.upscaler, self.settings.factor[1:], device=self.device, or_lanczos=True)

    def seek_on(self, reached: float) -> bool:
        """Take a larger network, if this PSNR falls short of the target and there is one."""
        from .planning import next_plan

        larger = next_plan(
            self.volume, self.models, self.target, self.base, self.plan, reached, embed=self.embed
        )
        if larger is None:
            return False
        say(f"{reached:.2f} dB reached; the next try is larger")
        self.plan = larger
        self._tell()
        return True

    def report(self, reached: float) -> dict[str, Any]:
        """Return what was asked for and foretold, and whether it was met; say so where it was not."""
        met = self.target.kind != "psnr" or reached >= self.target.value
        if not met:
            words = self.plan.missed or "no larger network is tried"
            say(f"the target of {self.target.value:g} dB was not met: {reached:.2f} dB (range); {words}")
        return {
            "target": {"kind": self.target.kind, "value": self.target.value, "met": met},
            "expected": {
                "file_bytes": self.plan.file_bytes,
                "lr_psnr": self.plan.lr_psnr,
                "hr_psnr": self.plan.hr_psnr,
            },
        }

    def _tell(self) -> None:
        field, factor = self.settings.field, " x ".join(f"{value:g}" for value in self.settings.factor)
        say(
            f"factor {factor}, {field.in_words},"
            f" {self.settings.fit.weight_bits:.1f} bits a weight; expected: at most"
            f" {in_bytes(self.plan.file_bytes)}, LR about {self.plan.lr_psnr:.1f} dB,"
            f" reconstruction about {self.plan.hr_psnr:.1f} dB (range)"
        )


def _parse_factor(text: str) -> Triple:
    try:
        numbers = [float(part) for part in text.replace("x", ",").split(",")]
        z, y, x = numbers * 3 if len(numbers) == 1 else numbers
    except ValueError:
        raise FitError(f"--factor is one number, or three for z,y,x such as 1,4,4; got {text!r}") from None
    return z, y, x


def _read(src: Path, series: str | None = None, skip_broken: bool = False) -> Volume:
    """Read a source with a progress bar, and say what was read."""
    from .io.sources import read_source

    with slices_bar(f"reading {src.name}") as on_slices:
        volume = read_source(src, series, on_slices, skip_broken=skip_broken)
    say(f"read {volume.summary}")
    return volume


def _inr_output(path: Path, source: Path, force: bool) -> Output:
    from .io.files import SUFFIX
    from .io.inr_file import looks_like_inr
    from .outputs import Output

    return Output(
        path=path, suffixes=[SUFFIX], own=looks_like_inr, kind="an .inr", sources=(source,), force=force
    )


def _figure_output(path: Path, sources: tuple[Path, ...], force: bool) -> Output:
    from .figure import SUFFIX, is_figure
    from .outputs import Output

    kind = "a picture made by this software"
    return Output(path=path, suffixes=[SUFFIX], own=is_figure, kind=kind, sources=sources, force=force)


def _is_weights_file(path: Path) -> bool:
    from .core.errors import ModelError
    from .superres.model_file import load_weights

    try:
        load_weights(path)
    except ModelError:
        return False
    return True


def _is_of_training(path: Path) -> bool:
    """Whether a file in the folder beside a weights file is what training keeps there."""
    return re.fullmatch(r"checkpoint\.pt|log\.(csv|png)|[0-9a-f]{16}\.npy", path.name) is not None


def _is_of_phantom(path: Path) -> bool:
    """Whether a file is a slice of the demo's phantom."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        header = dcmread(path, stop_before_pixels=True)
    except (OSError, InvalidDicomError):
        return False
    return (header.get("PatientID"), header.get("StudyDate")) == ("Phantom", "")


def _check_resume(output: Path, checkpoint: Path, resume: bool) -> None:
    """Raise FitError if there is a fit to resume and it is not to be, or the other way round."""
    if checkpoint.exists() and not resume:
        raise FitError(
            f"{checkpoint} keeps a fit that was interrupted; add --resume to go on with it,"
            " or delete it to begin anew"
        )
    if resume and not checkpoint.exists() and output.exists():
        raise FitError(
            f"there is no fit to resume: {output} is finished, and no file {checkpoint.name} lies beside it;"
            " leave --resume out to make it anew"
        )


@contextmanager
def _saying_what_is_kept(checkpoint: Path) -> Iterator[None]:
    """Put on an interruption where the fit can be resumed."""
    try:
        yield
    except (Interrupted, MemoryError) as error:
        if checkpoint.exists():
            error.add_note(f"{checkpoint} keeps the fit; --resume goes on with it")
        raise


def _fit(
    volume: Volume,
    settings: Settings,
    device: Device,
    checkpoint: Path | None = None,
    before: FitState | None = None,
) -> tuple[FitResult, Stop]:
    """Fit with a progress bar; returns the best network, and what a signal that came has set.

    The checkpoint is written once a minute, after the last step, and when the fit is ended early with a
    result.
    """
    from .codec import fit_volume

    keeper = _Keeper(checkpoint)
    with interruptible() as stop, progress_bar("psnr") as progress:
        done = 0 if before is None else before.step
        task = progress.add_task("fitting", total=settings.fit.all_steps, completed=done, psnr="")
        steps = fit_volume(volume, settings, device=device, stop=stop, resume=before)
        while True:
            try:
                record = next(steps)
            except StopIteration as end:
                result: FitResult = end.value
                if result.state is not None and result.steps > 0:
                    keeper.keep(result.state)
                return result, stop
            if keeper.due or record.step == record.steps:
                keeper.keep(record.state())
            words = f"LR {record.psnr:.2f} dB (range)" if record.psnr else ""
            progress.update(task, completed=record.step, total=record.steps, psnr=words)


class _Keeper:
    """Writes where a fit stands to a checkpoint; a fit for which there is no room goes on without."""

    def __init__(self, checkpoint: Path | None) -> None:
        self.checkpoint = checkpoint
        self.written = time.perf_counter()
        self.told = False

    @property
    def due(self) -> bool:
        return time.perf_counter() - self.written >= SECONDS_PER_CHECKPOINT

    def keep(self, state: FitState) -> None:
        from .fields.state_file import save_state

        if self.checkpoint is None:
            return
        self.written = time.perf_counter()
        try:
            save_state(state, self.checkpoint)
        except (InrError, MemoryError) as error:
            if not self.told:
                _warn(f"the fit goes on, but cannot be kept to be resumed: {error or 'out of memory'}")
            self.told = True


def _keep_partial(result: FitResult, stop: Stop, output: Path, checkpoint: Path) -> bool:
    """Ask whether to save what an interrupted fit reached; without anyone to answer it is saved."""
    if result.steps == 0:
        say("interrupted before the first result; nothing to save")
        return False
    reached = f"the fit was interrupted at step {result.steps:,} (LR {result.psnr:.2f} dB)"
    later = ", to go on later with --resume" if checkpoint.exists() else ""
    if stop.signal != signal.SIGINT or not sys.stdin.isatty():
        say(f"{reached}; saving what it reached to {output}{later}")
        return True
    try:
        return typer.confirm(printable(f"{reached}; save it to {output}{later}?"), default=True, err=True)
    except (Interrupted, typer.Abort):
        if checkpoint.exists():
            raise
        return True


def _save(inr: InrVolume, to: Output, model: bytes | None, stop: Stop | None = None) -> None:
    """Save an .inr, whatever signal comes meanwhile; one that came before to end the run does so then."""
    from .io.inr_file import write_inr

    with interruptible() as late:
        to.keep(lambda path: write_inr(inr, path, model=model))
    hard = stop is not None and stop.is_set() and stop.signal != signal.SIGINT
    if late.is_set() or hard:
        interrupted = Interrupted(late.signal if late.is_set() or stop is None else stop.signal)
        interrupted.add_note(_without_figures(to.path) if inr.quality is None else f"{to.path} is whole")
        raise interrupted


def _measured(volume: Volume, inr: InrVolume, restore: Upscaler, device: Device, output: Path) -> Measured:
    """Measure a network that is in a file already, as an error on the way then says."""
    from .codec import measure

    try:
        with slices_bar("measuring") as on_slices:
            return measure(volume, inr, restore, device=device, on_slices=on_slices)
    except (InrError, MemoryError, RuntimeError, Interrupted) as error:
        error.add_note(_without_figures(output))
        raise


def _without_figures(output: Path) -> str:
    return f"{output} holds the network, without figures of its quality"


def _training_data(
    volumes: list[Path],
    validate: list[Path],
    factor: int,
    folder: Path,
    seed: int,
    device: Device,
    stop: Stop,
    skip_broken: bool,
) -> tuple[list[Pair], list[Pair]]:
    """Read the volumes and prepare what a network learns from, and what it is judged by."""
    from .training import training_pairs, validation_pairs, volume_names

    names = iter(volume_names([*volumes, *validate]))
    pairs: list[Pair] = []
    judged: list[Pair] = []
    for paths, prepare, kept in ((volumes, training_pairs, pairs), (validate, validation_pairs, judged)):
        for path, name in zip(paths, names, strict=False):
            volume = _read(path, skip_broken=skip_broken)
            with progress_bar() as progress:
                task = progress.add_task(name, total=None)
                tell = partial(_describe, progress, task)
                kept += prepare(name, volume, factor, folder, seed, device=device, stop=stop, tell=tell)
    return pairs, judged


def _describe(progress: Progress, task: TaskID, words: str) -> None:
    progress.update(task, description=words)


def _compare(
    volume: Volume,
    inr: InrVolume,
    inr_path: Path,
    window: WindowName,
    z: int | None,
    figure: Output,
    upscaler: str | None,
    device: Device,
) -> dict[str, Any]:
    """Measure an .inr against its original, write the picture, and return the figures."""
    from .codec import measure
    from .figure import draw_comparison
    from .io.inr_file import read_model

    started = time.perf_counter()
    z = volume.shape[0] // 2 if z is None else z
    if not 0 <= z < volume.shape[0]:
        raise InrError(f"--slice must be from 0 to {volume.shape[0] - 1}, got {z}")
    model = read_model(inr_path)
    restore = _upscaler(inr, model, upscaler, device)
    shown = find_window(window, volume)
    with slices_bar("decoding and comparing") as on_slices:
        measured = measure(volume, inr, restore, device=device, window=shown, on_slices=on_slices)
    figure.check()
    draw_comparison(figure.path, volume, inr, restore, measured, z=z, window=shown, device=device)
    more = 0 if restore.weights == model else len(restore.weights)
    return _figures(measured, inr, inr_path.stat().st_size, more) | {
        "upscaler_sha256": restore.sha256,
        "window": str(measured.reconstruction.window),
        "units": inr.units,
        "peak": inr.intensity_range[1] - inr.intensity_range[0],
        "figure": str(figure.path),
        "seconds": time.perf_counter() - started,
    }


def _upscaler(inr: InrVolume, model: bytes | None, chosen: str | None, device: Device) -> Upscaler:
    """Return the upscaler that is chosen, or else the one that the .inr names, with the weights it embeds."""
    from .superres.upscale import find_upscaler

    if chosen is not None:
        return find_upscaler(chosen, inr.factor[1:], device=device)
    return _named_upscaler(inr, [model], device)


def _named_upscaler(inr: InrVolume, weights: list[bytes | str | None], device: Device) -> Upscaler:
    """Return the upscaler that the .inr names; if it cannot be had, Lanczos, and a word on standard error."""
    from .superres.upscale import find_restorer

    return find_restorer(inr, _warn, weights=weights, device=device)


def _warn(words: str) -> None:
    say(f"inr-volume: {words}", "yellow")


def _ratios(inr: InrVolume, file_bytes: int, model_bytes: int) -> dict[str, float]:
    """Return stored pixels over bytes of the file; and with the model that it needs and does not embed."""
    return {
        "ratio": inr.source_bytes / file_bytes,
        "ratio_with_model": inr.source_bytes / (file_bytes + model_bytes),
    }


def _in_words(ratios: dict[str, Any]) -> str:
    words = in_ratio(ratios["ratio"])
    if ratios["ratio_with_model"] != ratios["ratio"]:
        words += f" ({in_ratio(ratios['ratio_with_model'])} with the SR model's bytes)"
    return words


def _figures(measured: Measured, inr: InrVolume, file_bytes: int, model_bytes: int) -> dict[str, Any]:
    hr, lanczos = measured.reconstruction, measured.lanczos
    return {
        "file_bytes": file_bytes,
        "source_bytes": inr.source_bytes,
        **_ratios(inr, file_bytes, model_bytes),
        "lr_psnr": measured.lr_psnr,
        "hr_psnr": hr.psnr,
        "lanczos_psnr": lanczos.psnr,
        "hr_psnr_8bit": hr.psnr_8bit,
        "lanczos_psnr_8bit": lanczos.psnr_8bit,
        "ssim": hr.ssim,
        "lanczos_ssim": lanczos.ssim,
        "hu_rmse": hr.rmse,
        "hu_p99": hr.p99,
        "hu_max": hr.max_error,
        "upscaler": measured.upscaler,
    }


def _print_comparison(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    peak, units = f"range, peak {report['peak']:,.0f} {report['units']}", report["units"]
    rows = [
        ("file", f"{in_bytes(report['file_bytes'])} for {in_bytes(report['source_bytes'])} of stored pixels"),
        ("ratio", _in_words(report)),
        ("LR fit", f"PSNR {with_decibels(report['lr_psnr'])} ({peak})"),
        ("Lanczos alone", f"PSNR {with_decibels(report['lanczos_psnr'])} ({peak})"),
        ("reconstruction", f"PSNR {with_decibels(report['hr_psnr'])} ({peak}), by {report['upscaler']}"),
        ("", f"PSNR {with_decibels(report['hr_psnr_8bit'])} (8 bit, window {report['window']})"),
        ("", f"SSIM {report['ssim']:.4f}"),
        (
            "error",
            f"RMSE {report['hu_rmse']:.1f}, 99 % below {report['hu_p99']:.0f},"
            f" at most {report['hu_max']:.0f} {units}",
        ),
        ("picture", report["figure"]),
    ]
    print_rows(rows)


def _peak(inr: InrVolume) -> str:
    low, high = inr.intensity_range
    return f"range, peak {high - low:,.0f} {inr.units}"
