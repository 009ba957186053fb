"""Several processes outline the images of one folder: each image is done by one of them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from nucleist.files import claiming
from nucleist.inference import earlier
from nucleist.inference.opened import Item
from nucleist.inference.outputs import existing, there_already
from nucleist.types import Progress


class Turns:
    """The images that this process has to outline, those that others are at last.

    A lock file beside the results, `.NAME.lock`, stands for an image while it is outlined.
    """

    def __init__(self, folder: Path, overwrite: bool) -> None:
        """Begin, before the results that are there are looked at.

        Args:
            folder: Folder of the results.
            overwrite: Whether results with other settings are replaced.
        """
        self._since, self._overwrite = earlier.Since(folder), overwrite
        self._later: list[Item] = []

    def over(
        self, images: Sequence[Item], outputs: Mapping[Item, Path], progress: Progress
    ) -> Iterator[tuple[Item, AbstractContextManager[bool]]]:
        """Images, each with a context in which no other process does it.

        The context tells whether it is so. If another process has the image, it comes again at the
        end: when that one is done with it, or was ended.

        Args:
            images: The images.
            outputs: Where the results of each go, without the ending.
            progress: Shows how far it is.
        """
        for image in progress.watch(images, "outlining"):
            yield image, self._turn(image, outputs[image], wait=False)
        if self._later:
            progress.note(f"waiting for {len(self._later)} images that other processes outline")
        for image in self._later:
            yield image, self._turn(image, outputs[image], wait=True)

    def done(self, output: Path, settings: str, wanted: Sequence[str]) -> dict[str, Any] | None:
        """What another process has recorded of an image since this one began.

        Args:
            output: Where the results go, without the ending.
            settings: Hash of the settings; others are other results.
            wanted: What is to be saved.

        Returns:
            The line; None if the image is still to be outlined.

        Raises:
            UserError: If it has other settings and is not to be replaced.
        """
        line = self._since.of(output.name)
        if line is None or line["nuclei"] is None:
            return None
        if line["settings"] == settings:
            return line if set(wanted) <= set(line["saved"]) else None
        files = existing(output, line["saved"])
        if files and not self._overwrite:
            raise there_already(files)
        return None

    @contextmanager
    def _turn(self, image: Item, output: Path, wait: bool) -> Iterator[bool]:
        with claiming(output.with_name(f".{output.name}.lock"), wait) as own:
            if not own:
                self._later.append(image)
            yield own
