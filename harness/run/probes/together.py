"""Several commands of one interpreter, one after the other in one process, so that what all of them import is imported
once.

The argument is JSON: a list of commands, each a list of words as they would be run alone, without the interpreter:
``-c`` and a program, ``-m`` and a module, or the path of a script; with their arguments. After each it prints a line of
JSON: the command's number, its exit status, and what it printed. What ends the process ends the rest.
"""

import json
import os
import runpy
import sys
import threading
import traceback

_MOST = 4 << 20
"""Bytes of a command's output; one that has no end ends the process."""
_DRAINED = 2.0
"""Seconds to wait for the end of an output that something which was started may keep open."""


class Printed:
    """What is printed as long as the block lasts, in whatever way."""

    def __enter__(self) -> "Printed":  # noqa: PYI034 # an interpreter of an engine may be older
        self._kept = bytearray()
        self._own = [os.dup(number) for number in (1, 2)]
        self._read, write = os.pipe()
        for number in (1, 2):
            os.dup2(write, number)
        os.close(write)
        self._reader = threading.Thread(target=self._take, daemon=True)
        self._reader.start()
        return self

    def _take(self) -> None:
        while part := os.read(self._read, 1 << 16):
            self._kept += part
            if len(self._kept) > _MOST:
                os._exit(1)

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, own in zip((1, 2), self._own):  # noqa: B905 # an interpreter of an engine may be older
            os.dup2(own, number)
            os.close(own)
        self._reader.join(_DRAINED)

    @property
    def text(self) -> str:
        """All of it."""
        return self._kept.decode(errors="replace")


def run(words: list[str]) -> None:
    """As the interpreter would with these words."""
    kind, *rest = words
    if kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102 # programs of ours
    elif kind == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        runpy.run_path(kind, run_name="__main__")


def status_of(words: list[str]) -> int:
    """How the command ended."""
    try:
        run(words)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001 # whatever somebody's module raises
        traceback.print_exc()
        return 1
    return 0


def main(argument: str) -> None:
    """Run all of them."""
    for number, words in enumerate(json.loads(argument)):
        with Printed() as printed:
            status = status_of(words)
        print("\n" + json.dumps({"number": number, "status": status, "output": printed.text}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
