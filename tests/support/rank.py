"""A process that ends as a test wants it to: `python -m support.rank SCENE FOLDER`."""

import os
import signal
import sys
import time
from pathlib import Path

from nucleist.distributed.place import agree, place
from nucleist.distributed.worker import work
from nucleist.types import UserError


def scene(name: str, folder: Path) -> str:
    rank = place().rank
    (folder / f"pid{rank}").write_text(str(os.getpid()))
    if name == "agrees":
        own = folder / "run" if rank == 0 else None
        print(f"rank {rank}", file=sys.stderr)
        print(f"nucleist: warning: of rank {rank}", file=sys.stderr)
        return agree(str(own))
    if name == "refuses":
        raise UserError(f"seed={rank}: no")
    if name == "fails" and rank == 1:
        raise ValueError("no such thing")
    if name == "exits" and rank == 1:
        print("out of luck", file=sys.stderr)
        os._exit(7)
    if name in ("is killed", "waits"):
        agree(str(folder))
        (folder / f"ready{rank}").touch()
        if rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
    if name == "loses the others":
        if rank == 1:
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGKILL)
        raise RuntimeError("[gloo] Connection closed by peer")
    if name == "gets SIGTERM":
        signal.signal(signal.SIGTERM, lambda *_: save(folder / f"saved{rank}"))
        agree("both are ready")
    if name in ("gets SIGINT", "gets SIGTERM") and rank == 0:
        time.sleep(0.5)  # the other is ready
        os.kill(os.getppid(), getattr(signal, name.removeprefix("gets ")))
    time.sleep(60)  # as one that waits for a lost process and does not notice
    return ""


def save(file: Path) -> None:
    time.sleep(1)  # longer than others have after a loss
    file.touch()
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(work(lambda: scene(sys.argv[1], Path(sys.argv[2]))))
