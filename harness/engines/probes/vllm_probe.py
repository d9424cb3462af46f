"""What vLLM's server knows. Written from the sources of vLLM 0.10.0, 0.11.0, 0.26.0, 0.30.0, 0.32.0 and 0.33.0."""

import ast
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from harness.engines.probes.common import first, options_of, read_directly, report

_FOLDERS = ("common", "launchers", "openai")
"""Where the options of the server are: of 0.33, of 0.30, and before."""


def choices_of(register: Mapping[str, Callable[[], Any]]) -> dict[str, list[str]]:
    """Values of the variables that take one of a few: they name them when they have another."""
    found = {}
    for name, read in register.items():
        before = os.environ.pop(name, None)
        os.environ[name] = "?"
        try:
            read()
        except Exception as error:  # noqa: BLE001 # whatever an engine raises
            listed = re.search(r"Valid options: (\[.*?\])", str(error))
            if listed:
                found[name] = ast.literal_eval(listed[1])
        del os.environ[name]
        if before is not None:
            os.environ[name] = before
    return found


def options() -> set[str]:
    """Of the server's argument parser."""
    parser = first("vllm.utils.argparse_utils:FlexibleArgumentParser", "vllm.utils:FlexibleArgumentParser")()
    make = first(*(f"vllm.entrypoints.{folder}.cli_args:make_arg_parser" for folder in _FOLDERS))
    found = options_of(make(parser))
    # Both spellings are taken.
    return found | {"--" + option[2:].replace("-", "_") for option in found if option.startswith("--")}


def variables() -> set[str]:
    """Of the engine's register, and those that are read elsewhere."""
    return {*first("vllm.envs:environment_variables"), *read_directly("vllm")}


def choices() -> dict[str, list[str]]:
    """Of the register's variables."""
    return choices_of(first("vllm.envs:environment_variables"))


def main() -> None:
    """Print what this build knows."""
    report(options=options, variables=variables, choices=choices)


if __name__ == "__main__":
    main()
