"""The commands in the fenced ``bash`` blocks of the project's pages, line by line; none runs by being gathered."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.forks import PROJECT

__all__ = ["BLOCK", "PAGES", "DocCommand", "commands_of", "crossattn_arguments"]

PAGES = (
    PROJECT / "README.md",
    PROJECT / "CONTRIBUTING.md",
    PROJECT / "experiments" / "sample_candles" / "README.md",
    *sorted((PROJECT / "docs").rglob("*.md")),
)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHELL = ("bash", "console", "sh")
_ASSIGNED = re.compile(r"^[A-Z_]+=\S+$")


@dataclass(frozen=True)
class DocCommand:
    """One line of a block."""

    page: Path
    line: str
    """As it is printed, its comment cut off."""

    @property
    def words(self) -> list[str]:
        """The words of the command, assignments in front of it left out."""
        words = shlex.split(self.line, comments=True)
        while words and _ASSIGNED.match(words[0]):
            words = words[1:]
        return words


def commands_of(page: Path) -> Iterator[DocCommand]:
    """Every command of a page, in order."""
    for language, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language in _SHELL:
            for line in text.splitlines():
                if shlex.split(line, comments=True):
                    yield DocCommand(page, re.sub(r"\s+# .*$", "", line.removeprefix("$ ")))


def crossattn_arguments(text: str) -> Iterator[list[str]]:
    """The arguments of each ``crossattn ...`` between single backticks in a page."""
    for inline in re.findall(r"(?<!`)`crossattn ([^`]+)`(?!`)", text):
        yield shlex.split(inline.replace("\n", " "))
