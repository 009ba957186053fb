"""The server itself: uvicorn on a socket that is bound, behind the gate."""

import socket
from collections.abc import Sequence
from types import FrameType

import uvicorn

from nucleist.annotation.server.app import Page
from nucleist.annotation.server.gate import Gate
from nucleist.annotation.session import Session


class Server(uvicorn.Server):
    """Ends the streams of events when it is told to end: they do not end by themselves.

    Args:
        page: What is served.
        token: Secret of the server.
        port: Of the server.
    """

    def __init__(self, page: Page, token: str, port: int):
        self._page = page
        config = uvicorn.Config(
            Gate(page.app(), token, port),
            log_level="warning",
            access_log=False,  # it would print the token
            server_header=False,
            timeout_graceful_shutdown=3,
        )
        super().__init__(config)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal came."""
        self._page.events.closed = True
        super().handle_exit(sig, frame)  # sets should_exit; set before, it would not be graceful

    def end(self) -> None:
        """End soon; from any thread."""
        self._page.events.closed = True
        self.should_exit = True


def run(session: Session, listener: socket.socket, token: str, settings: Sequence[str]) -> None:
    """Serve until a signal comes.

    Args:
        session: The folder, which this process holds.
        listener: Bound on loopback.
        token: Secret that the page has to know.
        settings: Of `nucleist train`, for every training that the page starts.
    """
    page = Page(session)
    page.keeper.settings = list(settings)
    Server(page, token, listener.getsockname()[1]).run(sockets=[listener])
