"""The only place where the harness exits: errors become one line and an exit code."""

from __future__ import annotations

import sys
import traceback

import typer

from harness.cli import app
from harness.ground.errors import CannotJudge, HarnessError, Interrupted, UsageError, refused
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
    except (HarnessError, OSError) as error:
        ours = refused(error) if isinstance(error, OSError) else error
        print(f"harness: {mask(' '.join(str(ours).split()))}", file=sys.stderr)
        sys.exit(ours.exit_code)
    except KeyboardInterrupt:
        sys.exit(Interrupted.exit_code)
    except Exception:  # noqa: BLE001 # left to Python, its code 1 would say that a check was judged false
        print(f"{mask(traceback.format_exc())}harness: internal error, see above", file=sys.stderr)
        sys.exit(CannotJudge.exit_code)


if __name__ == "__main__":
    main()
