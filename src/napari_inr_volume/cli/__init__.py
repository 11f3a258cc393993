"""The command `inr-volume`, a file for each: compress, decompress, info, compare, series, train-sr, demo.

Results go to standard output, progress and errors to standard error. Exit codes: 0 done, 2 bad input or
usage, 130 interrupted (143 by SIGTERM, 129 by SIGHUP). What computes is imported inside the commands, so that
`--help` is there at once.
"""

from __future__ import annotations

from .app import main as main
