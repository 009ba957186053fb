"""Start the server of a folder, open the page, and wait until it is ended."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nucleist.annotation.rounds import Rounds
from nucleist.annotation.session import Session
from nucleist.files import read_json_if_there
from nucleist.progress import shown
from nucleist.types import Progress, UserError

HOST = "127.0.0.1"
SERVER = "server.json"
"""In the folder of the project: port and token, so that an open page finds a new server."""


def annotate(
    folder: str | Path,
    *,
    model: str | Path | None = None,
    port: int | None = None,
    browser: bool = True,
    overrides: Sequence[str] = (),
    channel: Any | None = None,
    z: Any | None = None,
    progress: bool | Progress = True,
) -> None:
    """Outline nuclei in the browser, with a net that learns from them; returns when it is ended.

    Args:
        folder: The images, perhaps with labels.
        model: A run folder or checkpoint whose proposals the page begins with; None for those
            that are there.
        port: On this computer; None for that of the last time, or a free one.
        browser: Open the page.
        overrides: Settings of `nucleist train`, for every training that the page starts.
        channel: Which channel shows the nuclei, see `nucleist.data.Folder`.
        z: Which plane, likewise.
        progress: True prints the address to stderr; or an object that shows it otherwise.

    Raises:
        UserError: If the folder cannot be used, the port is taken, or the packages of the extra
            `annotate` are missing.
    """
    try:
        from nucleist.annotation.server.running import run
    except ImportError as error:
        raise UserError(
            f"annotate needs {error.name}; run: pip install 'nucleist[annotate]'"
        ) from error
    watcher = shown(progress)
    with Session(folder, channel, z) as session, _socket(session.project, port) as listener:
        token, number = _token(session.project, listener.getsockname()[1])
        if model is not None:
            Rounds(session).propose_with(model)
        address = f"http://{HOST}:{number}/?token={token}"
        watcher.note(f"{session.folder}: {len(session)} images; open {address} ; Ctrl-C ends")
        if browser:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):  # how a person ends it
            run(session, listener, token, overrides)


def _socket(project: Path, port: int | None) -> socket.socket:
    """A socket on loopback: the asked port, else that of the last time, else any."""
    last = read_json_if_there(project / SERVER).get("port")
    tried = [port] if port is not None else [last if isinstance(last, int) else 0, 0]
    for number in tried:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if os.name == "posix":  # after a crash the port waits; elsewhere this would share it
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, number))
            listener.listen()  # a page that is opened now waits until it is served
            return listener
        except (OSError, OverflowError) as error:
            listener.close()
            reason = error
    raise UserError(f"port={port}: cannot be used ({reason}); leave port out")


def _token(project: Path, port: int) -> tuple[str, int]:
    """The token of a port: that of the last server on it, else a new one.

    The file is readable by its owner alone.
    """
    path = project / SERVER
    known = read_json_if_there(path)
    if known.get("port") == port and len(str(known.get("token", ""))) == 64:
        return str(known["token"]), port
    token = secrets.token_hex(32)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f'{{"port": {port}, "token": "{token}"}}\n')
    return token, port
