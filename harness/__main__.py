"""The only place where the harness exits: errors become one line and an exit code.

Handlers of signals come first, before anything of ours is imported: from there on a signal that asks the harness to
end makes it exit with 130, whatever it is doing. Before that runs Python's own start, which nobody here can change.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

_INTERRUPTED = 130


def _leave(_number: int, _frame: FrameType | None) -> None:
    """End at once: while the harness is imported, and after its last word, there is nothing to clean up."""
    os._exit(_INTERRUPTED)


def main() -> None:
    """Run the command line and exit with its code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
        # Below nohup a terminal may go away, and is ignored.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _leave)

    import traceback

    import typer

    from harness.cli import app
    from harness.ground.errors import CannotJudge, HarnessError, Interrupted, UsageError, refused
    from harness.ground.secrets import mask
    from harness.mechanism import signals

    try:
        with signals.handled():
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
