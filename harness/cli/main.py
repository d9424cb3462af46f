"""The command line, put together. Everything heavy is imported inside the commands, so that ``--help`` is instant."""

from __future__ import annotations

from typing import Annotated

import typer

from harness import __version__
from harness.base.errors import EXIT_PASSED, UsageError
from harness.base.texts import say
from harness.cli import (
    bisection_commands,
    bundle_commands,
    calibration_commands,
    case_commands,
    checkpoint_commands,
    comparison_commands,
    data_commands,
    image_commands,
    machine_commands,
    point_commands,
    power_commands,
    report_commands,
    run_commands,
    upkeep_commands,
)
from harness.cli.assembling import help_without_command


def _harness(
    context: typer.Context, *, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> int:
    if version and context.invoked_subcommand:
        raise UsageError(f"--version goes without a command; leave {context.invoked_subcommand} out")
    if version:
        say(f"harness {__version__}")
        return EXIT_PASSED
    return help_without_command(context)


app = typer.Typer(
    name="harness",
    callback=_harness,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Acceptance tests for builds of vLLM and SGLang.",
    epilog="Exit codes: 0 passed, 1 a check failed, 2 wrong input, 3 nothing selected, 4 could not judge, "
    "130 interrupted.",
)

for room in (
    run_commands,
    point_commands,
    calibration_commands,
    comparison_commands,
    bisection_commands,
    case_commands,
    machine_commands,
    power_commands,
    report_commands,
    image_commands,
    checkpoint_commands,
    data_commands,
    bundle_commands,
    power_commands,
    upkeep_commands,
):
    room.register(app)
