"""What data sets share that show the images of another one: all that they do not say themselves."""

from collections.abc import Mapping

from nucleist.types import Record, Source


class Wrapped(Source):
    """A data set that shows another one; a subclass changes a part of it.

    Args:
        source: The other one.
    """

    def __init__(self, source: Source):
        self._source, self.grouped = source, source.grouped

    @property
    def pixel_size(self) -> float | None:  # type: ignore[override]
        """As the data set's own."""
        return self._source.pixel_size

    def splits(self) -> Mapping[str, list[str]]:
        """As the data set's own."""
        return self._source.splits()

    def read(self, image_id: str) -> Record:
        """As the data set's own."""
        return self._source.read(image_id)

    def groups(self) -> Mapping[str, str]:
        """As the data set's own."""
        return self._source.groups()

    def kinds(self) -> Mapping[str, str]:
        """As the data set's own."""
        return self._source.kinds()

    def problems(self) -> list[str]:
        """As the data set's own."""
        return self._source.problems()

    def describe_pairing(self) -> str:
        """As the data set's own."""
        return self._source.describe_pairing()
