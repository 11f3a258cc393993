"""The program FFmpeg of the package imageio-ffmpeg: bytes in, bytes out, killed when nobody waits for it.

It is run, never linked, since the codecs in it are under the GPL. Everything goes through pipes, so there are
no temporary files.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import subprocess
from threading import Event, Thread

from .codec import CodecError, check

OPTIONS = ["-hide_banner", "-loglevel", "error"]
POLL = 0.1  # seconds between looks at whether anybody still waits
QUIET = {"SVT_LOG": "1"}  # of SVT-AV1, which knows nothing of FFmpeg's -loglevel: errors alone
NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # Windows would open a console


@functools.cache
def program() -> str:
    """Return where the program is. Raises CodecError if it is not there."""
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise CodecError("the package imageio-ffmpeg is here, but its program ffmpeg is not") from error


@functools.cache
def encoders() -> frozenset[str]:
    """Return the names of the encoders that the program has; none if it is not there."""
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        return frozenset()
    try:
        lines = run(["-encoders"], b"", Event()).decode(errors="replace").splitlines()
    except (CodecError, OSError):
        return frozenset()
    return frozenset(words[1] for words in map(str.split, lines) if len(words) > 1)


def run(arguments: list[str], data: bytes, stop: Event) -> bytes:
    """Return what the program makes of `data`, from its input to its output.

    Raises CodecError with the last line of what it said if it fails, and if `stop` was set, within POLL.
    """
    check(stop)
    command = [program(), *OPTIONS, *arguments]
    pipe, over = subprocess.PIPE, Event()
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, env=os.environ | QUIET, creationflags=NO_WINDOW
    ) as child:

        def watch() -> None:
            while not over.wait(POLL):
                if stop.is_set():
                    child.kill()
                    return

        # Not by communicate's own timeout, after which Python 3.11 writes no more of the input.
        watcher = Thread(target=watch, name="ffmpeg-watcher", daemon=True)
        watcher.start()
        try:
            output, said = child.communicate(data)
        except BaseException:
            child.kill()
            raise
        finally:
            over.set()
            watcher.join()
    check(stop)
    if child.returncode:
        lines = said.decode(errors="replace").strip().splitlines()
        raise CodecError(f"ffmpeg failed: {lines[-1][:200] if lines else f'status {child.returncode}'}")
    return output
