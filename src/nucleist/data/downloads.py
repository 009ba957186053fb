"""Published data sets: where they are, how to get them, and downloads that are whole or nothing.

A download is written beside its place under another name and moved there once its length, its
checksum and, for a `.zip`, its table of contents are right. The checksum of every file that is
kept is recorded beside it, `<file>.sha256` in the form of `sha256sum`, so that a file that
changes later is noticed.

The checksum of TNBC is the one that the library torch_em expects of the same address; it was not
compared with the publisher's. For BBBC038 none is published, so the first download is accepted
and its checksum recorded.
"""

import difflib
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pooch

from nucleist.files import replacing, write_text
from nucleist.progress import shown
from nucleist.types import Progress, UserError

UNKNOWN = "unknown"
"""As `checksum` of `download`: take the file whatever its checksum is."""

CHUNK = 2**16
"""Bytes that are fetched at a time."""


@dataclass(frozen=True)
class Published:
    """A published data set.

    Attributes:
        title: What it is, in a few words.
        page: Address of the page about it.
        licence: Its licence, in short.
        file_name: The file that nucleist reads.
        url: Address of that file; None if a program cannot fetch it.
        checksum: `sha256:...` or `md5:...`; None if none is known.
        by_hand: What to do where there is no address.
    """

    title: str
    page: str
    licence: str
    file_name: str
    url: str | None = None
    checksum: str | None = None
    by_hand: str = ""


PUBLISHED = {
    "bbbc038": Published(
        title="2018 Data Science Bowl, stage 1 training images",
        page="https://bbbc.broadinstitute.org/BBBC038",
        licence="CC0",
        file_name="stage1_train.zip",
        url="https://data.broadinstitute.org/bbbc/BBBC038/stage1_train.zip",
    ),
    "tnbc": Published(
        title="triple-negative breast cancer, H&E, Naylor et al.",
        page="https://zenodo.org/records/1175282",
        licence="CC BY 4.0",
        file_name="TNBC_NucleiSegmentation.zip",
        url="https://zenodo.org/records/1175282/files/TNBC_NucleiSegmentation.zip",
        checksum="sha256:da708c3a988f4ad4b9bbb9283b387faf703f0bc0e5e689927306bd27ea13a57f",
    ),
    "kumar": Published(
        title="30 H&E images of seven organs (MoNuSeg 2018 training data), Kumar et al.",
        page="https://monuseg.grand-challenge.org/Data/",
        licence="CC BY-NC-SA 4.0",
        file_name="MoNuSeg 2018 Training Data.zip",
        by_hand="follow the Google Drive link 'Training data' there",
    ),
    "dh100": Published(
        title="DAPI images of the partial-annotation paper, Cicconet et al. 2017",
        page="https://github.com/feng-lab/nuclei",
        licence="not stated",
        file_name="dh100.zip",
        by_hand="no address is published: ask the authors for train2019, test2019 and annotations",
    ),
}
"""Data sets by the name they have in nucleist."""


