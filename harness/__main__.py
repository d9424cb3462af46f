"""The program's first lines.

Handlers of signals come first, before anything of ours is imported: from there on a signal that asks the harness to
end makes it exit with 130, whatever it is doing. Before that runs Python's own start, which nobody here can change.
"""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import NoReturn

_INTERRUPTED = 130
_ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)


def _leave(_number: int, _frame: FrameType | None) -> None:
    """End at once: while the harness is imported, and after its last word, there is nothing to clean up."""
    os._exit(_INTERRUPTED)


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    for number in _ASKING:
        # Below nohup a terminal may go away, and is ignored.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _leave)

    from harness.program import run

    try:
        run()
    finally:
        # Python's own end sets handlers back, and a signal would then take the place of the exit code. What is ignored
        # stays so, in threads of libraries too, which a mask would leave out.
        for number in _ASKING:
            signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    main()
