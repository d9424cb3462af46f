"""The page about the command line, made from its declarations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

_HEAD = """\
# Command line

<!-- written by `harness generate` from harness/cli; change the text there -->

`-h` or `--help` after any of these says the same. What exit codes mean is in the [README](../README.md#sessions);
`harness` alone shows its help and ends with 0, because nobody asked for a test.
"""


def page(context: typer.Context) -> str:
    """Every command with what it takes, but for those that only the harness and its own upkeep call.

    Args:
        context: Of any command.
    """
    return "\n".join([_HEAD, *_sections(context.find_root())])


def _sections(context: Any) -> Iterator[str]:  # of a class that Typer keeps to itself
    command = context.command
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f"## `{context.command_path}`\n\n{_text(command.help or '')}\n\n```text\n{usage}\n```\n"
    rows = [record for each in command.params if (record := each.get_help_record(context))]
    if rows:
        yield "\n".join(["| what | meaning |", "| --- | --- |", *(f"| {_code(a)} | {_cell(b)} |" for a, b in rows), ""])
    inside: dict[str, Any] = getattr(command, "commands", {})
    for name, each in inside.items():
        if not each.hidden:
            yield from _sections(typer.Context(each, info_name=name, parent=context))


def _text(text: str) -> str:
    return "\n\n".join(" ".join(each.split()) for each in text.split("\n\n"))


def _code(text: str) -> str:
    return f"`{_cell(text)}`"


def _cell(text: str) -> str:
    """Text that stays in its cell."""
    return " ".join(text.split()).replace("|", r"\|")
