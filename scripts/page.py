"""Run the commands of a page and write what they print into it.

    python -m scripts.page docs/first_hour.md --folder /tmp/hour

A page has `python` blocks whose first line names their file (`# draw.py`), and `console` blocks of
`$ command` lines, each followed by its output. The files are written and the commands run in the
folder, in the order of the page. A test runs the same page with smaller numbers and compares the
output as `alike` does.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CUT = "..."
"""A line of a page that stands for any number of lines of output."""


def run_page(
    text: str, folder: Path, change: Callable[[str], str] = lambda command: command
) -> Iterator[tuple[str, str, str]]:
    """Write the files of a page and run its commands, one after the other.

    Args:
        text: The page.
        folder: Where; it is made.
        change: What is done to each command and file first, such as smaller numbers.

    Yields:
        Each command, what the page says that it prints, and what it printed.

    Raises:
        RuntimeError: If a command fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for kind, body in BLOCK.findall(text):
        if kind == "python":
            name = body.partition("\n")[0].removeprefix("# ")
            (folder / name).write_text(change(body))
            continue
        for command, expected in commands_of(body):
            yield command, expected, _run(change(command), folder)


def commands_of(block: str) -> list[tuple[str, str]]:
    """The commands of a `console` block and the output below each."""
    parts = re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))


def alike(expected: str, printed: str) -> bool:
    """Whether outputs have the same words; numbers may differ, and `...` stands for any lines."""
    patterns = [".*" if line == CUT else re.escape(_words(line)) for line in expected.splitlines()]
    found = "\n".join(_words(line) for line in printed.splitlines())
    return re.fullmatch("\n?".join(patterns), found, re.DOTALL) is not None


def _words(line: str) -> str:
    """A line without numbers, ids of runs, plurals and bars."""
    line = re.sub(r"\d{8}-\d{6}-[0-9a-f]+-\d+", "RUN", line)
    line = re.sub(r"\d+(\.\d+)?", "N", line)
    line = re.sub(r"N (s|min|h)\b( N (s|min)\b)?", "TIME", line)
    return re.sub(r"\s+", " ", line).strip()


def _run(command: str, folder: Path) -> str:
    scripts = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command}: status {done.returncode}\n{done.stdout}")
    return done.stdout


def main() -> None:
    """Rewrite the page with what its commands print now."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args()
    text = given.page.read_text()
    for command, expected, printed in run_page(text, given.folder):
        print(f"$ {command}\n{printed}", flush=True)
        if CUT not in expected.splitlines():
            text = text.replace(f"$ {command}\n{expected}", f"$ {command}\n{printed}", 1)
    given.page.write_text(text)


if __name__ == "__main__":
    main()
