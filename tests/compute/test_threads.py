"""Pieces of work side by side, and what becomes of their threads in a forked process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

FORKED = """
import os
from napari_inr_volume.compute.threads import side_by_side

done = []
side_by_side([lambda: done.append("before")])
child = os.fork()
side_by_side([lambda: done.append("behind")])
if child == 0:
    os._exit(len(done))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_forked_process_has_threads_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
