"""The only place where the harness exits: errors become one line and an exit code."""

from __future__ import annotations

import sys

from harness.ground.errors import HarnessError, Interrupted


def main() -> None:
    """Run the command line and exit with its code."""
    from harness.cli import app  # noqa: PLC0415 # inside, so that a signal during the import is handled too

    try:
        app()
    except HarnessError as error:
        print(f"harness: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(Interrupted.exit_code)


if __name__ == "__main__":
    main()
