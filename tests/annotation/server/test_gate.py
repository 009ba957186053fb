"""Nothing but the person's own page gets through: every attack on every route."""

import http.client
import json
import re
import socket
import threading
import time

import pytest
from support.annotations import folder_of_images, ring

from nucleist.annotation.server.app import Page
from nucleist.annotation.server.gate import MOST_BYTES
from nucleist.annotation.server.running import Server
from nucleist.annotation.session import Session

TOKEN = "a" * 64
VALUES = {"index": "0", "level": "0", "row": "0", "column": "0", "name": "page.js"}
VALUES |= {"kind": "geojson"}


class Running:
    """A real server on loopback."""

    def __init__(self, session):
        self.page = Page(session)
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self._server = Server(self.page, TOKEN, self.port)
        self.app = self.page.app()  # the same routes
        self._thread = threading.Thread(target=self._server.run, args=([listener],))
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    @property
    def own(self):
        """Headers that the page sends."""
        return {
            "Cookie": f"nucleist-{self.port}={TOKEN}",
            "Sec-Fetch-Site": "same-origin",
            "Origin": f"http://127.0.0.1:{self.port}",
        }

    def ask(self, method, path, headers=None, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            headers = self.own if headers is None else headers
            if body is not None:
                headers = {"Content-Type": "application/json", **headers}
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            endless = response.getheader("Content-Type", "").startswith("text/event-stream")
            return response, b"" if endless else response.read()
        finally:
            connection.close()

    def stop(self):
        self._server.end()
        self._thread.join()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Session(folder_of_images(tmp_path_factory.mktemp("images"))) as session:
        running = Running(session)
        yield running
        running.stop()


def all_routes(app):
    """Method and path of every route there is."""
    for route in app.routes:
        path = re.sub(r"{(\w+)(:\w+)?}", lambda found: VALUES[found[1]], route.path)
        for method in sorted(route.methods - {"HEAD"}):
            yield method, path


def attacks(server):
    own = server.own
    return {
        "no token": (401, {k: v for k, v in own.items() if k != "Cookie"}, None, ""),
        "wrong token": (401, {**own, "Cookie": f"nucleist-{server.port}={'b' * 64}"}, None, ""),
        "token of another port": (401, {**own, "Cookie": f"nucleist-1={TOKEN}"}, None, ""),
        "wrong host": (403, {**own, "Host": "evil.example"}, None, ""),
        "rebound host": (403, {**own, "Host": f"evil.example:{server.port}"}, None, ""),
        "foreign origin": (403, {**own, "Origin": "http://evil.example"}, None, ""),
        "no origin": (403, {**own, "Origin": "null"}, None, ""),
        "other port": (403, {**own, "Origin": "http://127.0.0.1:1"}, None, ""),
        "cross-site fetch": (403, {**own, "Sec-Fetch-Site": "cross-site"}, None, ""),
        "same-site fetch": (403, {**own, "Sec-Fetch-Site": "same-site"}, None, ""),
        "way up": (400, own, None, "/../../etc/passwd"),
        "hidden way up": (400, own, None, "/%2e%2e/%2e%2e/etc/passwd"),
        "hidden slash": (400, own, None, "/..%2fetc%2fpasswd"),
        "backslash": (400, own, None, "/%5c..%5cetc"),
    }


def test_every_attack_on_every_route_is_refused(server):
    routes = list(all_routes(server.app))
    assert len(routes) == 11
    for name, (status, headers, body, more) in attacks(server).items():
        for method, path in routes:
            content = b"{}" if method == "POST" else body
            response, _ = server.ask(method, path + more, headers, content)
            assert response.status == status, (name, method, path)
            assert "default-src 'none'" in response.getheader("Content-Security-Policy")


def test_the_page_itself_gets_through_every_route(server):
    for method, path in all_routes(server.app):
        response, _ = server.ask(method, path, body=b"{}" if method == "POST" else None)
        expected = 422 if path in ("/api/train", "/api/images/0/commands") else 200
        assert response.status == expected, path
        assert response.getheader("X-Content-Type-Options") == "nosniff"
        assert "frame-ancestors 'none'" in response.getheader("Content-Security-Policy")


def test_a_hundred_megabytes_are_refused(server):
    for method, path in all_routes(server.app):
        if method != "POST":
            continue
        headers = {**server.own, "Content-Length": str(100 * 1024**2)}
        response, _ = server.ask(method, path, headers, b"{")
        assert response.status == 413
        whole = server.own | {"Transfer-Encoding": "chunked"}  # of a length that is not said
        try:
            response, _ = server.ask(method, path, whole, chunks(100))
            assert response.status in (413, 200)  # cancel does not read what it is sent
            assert response.status == 413 or path == "/api/cancel"
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server closed it while we were sending


def chunks(megabytes):
    part = b" " * 65536
    for _ in range(megabytes * 16):
        yield part


def test_what_changes_something_needs_json_and_its_own_page(server):
    path, own = "/api/cancel", server.own
    assert server.ask("POST", path, {**own, "Content-Type": "text/plain"}, b"{}")[0].status == 415
    bare = {"Cookie": own["Cookie"]}
    assert server.ask("POST", path, bare, b"{}")[0].status == 403
    assert server.ask("POST", path, bare | {"Origin": own["Origin"]}, b"{}")[0].status == 200
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        assert server.ask(method, path)[0].status == 405
    assert MOST_BYTES < 100 * 1024**2


def test_the_token_becomes_a_cookie_and_leaves_the_address(server):
    response, _ = server.ask("GET", f"/?token={TOKEN}", {})
    assert response.status == 303 and response.getheader("Location") == "/"
    cookie = response.getheader("Set-Cookie")
    assert cookie.startswith(f"nucleist-{server.port}={TOKEN}; HttpOnly; SameSite=Strict")
    assert server.ask("GET", f"/?token={'b' * 64}", {})[0].status == 401
    assert server.ask("GET", f"/api/images?token={TOKEN}", {})[0].status == 401


def test_a_websocket_is_refused(server):
    headers = {
        **server.own,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    response, _ = server.ask("GET", "/api/events", headers)
    # Without a WebSocket package uvicorn takes it for a request: of a stream, not of a socket.
    assert response.status in (200, 400, 403) and response.status != 101


def test_commands_conflicts_and_events(server):
    def give(command, seen, **more):
        body = json.dumps({"command": command, "seen": seen, **more}).encode()
        response, content = server.ask("POST", "/api/images/1/commands", body=body)
        return response.status, json.loads(content)

    status, added = give({"do": "add", "anchors": ring(20, 20)}, 0, key="k")
    assert status == 200 and added["saved"] and added["undo"] and not added["redo"]
    own = added["change"][0][0]
    assert give({"do": "add", "anchors": ring(20, 20)}, 0, key="k")[1]["change"] == added["change"]
    assert give({"do": "move", "id": own, "by": [1, 1]}, 1)[0] == 200
    status, told = give({"do": "move", "id": own, "by": [5, 5]}, 1)
    assert status == 409 and told["revision"] == 2 and len(told["things"]) == 1
    assert give({"do": "propose"}, 2)[0] == 422
    assert give({"do": "cut", "id": own, "line": "x"}, 2)[0] == 422
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/api/events", headers={**server.own, "Last-Event-ID": "0"})
    stream, kinds = connection.getresponse(), []
    while len(kinds) < 3:
        line = stream.readline().decode()
        kinds += [line.split()[1]] if line.startswith("event:") else []
    connection.close()
    assert kinds[0] == "hello" and "change" in kinds


def test_tiles_and_exports(server):
    _, content = server.ask("GET", "/api/images/0")
    about = json.loads(content)["tiles"]
    assert (about["levels"], about["side"], about["gray"]) == (1, 512, True)
    response, content = server.ask("GET", "/api/images/0/tiles/0/0/0?low=0&high=100")
    assert response.status == 200 and content.startswith(b"\x89PNG")
    for path in ("0/tiles/9/0/0", "0/tiles/0/5/5", "7", "0/export/secret", "0/tiles/0/0/0?low=x"):
        assert server.ask("GET", f"/api/images/{path}")[0].status == 422
    assert server.ask("GET", "/assets/app.py")[0].status == 404
    for kind in ("geojson", "fiji", "labels"):
        response, content = server.ask("GET", f"/api/images/0/export/{kind}")
        assert content and "image0" in response.getheader("Content-Disposition")
