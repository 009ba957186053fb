"""One of the processes that `run_on_devices` has started: it ends with them, and reports why."""

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from nucleist.distributed.place import agreed, place, publish
from nucleist.distributed.watch import OthersLostError, kept, watching_others
from nucleist.types import UserError

FAILED, REFUSED, LOST_OTHERS, INTERRUPTED = 1, 2, 3, 130
"""Exit statuses: an unexpected error, a `UserError`, another process was lost, Ctrl-C."""


def work(task: Callable[[], str]) -> int:
    """Do the work of one process; what goes wrong is left for the starting process to report.

    Args:
        task: The work; what it returns in rank 0 is what `run_on_devices` returns.

    Returns:
        The exit status.
    """
    end_with_parent()
    try:
        with watching_others():
            publish(task())
            _leave_group()
    except KeyboardInterrupt:
        return INTERRUPTED
    except OthersLostError as error:
        return _reported(error, LOST_OTHERS)
    except UserError as error:
        return _reported(error, REFUSED)
    except Exception as error:
        traceback.print_exc()
        return _reported(error, FAILED)
    return 0


def _leave_group() -> None:
    """End the threads of torch's process group in order, as its documentation asks for.

    Otherwise they still run while the interpreter ends, where native code may abort.
    """
    distributed = sys.modules.get("torch.distributed")  # else there is no group
    if distributed and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def _reported(error: Exception, status: int) -> int:
    """Leave the message where torch's agent looks for it."""
    if os.environ.get("NUCLEIST_TRACEBACK") and status != FAILED:
        traceback.print_exc()
    message = str(error) if status != FAILED else traceback.format_exception_only(error)[-1].strip()
    file = Path(os.environ["TORCHELASTIC_ERROR_FILE"])
    file.write_text(json.dumps({"message": message, "timestamp": int(time.time())}))
    return status


def end_with_parent() -> None:
    """End this process, and rank 0 with one line, soon after the one that started it is gone.

    Nothing else would: a process that is killed with SIGKILL cannot end those that it started.
    """
    parent, here = os.getppid(), place()

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(0.25)
        if here.rank == 0:
            line = "nucleist: the process that started the training is gone; its ranks end too"
            print(f"{line}{kept(agreed())}", file=sys.stderr, flush=True)
        os._exit(FAILED)  # not sys.exit, which ends this thread only

    threading.Thread(target=look, daemon=True, name="nucleist-parent").start()
