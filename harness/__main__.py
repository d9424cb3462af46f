"""The only place where the harness exits: errors become one line and an exit code."""

from __future__ import annotations

import sys

import typer

from harness.cli import app
from harness.ground.errors import HarnessError, Interrupted, UsageError
from harness.ground.secrets import mask


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        sys.exit(app(standalone_mode=False))
    except typer.TyperException as error:
        message = error.format_message()
        # Called without a command, typer's message is the whole help; any other is one line.
        print(message if "\n" in message else f"harness: {message} See --help.", file=sys.stderr)
        sys.exit(UsageError.exit_code)
    except HarnessError as error:
        print(f"harness: {mask(' '.join(str(error).split()))}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(Interrupted.exit_code)


if __name__ == "__main__":
    main()
