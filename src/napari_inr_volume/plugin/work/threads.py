"""How work shares the processor with the window."""

from __future__ import annotations

import os


def leave_a_core() -> None:
    """Leave one core to the UI. torch counts threads for each thread that calls it."""
    import torch

    torch.set_num_threads(max(1, (os.cpu_count() or 1) - 1))