def published(name: str) -> Published:
    """Look a data set up.

    Raises:
        UserError: If there is none of this name; the nearest one is suggested.
    """
    if name in PUBLISHED:
        return PUBLISHED[name]
    near = difflib.get_close_matches(name, PUBLISHED, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UserError(f"{name}: no published data set; {hint}there are {', '.join(PUBLISHED)}")


def instructions(name: str, folder: str | Path) -> str:
    """How to get a data set that a program cannot fetch, in one line.

    Raises:
        UserError: If there is no data set of this name.
    """
    entry = published(name)
    steps = entry.by_hand or "download it in a browser"
    return f"{name}: open {entry.page}, {steps}, and put {entry.file_name} into {folder}"


def download(
    name: str,
    folder: str | Path,
    url: str | None = None,
    checksum: str | None = None,
    progress: bool | Progress = False,
) -> Path:
    """Download a published data set, unless it is there already.

    Args:
        name: One of `PUBLISHED`.
        folder: Where to put the file; made if need be.
        url: Another address of the same file, such as a mirror.
        checksum: `sha256:<hex>`, `md5:<hex>` or plain SHA-256 to check instead of the one in
            `PUBLISHED` or the one recorded earlier; `"unknown"` to check none.
        progress: True shows a bar on stderr.

    Returns:
        The file, whole, with its checksum recorded beside it.

    Raises:
        UserError: If there is no such data set, it has no address (the message explains how to get
            it by hand), the connection breaks, or the file is not what it should be. Then
            nothing is left behind, and a file that was there before is untouched.
    """
    entry, folder = published(name), Path(folder)
    path = folder / entry.file_name
    record = path.with_name(path.name + ".sha256")
    address = url or entry.url
    known = None if checksum == UNKNOWN else checksum or entry.checksum or _recorded(record)
    if known and pooch.hashes.hash_algorithm(known) not in ("sha256", "md5", "sha1", "sha512"):
        raise UserError(f"checksum={known}: unknown kind; give sha256:<hex> or md5:<hex>")
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        if not _is_here(path, known):
            if address is None:
                raise UserError(f"{instructions(name, folder)}; or give url=ADDRESS of a copy")
            _fetch(address, path, known, shown(progress))
        digest = pooch.file_hash(str(path))
    except BaseException:
        for parent in made:
            with suppress(OSError):
                parent.rmdir()
        raise
    write_text(record, f"{digest}  {path.name}\n")
    return path


def _is_here(path: Path, known: str | None) -> bool:
    """Whether the file is there with the right checksum, or whole if none is known."""
    if not path.is_file():
        return False
    return pooch.hashes.hash_matches(path, known) if known else zipfile.is_zipfile(path)


def _fetch(url: str, path: Path, known: str | None, progress: Progress) -> None:
    answers: list[Any] = []
    with replacing(path) as temporary, _Bar(path.name, progress) as bar:
        fetch = pooch.HTTPDownloader(
            progressbar=bar,
            chunk_size=CHUNK,
            # Uncompressed, or the announced length would not be the length of the file.
            headers={"Accept-Encoding": "identity"},
            hooks={"response": lambda answer, **_: answers.append(answer)},
        )
        try:
            fetch(url, str(temporary), None)
        except OSError as error:
            raise UserError(f"{url}: {_reason(error)}") from error
        finally:
            for answer in answers:
                answer.close()  # pooch leaves the connection of a broken download open
        size = temporary.stat().st_size
        if bar.total and size != bar.total:
            raise UserError(
                f"{url}: the connection was closed after {size} of {bar.total} bytes; "
                "nothing was kept, try again"
            )
        _check(temporary, url, known)


def _check(file: Path, url: str, known: str | None) -> None:
    """Refuse a file with another checksum or, where that is not known, cut short."""
    if known:
        algorithm = pooch.hashes.hash_algorithm(known)
        found = pooch.file_hash(str(file), alg=algorithm)
        if found.lower() != known.split(":")[-1].lower():
            raise UserError(
                f"{url}: {algorithm} {found}, expected {known.split(':')[-1]}; nothing was kept, "
                f"try again or, if you trust the file, give checksum={UNKNOWN}"
            )
    if not zipfile.is_zipfile(file):
        raise UserError(f"{url}: what came is not a complete .zip; nothing was kept, try again")


def _reason(error: OSError) -> str:
    """One line about what stopped a download, without the addresses in memory."""
    from requests import exceptions as http  # as pooch, not before it is needed: slow to import

    if isinstance(error, http.HTTPError) and error.response is not None:
        return f"the server answers {error.response.status_code}; open it in a browser"
    if isinstance(error, http.ChunkedEncodingError):
        return "the connection was closed early; nothing was kept, try again"
    if isinstance(error, http.Timeout):
        return "the server does not answer; nothing was kept, try again"
    if isinstance(error, http.ConnectionError):
        return "no connection; check the address and the network"
    if isinstance(error, http.RequestException):
        return f"not an address to download from ({type(error).__name__}); give http(s)://..."
    return f"cannot write ({error.strerror}); choose another folder"


def _recorded(record: Path) -> str | None:
    """The checksum recorded at an earlier download; None if there is none that can be read."""
    try:
        words = record.read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return None
    return f"sha256:{words[0]}" if words and len(words[0]) == 64 else None


class _Bar:
    """A bar of a `Progress` with the methods of tqdm's that pooch calls.

    Args:
        title: What is downloaded.
        progress: Shows the bar.
    """

    def __init__(self, title: str, progress: Progress):
        self.total = 0  # bytes; pooch sets it if the server announces a length
        self._title, self._progress, self._done = title, progress, 0
        self._parts: Iterator[int] | None = None

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def update(self, count: int) -> None:
        if self._parts is None:
            parts = range(-(-self.total // CHUNK))
            self._parts = iter(self._progress.watch(parts, self._title))
            next(self._parts, None)
        for _ in range((self._done + count) // CHUNK - self._done // CHUNK):
            next(self._parts, None)
        self._done += count

    def reset(self) -> None:
        """Nothing: pooch fills the bar afterwards."""

    def close(self) -> None:
        for _ in self._parts or ():  # to its end, or the bar would stay on the screen
            pass
