"""The application: its commands, and how an error ends it."""

from __future__ import annotations

import os
import sys
from typing import Annotated, NoReturn

import typer

from .. import __version__
from ..console import Interrupted, ended_by_signals, say
from ..core.errors import InrError
from ..core.memory import OUT_OF_MEMORY
from ..core.text import printable
from .batch import batch
from .compare import compare
from .compress import compress
from .decompress import decompress
from .demo import demo
from .info import info
from .options import expanded
from .series import series
from .strip import strip
from .train_sr import train_sr

app = typer.Typer(
    help="Turn a volume, such as a CT, into a neural network small enough to mail, and back.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for name, command in (
    ("compress", compress),
    ("batch", batch),
    ("decompress", decompress),
    ("info", info),
    ("compare", compare),
    ("strip", strip),
    ("series", series),
    ("train-sr", train_sr),
    ("demo", demo),
):
    app.command(name)(expanded(command))


def main() -> None:
    """Run the command; what a user can act on ends in one line, not in a traceback."""
    # Read when torch is loaded, so it is set before. Threads that spin while they wait take the core from
    # those they wait for once anything else runs. Only here is the process ours alone; in napari it is not.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        with ended_by_signals():
            sys.exit(app(standalone_mode=False) or 0)
    except (InrError, typer.exceptions.TyperException) as error:
        words = str(error) if isinstance(error, InrError) else error.format_message()
        _end(error, words, 2)
    except MemoryError as error:
        _end(error, OUT_OF_MEMORY, 2)
    except OSError as error:  # such as a name that is too long, wherever it is looked at first
        name = "" if error.filename is None else f"'{printable(str(error.filename))}' cannot be used: "
        _end(error, f"{name}{error.strerror or error}", 2)
    except RuntimeError as error:
        from ..compute.device import out_of_memory

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


@app.callback(invoke_without_command=True)
def _no_command(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        print(f"inr-volume {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())
