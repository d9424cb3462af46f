"""Shares as they are typed: 0.5% or 0.005."""

from __future__ import annotations

import re

from harness.base.errors import UsageError


def share(option: str, text: str) -> float | None:
    """A share as 0.5% or 0.005; None if there is none.

    Raises:
        UsageError: It is none between 0 and 1.
    """
    if not text:
        return None
    found = re.fullmatch(r"([0-9]{0,3}(?:\.[0-9]{1,9})?)(%?)", text)
    value = float(found[1]) / (100 if found[2] else 1) if found and found[1] not in ("", ".") else 0.0
    if not 0 < value < 1:
        raise UsageError(f"{option} {text[:40]}: must be a share, as in 0.5% or 0.005")
    return value


def shares_by_name(option: str, given: list[str] | None) -> dict[str, float]:
    """Shares by name, of NAME=SHARE.

    Raises:
        UsageError: One is not like that.
    """
    found = {}
    for each in given or []:
        name, _, text = each.partition("=")
        value = share(f"{option} {name[:40]}:", text)
        if not name or value is None:
            raise UsageError(f"{option} {each[:40]}: must be like throughput=3%")
        found[name] = value
    return found
