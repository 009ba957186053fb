"""A training leaves the process that called it as it was, so that a notebook may train twice."""

import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

LOGGERS = ("pytorch_lightning", "lightning.pytorch", "lightning_fabric")

EXPECTED_WARNINGS = (
    ".*does not have many workers.*",
    ".*Checkpoint directory .* exists.*",
    ".*isinstance.treespec.*",
    ".*Experiment logs directory.*",
    ".*LeafSpec.*",
    ".*smaller than the logging interval.*",
    ".*dataloader is not resumable.*",  # `Draws` is, but does not declare it
)


@contextmanager
def isolated() -> Iterator[None]:
    """Restore everything of this process that a training changes.

    These are environment variables, warning filters, signal handlers, the exception hook, levels
    of loggers and the states of the random generators. Inside, warnings of libraries about choices
    made on purpose are hidden.
    """
    environment, hook = dict(os.environ), sys.excepthook
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    random_state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    handlers = _signal_handlers()
    try:
        with warnings.catch_warnings():
            quiet()
            yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        sys.excepthook = hook
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for number, handler in handlers.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        random.setstate(random_state[0])
        np.random.set_state(random_state[1])
        torch.set_rng_state(random_state[2])
        for device, state in enumerate(cuda):
            torch.cuda.set_rng_state(state, device)


def _signal_handlers() -> dict[signal.Signals, Any]:
    """The handlers set from Python; none outside the main thread, where they cannot be set."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    found = {number: signal.getsignal(number) for number in signal.valid_signals()}
    return {
        signal.Signals(number): handler
        for number, handler in found.items()
        if handler is not None and number in set(signal.Signals)
    }


def quiet() -> None:
    """Hide warnings of libraries about choices made on purpose."""
    os.environ.setdefault("PYTORCH_LIGHTNING_SUPPRESS_TIPS", "1")
    for text in EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", text)
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
