"""How functions become commands: what Typer does not do by itself."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from inspect import Parameter
from typing import Any, get_type_hints

import typer

from harness.base.errors import EXIT_PASSED
from harness.base.texts import say


def expanded(command: Callable[..., int]) -> Callable[..., int]:
    """A command as Typer takes it, with a parameter an option.

    Args:
        command: A parameter of it that is a dataclass is a group of options: each field is one.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}

    @functools.wraps(command)
    def called(**given: Any) -> int:
        made = {
            name: kind(**{each.name: given.pop(each.name) for each in fields(kind)}) for name, kind in groups.items()
        }
        return command(**given, **made)

    parameters = list(_parameters(command, hints, groups))
    called.__dict__["__signature__"] = inspect.Signature(parameters, return_annotation=int)
    called.__annotations__ = {each.name: each.annotation for each in parameters}
    return called


def _parameters(command: Callable[..., int], hints: dict[str, Any], groups: dict[str, Any]) -> Iterator[Parameter]:
    for each in inspect.signature(command).parameters.values():
        if each.name not in groups:
            yield each.replace(annotation=hints[each.name], kind=Parameter.KEYWORD_ONLY)
            continue
        inside = get_type_hints(groups[each.name], include_extras=True)
        for field in fields(groups[each.name]):
            default = Parameter.empty if field.default is MISSING else field.default
            yield Parameter(field.name, Parameter.KEYWORD_ONLY, default=default, annotation=inside[field.name])


def help_without_command(context: typer.Context) -> int:
    """What a command that only has others in it does when it is called alone: it says which there are.

    That is as good as ``--help``, and no selection of nothing: nobody asked for a test. Whoever wants tests says
    ``harness run``, and that is never green without one.
    """
    if context.invoked_subcommand is None:
        say(context.get_help())
    return EXIT_PASSED
