"""Libraries that are installed only where their formats are needed."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

from nucleist.types import UserError


def needed(module: str, extra: str, name: str, path: Path) -> ModuleType:
    """Import a library that a file needs.

    Args:
        module: Its module.
        extra: The extra of nucleist that installs it.
        name: What people call it.
        path: The file.

    Raises:
        UserError: If it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(
            f"{path}: {path.suffix.lower() or 'this kind of file'} is read by {name}, which is not "
            f"installed; pip install 'nucleist[{extra}]', or save the image as OME-TIFF"
        ) from error
