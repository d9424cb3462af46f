"""Texts of somebody else's, on their way to a person: short without losing the cause, and harmless to a terminal."""

from __future__ import annotations

import re
import sys
import unicodedata
from typing import TextIO

from harness.base.secrets import mask

_SEQUENCE = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    "|(?:\x1b[\\]PX^_]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\\\|\x9c)"  # OSC and the like: titles
    "|\x1b[ -/]*[0-~]"
)
_COMMAND = re.compile(r"(?m)^(\s*)::|##(?=\w*\[)")
"""What GitHub (``::``, ``##[``), Azure (``##vso[``) and TeamCity take for a command when a job prints it."""

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def plain(text: str) -> str:
    """``text`` with nothing in it that a terminal or a CI system obeys; what is left of that can be seen.

    Complete escape sequences are dropped, and a carriage return begins a line. Every other character that steers or
    hides (C0, C1, bidirectional and zero-width ones, halves of surrogate pairs) is spelt as Python and JSON do.
    """
    text = without_sequences(text).replace("\r\n", "\n").replace("\r", "\n")
    if not text.isprintable():
        text = "".join(map(_shown, text))
    return _COMMAND.sub(lambda found: "## " if found.group(1) is None else f"{found.group(1)}: :", text)


def without_sequences(text: str) -> str:
    """``text`` without complete escape sequences: colours, cursor movements, titles, links."""
    return _SEQUENCE.sub("", text)


def _shown(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in _HIDDEN:
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def one_line(text: str) -> str:
    """``text`` folded to one line, and plain."""
    return plain(" ".join(text.split()))


def shortened(text: str, limit: int) -> str:
    """``text`` as one line of at most ``limit`` characters.

    Errors are told from the outside to the inside, so the end is kept, with the cause, and enough of the beginning to
    say whose error it is.
    """
    folded = " ".join(text.split())
    if len(folded) <= limit:
        return folded
    head = folded[: limit // 3].rstrip()
    return f"{head} … {folded[-(limit - len(head) - 3) :].lstrip()}"


def cause(error: object, limit: int = 400) -> str:
    """What an error says, as one short line without a secret; the name of its class where it says nothing."""
    return shortened(mask(str(error)), limit) or type(error).__name__


def say(text: object = "", end: str = "\n", file: TextIO | None = None) -> None:
    """Print a text, plain and without a secret: the only way to standard output and error but the console's."""
    print(plain(mask(str(text))), end=end, file=file or sys.stdout, flush=True)  # this is the place
