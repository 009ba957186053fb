"""Downloads from a server on this machine: whole and checked, or nothing is left behind."""

import hashlib
import io
import socket
import stat
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from nucleist.data.downloads import CHUNK, PUBLISHED, download, instructions, published
from nucleist.types import Progress, UserError


def archive(size=200_000):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        entry = zipfile.ZipInfo("Slide_01/01_1.png")  # without a date: the same in each test worker
        file.writestr(entry, bytes(range(256)) * (size // 256))
    return buffer.getvalue()


GOOD = archive()
SHA256, MD5 = hashlib.sha256(GOOD).hexdigest(), hashlib.md5(GOOD).hexdigest()
FLIPPED = GOOD[:1000] + bytes([GOOD[1000] ^ 1]) + GOOD[1001:]


class Server(ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.address = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """What the path says: /good, /flipped, /half, /half-unannounced, /page; else 404."""

    server: Server

    def do_GET(self):
        self.server.asked.append(self.path)
        body = {"/flipped": FLIPPED, "/page": b"<html>please log in</html>"}.get(self.path, GOOD)
        if self.path not in ("/good", "/flipped", "/half", "/half-unannounced", "/page"):
            return self.send_error(404)
        self.send_response(200)
        if self.path != "/half-unannounced":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if "half" in self.path else body)
        self.close_connection = True

    def log_message(self, *args):
        pass


class Bars(Progress):
    """How far each bar went."""

    def __init__(self):
        self.shown = {}

    def watch(self, items, title):
        self.shown[title] = 0
        for item in items:
            self.shown[title] += 1
            yield item


@pytest.fixture
def server(monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("checksum", [SHA256, f"sha256:{SHA256}", f"md5:{MD5}", "unknown"])
def test_download_is_whole_and_recorded(server, tmp_path, checksum, capfd):
    bars = Bars()
    path = download("tnbc", tmp_path / "a" / "b", f"{server.address}/good", checksum, bars)
    assert path == tmp_path / "a" / "b" / "TNBC_NucleiSegmentation.zip"
    assert path.read_bytes() == GOOD
    record = path.with_name(path.name + ".sha256")
    assert record.read_text() == f"{SHA256}  {path.name}\n"
    assert sorted(path.parent.iterdir()) == [path, record]
    assert path.stat().st_mode & stat.S_IRUSR
    assert bars.shown == {path.name: -(-len(GOOD) // CHUNK)}  # to its end
    assert capfd.readouterr() == ("", "")


def test_file_is_readable_by_those_whom_the_umask_lets(server, tmp_path):
    path = download("tnbc", tmp_path, f"{server.address}/good", SHA256)
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


def test_no_second_download_of_what_is_there(server, tmp_path):
    first = download("tnbc", tmp_path, f"{server.address}/good", SHA256)
    again = download("tnbc", tmp_path, f"{server.address}/good", SHA256)
    assert first == again and server.asked == ["/good"]


def test_damaged_file_is_replaced(server, tmp_path):
    path = download("tnbc", tmp_path, f"{server.address}/good", SHA256)
    path.write_bytes(FLIPPED)
    download("tnbc", tmp_path, f"{server.address}/good", SHA256)
    assert path.read_bytes() == GOOD and len(server.asked) == 2


@pytest.mark.parametrize(
    ("page", "checksum", "told"),
    [
        ("half", SHA256, "closed early|closed after"),
        ("half", "unknown", "closed early|closed after"),
        ("half-unannounced", SHA256, "expected"),
        ("half-unannounced", "unknown", "not a complete .zip"),
        ("flipped", SHA256, f"sha256 [0-9a-f]+, expected {SHA256}; nothing was kept"),
        ("page", "unknown", "not a complete .zip"),
        ("none", SHA256, "the server answers 404"),
    ],
)
def test_broken_download_leaves_nothing_behind(server, tmp_path, page, checksum, told):
    folder = tmp_path / "new" / "folder"
    with pytest.raises(UserError, match=told) as error:
        download("tnbc", folder, f"{server.address}/{page}", checksum)
    assert "\n" not in str(error.value) and f"{server.address}/{page}" in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_broken_download_keeps_what_was_there(server, tmp_path):
    path = download("bbbc038", tmp_path, f"{server.address}/good")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    for page in ("half", "flipped", "page"):
        with pytest.raises(UserError):
            download("bbbc038", tmp_path, f"{server.address}/{page}", "1" * 64)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert path.name in before


def test_recorded_checksum_is_held_to(server, tmp_path):
    # None is published for bbbc038: the first download counts, another file later is noticed.
    assert published("bbbc038").checksum is None
    path = download("bbbc038", tmp_path, f"{server.address}/good")
    path.unlink()
    with pytest.raises(UserError, match=f"expected {SHA256}"):
        download("bbbc038", tmp_path, f"{server.address}/flipped")
    assert not path.exists()
    download("bbbc038", tmp_path, f"{server.address}/flipped", "unknown")
    assert path.read_bytes() == FLIPPED


def test_ctrl_c_leaves_nothing_behind(server, tmp_path, monkeypatch):
    from nucleist.data import downloads

    def interrupt(self, count):
        raise KeyboardInterrupt

    monkeypatch.setattr(downloads._Bar, "update", interrupt)
    with pytest.raises(KeyboardInterrupt):
        download("tnbc", tmp_path / "x", f"{server.address}/good", SHA256)
    assert list(tmp_path.iterdir()) == []


def test_no_server_and_no_address(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(UserError, match="no connection"):
        download("tnbc", tmp_path / "x", f"http://127.0.0.1:{port}/a.zip")
    with pytest.raises(UserError, match="not an address"):
        download("tnbc", tmp_path / "x", "file:///etc/hostname")
    with pytest.raises(UserError, match="unknown kind"):
        download("tnbc", tmp_path / "x", checksum="crc:12")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        download("tnbc", tmp_path / "file" / "x", f"http://127.0.0.1:{port}/a.zip")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", [n for n, entry in PUBLISHED.items() if entry.url is None])
def test_data_without_address_is_explained(server, tmp_path, name):
    entry = published(name)
    with pytest.raises(UserError, match="url=ADDRESS of a copy") as told:
        download(name, tmp_path / "data")
    assert entry.page in str(told.value) and entry.file_name in str(told.value)
    assert "\n" not in instructions(name, "data")
    assert list(tmp_path.iterdir()) == []
    # With the address of a copy it is a download, and a file that is there is accepted.
    path = download(name, tmp_path, f"{server.address}/good")
    assert download(name, tmp_path) == path


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(UserError, match="did you mean kumar"):
        published("kumra")
    with pytest.raises(UserError, match="there are bbbc038, tnbc, kumar, dh100"):
        published("something")


def test_addresses_are_those_that_the_publishers_give():
    for name, entry in PUBLISHED.items():
        assert entry.page.startswith("https://") and entry.file_name.endswith(".zip"), name
        assert (entry.url is None) == bool(entry.by_hand)
        if entry.url:
            assert entry.url.startswith("https://") and entry.url.endswith(entry.file_name)
