"""What a function reports, kept."""

from nucleist.types import Progress


class Lines(Progress):
    """Keeps the lines that a function reports."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def note(self, line: str) -> None:
        self.notes.append(line)

    def warn(self, line: str) -> None:
        self.warnings.append(line)
