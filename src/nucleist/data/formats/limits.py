"""The largest image that is decoded."""

from nucleist.types import UserError

MAX_PIXELS = 400_000_000
"""Images that claim more pixels (height times width) are refused before decoding."""


def check_size(height: int, width: int, where: str) -> None:
    """Refuse an image that is too large.

    Args:
        height: Pixels, as the file claims.
        width: Likewise.
        where: The file, for messages.

    Raises:
        UserError: If it claims more than `MAX_PIXELS`.
    """
    if height * width > MAX_PIXELS:
        raise UserError(
            f"{where}: claims {height} x {width} pixels, over the limit of {MAX_PIXELS}; "
            "cut it into tiles"
        )
