"""A training as a job of a queue. The node imports this file alone, neither torch nor Hydra."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

INHERITED = ("LOCAL_RANK", "NODE_RANK", "PL_GLOBAL_SEED")
"""Variables that a training sets for its own processes, not for those of another."""


def environment_of_a_run() -> dict[str, str]:
    """The environment of this process without what a training has set for itself."""
    return {name: value for name, value in os.environ.items() if name not in INHERITED}


class Requeued:
    """What a job does; submitit calls `checkpoint` when the cluster wants the node back.

    Args:
        command: What starts the training, or goes on with it.
        log: File that its output is added to.
    """

    def __init__(self, command: Sequence[str], log: str):
        self.command, self.log = list(command), log
        self.folder = os.getcwd()

    def __call__(self) -> int:
        """Train; returns the exit status."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment_of_a_run(),
            )
        try:
            while self.process.poll() is None:
                time.sleep(0.5)
            return self.process.returncode
        finally:
            self.end()

    def end(self) -> None:
        """Have the training save and end.

        Within a signal handler `Popen.wait` could wait for a lock that the interrupted code holds.
        """
        if self.process.returncode is None:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(self.process.pid, signal.SIGTERM)
                os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)

    def checkpoint(self) -> Any:
        """Queue the same again; it goes on from where it is now."""
        from submitit.helpers import DelayedSubmission

        self.end()
        again = Requeued(self.command, self.log)
        again.folder = self.folder
        return DelayedSubmission(again)
