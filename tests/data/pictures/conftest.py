"""What the tests of pictures share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nucleist.data.pictures import open as opening
from nucleist.data.pictures.picture import Picture


@pytest.fixture
def open_pictures() -> Iterator[Callable[..., list[Picture]]]:
    """`open_pictures`, of which every picture is closed after the test."""
    opened: list[Picture] = []

    def do(path: Path, *choice: object, **options: object) -> list[Picture]:
        found = opening.open_pictures(path, *choice, **options)  # type: ignore[arg-type]
        opened.extend(found)
        return found

    yield do
    for picture in opened:
        picture.close()
