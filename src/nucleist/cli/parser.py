"""Options of a verb: argparse, whose complaints are one line as all others of nucleist."""

import argparse
from typing import Any

from nucleist.types import UserError


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that raises a `UserError`.

    Args:
        verb: The words of the command.
        description: What it does.
        epilog: Shown below the options; as it is written if it has several lines.
    """

    def __init__(self, verb: str, description: str = "", epilog: str = ""):
        super().__init__(
            verb,
            description=description,
            epilog=epilog,
            formatter_class=(
                argparse.RawDescriptionHelpFormatter if "\n" in epilog else argparse.HelpFormatter
            ),
        )

    def error(self, message: str) -> Any:
        """Raise a UserError instead of printing the usage."""
        raise UserError(f"{message}; see {self.prog} --help")
