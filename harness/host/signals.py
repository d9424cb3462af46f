"""Signals that ask the harness to end become one exception, raised once, never between a start and its record.

SIGQUIT is one of them: a harness that drops a core leaves its servers to themselves.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from types import FrameType

from harness.base.errors import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@dataclass
class _State:
    received: str = ""
    delivered: bool = False
    handled: bool = False
    deferrals: int = 0
    callback: Callable[[], None] | None = None


_state = _State()


def _handle(number: int, _frame: FrameType | None) -> None:
    # Only the first counts: a second signal must not cut the clean-up short.
    if not _state.received:
        _state.received = signal.Signals(number).name
    _deliver()


def _deliver() -> None:
    if not _state.received or _state.delivered or _state.deferrals:
        return
    _state.delivered = True
    if _state.callback:
        _state.callback()
    else:
        raise Interrupted(_state.received)


@contextmanager
def handled() -> Iterator[None]:
    """Turn the first of the signals in this block into :class:`Interrupted`.

    At the end of the block, if what was raised earlier got lost. Those that follow are ignored, also after the block:
    what remains is to exit with the right code. A block inside of another only asks whether something got lost.
    """
    if _state.handled:
        _raise_lost()
        yield
        _raise_lost()
        return
    _state.received, _state.delivered, _state.handled = "", False, True
    # Below nohup a terminal may go away, and is ignored.
    wanted = [each for each in _SIGNALS if each != signal.SIGHUP or signal.getsignal(each) != signal.SIG_IGN]
    previous = {number: signal.signal(number, _handle) for number in wanted}
    hook = sys.unraisablehook
    sys.unraisablehook = partial(_dropped, otherwise=hook)
    try:
        yield
        _raise_lost()
    except (SystemExit, Exception):
        # A library may have made an error of its own of what was raised in it.
        _raise_lost()
        raise
    finally:
        _state.handled = False
        sys.unraisablehook = hook
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_IGN if _state.received else handler)


def _raise_lost() -> None:
    if _state.received:
        raise Interrupted(_state.received)


_AGAIN = 0.02
"""Seconds after which a signal is delivered once more: by then what lost it is over."""


def _dropped(lost: sys.UnraisableHookArgs, otherwise: Callable[[sys.UnraisableHookArgs], object]) -> None:
    """Deliver once more what Python drops: an exception in a destructor or a weak reference's callback.

    A signal may hit there too. Left alone, Python shows a traceback and goes on.
    """
    if not isinstance(lost.exc_value, Interrupted):
        otherwise(lost)
        return
    _state.delivered = False
    again = threading.Timer(_AGAIN, os.kill, (os.getpid(), signal.Signals[_state.received]))
    again.daemon = True
    again.start()


@contextmanager
def kept() -> Iterator[None]:
    """Leave handlers as they are in the end, where a library sets one of its own that exits.

    Raises:
        Interrupted: That one was called.
    """
    ours = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    except SystemExit:
        raise Interrupted(signal.SIGTERM.name) from None
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)


@contextmanager
def deferred() -> Iterator[None]:
    """Hold a signal back until the end of this block: for starting and recording, and for clean-up."""
    _state.deferrals += 1
    try:
        yield
    finally:
        _state.deferrals -= 1
    _deliver()


@contextmanager
def redirected(callback: Callable[[], None]) -> Iterator[None]:
    """Call ``callback`` instead of raising, and raise at the end: an event loop swallows what a callback raises."""
    _state.callback = callback
    try:
        yield
    finally:
        _state.callback = None
    if _state.delivered:
        raise Interrupted(_state.received)


def ended_with_parent() -> None:
    """Ask this process to end, as SIGTERM would, once its standard input has ended: with that of who started it."""
    threading.Thread(target=_end_with, args=(sys.stdin.fileno(),), daemon=True).start()


def _end_with(pipe: int) -> None:
    with suppress(OSError):
        while os.read(pipe, 4096):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
