"""What decoders raise on damaged files, as one line for the user."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import tifffile

from nucleist.types import UserError

DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    RuntimeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    EOFError,
    struct.error,
    zlib.error,
    tifffile.TiffFileError,  # a ValueError in later releases
)
"""What decoders are known to raise on damaged files."""


@contextmanager
def as_damage(where: str) -> Iterator[None]:
    """Turn what a decoder raises into a message about the file.

    Args:
        where: The file, for messages.

    Raises:
        UserError: If something of `DAMAGE` is raised inside, or no memory was left.
    """
    try:
        yield
    except (*DAMAGE, MemoryError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{where}: damaged image ({reason}); copy the file again") from error
