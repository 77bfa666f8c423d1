"""Every command with its arguments and options as a page; from the commands themselves."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from typer.main import get_command

from crossattn_pipeline.cli import app

__all__ = ["command_line_page", "commands"]


_TAKES = {Path: "path", datetime: "day", int: "number", float: "number", str: "text"}


def commands(command: Any = None, name: str = "crossattn") -> Iterator[tuple[str, Any]]:
    """(full name, command) of every command that can be run, groups left out, in the order of the help."""
    command = get_command(app) if command is None else command
    inside: dict[str, Any] = getattr(command, "commands", {})
    if not inside:
        yield name, command
    for verb, below in inside.items():
        yield from commands(below, f"{name} {verb}")


def command_line_page() -> str:
    """The page as Markdown."""
    root = get_command(app)
    head = f"# Command line\n\n{_prose(root.help)}\n"
    return "\n".join([head, *(_command(name, command) for name, command in commands())])


def _command(name: str, command: Any) -> str:
    lines = [f"## {name}\n", _prose(command.help), ""]
    if command.params:
        lines += ["| option | takes | default | meaning |", "|---|---|---|---|"]
        lines += ["| " + " | ".join(_cells(parameter)) + " |" for parameter in command.params]
    return "\n".join([*lines, ""])


def _cells(parameter: Any) -> tuple[str, str, str, str]:
    is_option = parameter.param_type_name == "option"
    names = ", ".join(f"`{name}`" for name in parameter.opts) if is_option else f"`{parameter.name.upper()}`"
    default = "" if parameter.default in (None, "", False) else f"`{parameter.default}`"
    kind = parameter.type_descriptor.annotation
    return names, _TAKES.get(kind, ""), "required" if parameter.required else default, _prose(parameter.help)


def _prose(text: str | None) -> str:
    return " ".join((text or "").replace("``", "`").replace("|", "\\|").split())
