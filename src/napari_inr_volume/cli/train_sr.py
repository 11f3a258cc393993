"""`inr-volume train-sr`: a super-resolution network of one's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..console import Stop, interruptible, print_json, print_rows, progress_bar, say, tell
from ..core.generators import drain
from ..core.words import in_bytes, with_decibels
from .files import read, weights_output
from .options import RunOptions, SeriesOptions, SkipBrokenOption

if TYPE_CHECKING:
    from ..superres.model_file import ModelInfo
    from ..superres.pairs import Pair
    from ..superres.train import TrainConfig, TrainProgress, TrainResult


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """How a network is trained."""

    network: Annotated[
        str, typer.Option(help="Network to train: span (small, for CPUs), or srdensenet (the paper's).")
    ] = "span"
    factor: Annotated[
        int, typer.Option(help="In-plane factor that the network restores: 4 (x4 along y and x), or 2.")
    ] = 4
    steps: Annotated[int, typer.Option(help="Steps of training.")] = 20_000
    batch: Annotated[int, typer.Option(help="Patches in each step.")] = 16
    patch: Annotated[int, typer.Option(help="Side of a square patch, in LR voxels.")] = 32
    decoded_share: Annotated[
        float,
        typer.Option(help="Share of the patches, from 0 to 1, whose LR is decoded from fitted networks."),
    ] = 0.3
    scan_share: Annotated[
        float,
        typer.Option(
            help="Share of the other patches, from 0 to 1, that are blurred or sharpened and made noisier, as"
            " another scan would show them."
        ),
    ] = 0.0
    learning_rate: Annotated[
        float, typer.Option(help="Peak learning rate; it falls to zero along half a cosine.")
    ] = 1e-3
    seed: Annotated[int, typer.Option(help="Seed for the random numbers.")] = 0

    def config(self) -> TrainConfig:
        """Return what `superres.train` takes. Raises TrainingError on values that cannot work."""
        from ..superres.pairs import PatchConfig
        from ..superres.train import TrainConfig

        return TrainConfig(
            network=self.network,
            factor=self.factor,
            steps=self.steps,
            learning_rate=self.learning_rate,
            patches=PatchConfig(
                batch=self.batch,
                patch=self.patch,
                scan_share=self.scan_share,
                decoded_share=self.decoded_share,
            ),
            seed=self.seed,
        )


@dataclass(frozen=True, kw_only=True)
class Volumes:
    """What is learnt from, and what the network is judged by."""

    learnt: list[Path]
    judged: list[Path]
    skip_broken: bool

    def pairs(
        self, config: TrainConfig, folder: Path, run: RunOptions, stop: Stop
    ) -> tuple[list[Pair], list[Pair]]:
        """Read the volumes and prepare both; what is fitted for that is kept in the folder."""
        from ..training import training_pairs, validation_pairs, volume_names

        names = iter(volume_names([*self.learnt, *self.judged]))
        learnt: list[Pair] = []
        judged: list[Pair] = []
        kinds = ((self.learnt, training_pairs, learnt), (self.judged, validation_pairs, judged))
        for paths, prepare, pairs in kinds:
            for path, name in zip(paths, names, strict=False):
                volume = read(path, SeriesOptions(skip_broken=self.skip_broken))
                with _saying(name) as say_what:
                    pairs += prepare(
                        name,
                        volume,
                        config.factor,
                        folder,
                        config.seed,
                        device=run.device,
                        stop=stop,
                        tell=say_what,
                    )
        return learnt, judged


def train_sr(
    volumes: Annotated[
        list[Path],
        typer.Argument(metavar="SRC...", help="Volumes to train on, of any kind that compress reads."),
    ],
    *,
    output: Annotated[Path, typer.Option(help="The weights file to write, a .safetensors.")],
    validate: Annotated[
        list[Path],
        typer.Option(
            metavar="PATH",
            help="A volume to validate the network on, never trained on; can be given several times.",
        ),
    ],
    training: TrainOptions,
    words: Annotated[
        str | None,
        typer.Option(
            help="Description of the training data, kept in the weights file; by default it names no volume."
        ),
    ] = None,
    skip_broken: SkipBrokenOption = False,
    run: RunOptions,
) -> None:
    """Train a super-resolution network on your own volumes.

    The network restores a factor of 4 or 2 in the plane. A folder next to the output, with the same name but
    ending in .train, holds a checkpoint, a log and a plot. If training is interrupted, run the same command
    again to resume it.
    """
    from ..core.atomic import working_folder
    from ..outputs import check_folder
    from ..superres.model_file import save_weights
    from ..training import write_log

    to = weights_output(output, (*volumes, *validate), run.force)
    config = training.config()
    data = Volumes(learnt=volumes, judged=validate, skip_broken=skip_broken)
    with to.claimed(), working_folder(output.with_suffix(".train")) as folder, interruptible() as stop:
        check_folder(folder, _is_of_training)
        result = _train(data, config, folder, run, stop)
        write_log(folder, result.history)
        if result.stopped:
            say(f"stopped at step {result.step:,} of {config.steps:,}; run the same command again to resume")
            raise typer.Exit(128 + stop.signal)
        words = words or f"{len(volumes)} volumes, {config.steps:,} steps, seed {config.seed}"
        saved = to.keep(lambda path: save_weights(path, result.network, training=words))
    _print(result, saved, output, config.network, run.as_json)


def _train(data: Volumes, config: TrainConfig, folder: Path, run: RunOptions, stop: Stop) -> TrainResult:
    """Train with a progress bar, and a line for each validation."""
    from ..compute.device import find_device
    from ..superres.train import train
    from ..training import draws, write_log

    if not draws():
        say("log.png will not be drawn: it needs matplotlib, pip install 'napari-inr-volume[figures]'")
    pairs, judged = data.pairs(config, folder, run, stop)
    with progress_bar("gain") as progress:
        task = progress.add_task(f"training {config.network}", total=config.steps, gain="")
        shown = 0

        def show(record: TrainProgress) -> None:
            nonlocal shown
            progress.update(task, completed=record.step, gain=f"loss {record.loss:.3g}")
            if len(record.history) > shown:
                shown = len(record.history)
                latest = record.history[-1]
                write_log(folder, record.history)
                gains = ", ".join(f"{score.volume} {score.kind} {score.gain:+.2f}" for score in latest.scores)
                say(f"step {latest.step:,}: gain over Lanczos in dB: {gains}")

        device = find_device(run.device)
        return drain(train(pairs, judged, config, folder / "checkpoint.pt", device, stop=stop), show)


def _print(result: TrainResult, saved: ModelInfo, output: Path, network: str, as_json: bool) -> None:
    scores = result.history[-1].scores
    report: dict[str, Any] = {
        "output": str(output),
        "network": network,
        "sha256": saved.sha256,
        "file_bytes": saved.size,
        "steps": result.step,
        "seconds": result.seconds,
        "validation": [asdict(score) for score in scores],
        "log": str(output.with_suffix(".train") / "log.csv"),
    }
    if as_json:
        print_json(report)
        return
    minutes = result.seconds / 60
    tell(f"{output}: {network}, {in_bytes(saved.size)}, {result.step:,} steps in {minutes:.1f} min")
    print_rows(
        (
            f"{score.volume}, {score.kind} LR",
            f"PSNR {with_decibels(score.psnr)} (range), Lanczos {with_decibels(score.lanczos_psnr)}",
        )
        for score in scores
    )


@contextmanager
def _saying(words: str) -> Iterator[Callable[[str], None]]:
    """Show a spinner whose text can be changed."""
    with progress_bar() as progress:
        task = progress.add_task(words, total=None)
        yield lambda now: progress.update(task, description=now)


def _is_of_training(path: Path) -> bool:
    """Whether a file in the folder beside a weights file is what training keeps there."""
    return re.fullmatch(r"checkpoint\.pt|log\.(csv|png)|[0-9a-f]{16}\.npy", path.name) is not None
