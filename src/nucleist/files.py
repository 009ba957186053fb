"""Files that appear complete or not at all, whatever interrupts the program that writes them."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

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
