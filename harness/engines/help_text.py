"""The options that a command's ``--help`` lists: what a build offers everybody, whatever its modules are called."""

from __future__ import annotations

import re

SURE = frozenset({"--host", "--port"})
"""What every server takes: a help without these was cut off, or has a form that is not understood."""

_FRAME = " \t|*`\u2022\u2500\u2502\u2503"
_OPTION = re.compile(r"--?[A-Za-z0-9]")
_BESIDE = re.compile(r"(?:^|[,/|]\s*)(--?[A-Za-z0-9][\w-]*)")
_DEEPER = 6
"""Columns that an option without a short form may stand further in; descriptions stand further in than that."""
_SWITCH = re.compile(r"--(?:enable|disable)-")


def options(text: str, ends: str = "") -> frozenset[str]:
    """Every option that ``text`` defines; none if it is no help of a server that is understood.

    A definition is a line that begins with an option. What descriptions mention counts for nothing: they name options
    that are gone, too. ``--no-enable-x`` is taken where ``--enable-x`` is, though vLLM 0.33 does not show it; and so is
    ``--enable_x``.

    Args:
        text: What the command printed, its log included.
        ends: Where the help of another command begins.
    """
    lines = (text.partition(ends)[0] if ends else text).splitlines()
    begun = [(len(line) - len(bare), bare) for line in lines if _OPTION.match(bare := line.lstrip(_FRAME))]
    first = min((indent for indent, _ in begun), default=0)
    found = {
        name.rstrip("-")
        for indent, line in begun
        if indent <= first + _DEEPER
        for name in _BESIDE.findall(re.split(r"\s{2,}|\t", line, maxsplit=1)[0])
    }
    if not found >= SURE:
        return frozenset()
    found |= {f"--no-{name[2:]}" for name in found if _SWITCH.match(name)}
    return frozenset(found | {"--" + name[2:].replace("-", "_") for name in found if name.startswith("--")})
