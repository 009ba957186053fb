"""Files and folders: written whole or not at all, read with a remedy in the message, locked."""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from nucleist.types import UserError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Offer a temporary name beside a file; put it in the file's place if all went well.

    The temporary name has the same extension, so that writers that look at it do the same. It
    is unique, so that two processes may write the same file: the last one stays. The folder is
    made if need be. On any exception, Ctrl-C included, nothing is left behind.

    Args:
        path: The file to be written; one that is there is replaced at the end.

    Yields:
        The name to write to; nothing is there yet.

    Raises:
        UserError: If the file cannot be written (no permission, no space).
    """
    path = Path(path)
    # Not tempfile.mkstemp: its files are readable by their owner only, ours by whom the umask
    # lets.
    temporary = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{path}: cannot write ({reason}); choose a writable folder") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object, one value a line, whole or not at all."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def read_json(path: str | Path, remedy: str) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: The file.
        remedy: What the user should do if it is missing or damaged, for the message.

    Raises:
        UserError: If the file is missing, is not JSON, or is not an object.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; {remedy}") from error
    except (ValueError, RecursionError) as error:  # of lists a thousand deep
        raise UserError(f"{path}: not JSON; {remedy}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: a JSON {type(content).__name__}, not an object; {remedy}")
    return content


def read_json_if_there(path: str | Path) -> dict[str, Any]:
    """A JSON object, empty if the file is missing or damaged."""
    try:
        return read_json(path, "")
    except UserError:
        return {}


def make_folder(path: str | Path, remedy: str = "choose another folder") -> Path:
    """Make a folder and those above it; one that is there stays as it is.

    Args:
        path: The folder.
        remedy: What the user should do if that is not possible, for the message.

    Raises:
        UserError: If it cannot be made.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot make this folder ({error.strerror}); {remedy}") from error
    return Path(path)


@contextmanager
def holding(folder: Path, wanted: bool = True) -> Iterator[None]:
    """Keep other processes out of a folder. The lock ends with the process, however it ends.

    Args:
        folder: The folder, which exists.
        wanted: False does nothing.

    Raises:
        UserError: If another process holds the folder, or it is not writable.
    """
    if not wanted:
        yield
        return
    lock = filelock.FileLock(folder / ".lock", blocking=False)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise UserError(
            f"{folder}: another process is at work in it; wait for it, or end it"
        ) from error
    except OSError as error:
        raise UserError(
            f"{folder}: cannot write ({error.strerror}); choose a writable folder"
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def claiming(path: Path, wait: bool = False) -> Iterator[bool]:
    """Take a piece of work that several processes may take; it ends with the process at the latest.

    Args:
        path: A lock file that stands for the work, in a folder that exists; removed afterwards.
        wait: Wait for another process that has it.

    Yields:
        Whether this process has it.

    Raises:
        UserError: If the folder is not writable.
    """
    lock = filelock.FileLock(path, blocking=wait)
    try:
        lock.acquire()
    except filelock.Timeout:
        yield False
        return
    except OSError as error:
        raise UserError(
            f"{path.parent}: cannot write ({error.strerror}); choose a writable folder"
        ) from error
    try:
        yield True
    finally:
        with suppress(OSError):  # where open files cannot be removed it stays, and is free
            path.unlink()
        lock.release()


@contextmanager
def making_folder(folder: Path) -> Iterator[Path]:
    """Offer a temporary folder; it becomes a new folder if all went well.

    On any exception, Ctrl-C included, nothing is left behind.

    Args:
        folder: Must not exist yet, or be empty. Folders above it are made.

    Yields:
        The folder to write into, which exists.

    Raises:
        UserError: If the folder is in use or cannot be written.
    """
    temporary = folder.absolute().parent / f".{folder.name}-{uuid.uuid4().hex}"
    made = [parent for parent in temporary.parents if not parent.exists()]
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder}: is there already; choose another folder or remove it")
        temporary.mkdir(parents=True)
        yield temporary
        if folder.exists():
            folder.rmdir()
        temporary.rename(folder)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{folder}: cannot write ({reason}); choose another folder") from error
    finally:
        with suppress(OSError):
            shutil.rmtree(temporary)
        for parent in made:  # those that are empty, which is after a failure
            with suppress(OSError):
                parent.rmdir()


@contextmanager
def in_turn(folder: Path) -> Iterator[None]:
    """Wait until no other process works on what several of them write into a folder.

    Args:
        folder: The folder, which exists.

    Raises:
        UserError: If it is not writable.
    """
    try:
        lock = filelock.FileLock(folder / ".turn")
        lock.acquire()
    except OSError as error:
        raise UserError(
            f"{folder}: cannot write ({error.strerror}); choose a writable folder"
        ) from error
    try:
        yield
    finally:
        lock.release()


def is_held(folder: Path) -> bool:
    """Whether another process is at work in a folder."""
    try:
        with holding(folder):
            return False
    except UserError:
        return True


def checksum(arrays_by_name: Iterable[tuple[str, Sequence[np.ndarray]]]) -> str:
    """A hash of named arrays: 16 hexadecimal digits.

    Args:
        arrays_by_name: Names, each with its arrays; name, shape, dtype and every value count.
    """
    digest = hashlib.sha256()
    for name, arrays in arrays_by_name:
        digest.update(name.encode())
        for array in arrays:
            digest.update(f" {array.dtype} {array.shape} ".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def text_hash(text: str) -> str:
    """A hash of a text: 12 hexadecimal digits, as names of run folders contain."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
