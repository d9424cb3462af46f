"""Several questions to one build at once, in one process: each alone would import the engine, for half a minute."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from harness.base import programs
from harness.base.errors import CannotJudge
from harness.run.ask_engine import Ask
from harness.run.probes import together

_TOGETHER = programs.text(together)


@dataclass(frozen=True)
class Beside:
    """A question of somebody else's that imports the engine too, and who takes its answer."""

    argv: Sequence[str]
    take: Callable[[str], object]


class _Answer(BaseModel):
    """A line that :mod:`.probes.together` prints."""

    number: int
    status: int
    output: str


def asker(
    python: str, commands: Sequence[Sequence[str]], beside: Beside | None, one_way: Callable[[], Ask]
) -> Callable[[Sequence[str]], tuple[int, str]]:
    """Runs commands; of those that end well together with the others the output is there already.

    The others run alone, and so say why they do not end well. What ``beside`` asks is not asked again here.

    Args:
        python: The engine's interpreter.
        commands: Run by it: its own command line, or the path of one of its console scripts, with arguments.
        beside: Asked too.
        one_way: Gives what runs a command where the engine is, within a limit of its own.
    """
    everything = [*commands, *([beside.argv] if beside else [])]
    known = _answers(python, everything, one_way()) if len(everything) > 1 else {}
    if beside and (answer := known.get(tuple(beside.argv))):
        beside.take(answer)

    def asked(argv: Sequence[str]) -> tuple[int, str]:
        there = known.get(tuple(argv))
        return one_way()(argv) if there is None else (0, there)

    return asked


def _answers(python: str, commands: Sequence[Sequence[str]], ask: Ask) -> Mapping[tuple[str, ...], str]:
    words = [list(each[1:] if each[0] == python else each) for each in commands]
    try:
        _, output = ask([python, "-c", _TOGETHER, json.dumps(words)])
    except CannotJudge:
        return {}
    found = dict[tuple[str, ...], str]()
    for line in output.splitlines():
        if line.startswith('{"number": '):
            with suppress(ValidationError, IndexError):  # cut off by what ended the process
                answer = _Answer.model_validate_json(line)
                if answer.status == 0:
                    found[tuple(commands[answer.number])] = answer.output
    return found
