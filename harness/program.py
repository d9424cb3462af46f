"""The only place where the harness exits: errors become one line and an exit code."""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
from collections.abc import Iterable
from typing import NoReturn

import typer

from harness.base.errors import CannotJudge, HarnessError, Interrupted, UsageError, refused
from harness.base.texts import cause, say
from harness.cli.main import app
from harness.host import output, signals

_LONGEST = 1500
_ABOUT_A_PATH = {
    errno.EACCES, errno.EEXIST, errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENODEV, errno.ENOENT,
    errno.ENOTDIR, errno.ENXIO, errno.EPERM, errno.EROFS,
}  # fmt: skip
"""What the operating system says of a path that is not what its option needs."""


def run() -> NoReturn:
    """Run the command line and exit with its code."""
    output.in_utf8()
    output.prepare()
    code = _run(sys.argv[1:])
    try:
        output.finish()
    except OSError as error:
        code = max(code, _say(refused(error)))
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    try:
        _require_text(arguments)
        with signals.handled():
            code = app(prog_name="harness", standalone_mode=False)
        assert isinstance(code, int), f"a command returns its exit code, and this one returned {code!r}"
    except SystemExit as ended:  # Typer's own, of what it does for a shell's completion
        code = ended.code if isinstance(ended.code, int) else CannotJudge.exit_code
    except typer.TyperException as error:
        message = error.format_message().replace("Value error, ", "").rstrip(".")
        code = _say(UsageError(f"{message}; see {_command(error)} --help"))
    except HarnessError as error:
        code = _say(error)
    except OSError as error:
        code = _say(_of_the_caller(error, arguments) or refused(error))
    except KeyboardInterrupt:
        code = Interrupted.exit_code
    except Exception:  # noqa: BLE001 # left to Python, its code 1 would say that a check was judged false
        say(f"{traceback.format_exc()}harness: internal error, see above", file=sys.stderr)
        code = CannotJudge.exit_code
    return code


def _say(error: HarnessError) -> int:
    """Print an error as one line, and return its code."""
    say(f"harness: {cause(error, _LONGEST)}", file=sys.stderr)
    return error.exit_code


def _require_text(arguments: Iterable[str]) -> None:
    """Raise unless every argument, and the folder this runs in, can be put on record.

    Raises:
        UsageError: One cannot: it is not UTF-8, or the folder is gone.
    """
    try:
        here = os.getcwd()  # noqa: PTH109 # pathlib's does not say more
    except OSError as error:
        raise UsageError(f"the current folder is not to be had: {error.strerror}; go to another") from None
    for what, text in (*((f"argument {index}", each) for index, each in enumerate(arguments, 1)), ("folder", here)):
        if re.search("[\0\ud800-\udfff]", text):
            raise UsageError(f"{what}: {text!a}: not UTF-8 text; give it another name")


def _of_the_caller(error: OSError, arguments: Iterable[str]) -> UsageError | None:
    """The error as one of the caller's, if it is about a path that an argument names."""
    if error.errno not in _ABOUT_A_PATH or not isinstance(error.filename, str):
        return None
    path = os.path.abspath(error.filename)  # noqa: PTH100 # it may not exist
    for argument in arguments:
        value = argument.partition("=")[2] if argument.startswith("--") else argument
        if value and f"{path}/".startswith(os.path.join(os.path.abspath(value), "")):  # noqa: PTH100, PTH118
            return UsageError(f"{error.filename}: {error.strerror}; name another")
    return None


def _command(error: typer.TyperException) -> str:
    """The command that an error of the command line is about: ``harness run``."""
    context = getattr(error, "ctx", None)
    return context.command_path if context else "harness"
