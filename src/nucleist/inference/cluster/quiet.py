"""Loaded by each process of `local:N` as it starts: Ctrl-C is for the process that started them."""

import signal
from typing import Any


def dask_setup(worker: Any) -> None:
    """Ignore Ctrl-C, which a terminal sends to them too; dask calls this, in the main thread.

    Args:
        worker: Of dask.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
