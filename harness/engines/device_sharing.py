"""How a server of an engine is content with a part of its accelerator's memory, and what its case must say for that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.base.settings import FlagValue
from harness.cases.model import Case


@dataclass(frozen=True)
class Sharing:
    """The budget of a server in its engine's words.

    Attributes:
        flags: From its part of the accelerator's memory, above 0 and at most 1, to flags that bound it.
        needs: A flag that a case must set besides, and why; None if these flags do.
    """

    flags: Callable[[float], Mapping[str, FlagValue]]
    needs: tuple[str, str] | None = None


def problem(case: Case, engine: str, sharing: Sharing | None) -> str:
    """What a case that shares says wrong for an engine, as ``key: what``; empty if nothing is."""
    if not case.device_share_gib:
        return ""
    if sharing is None:
        return f"device_share_gib: nothing bounds the device memory of {engine}; leave it out"
    for role in case.topology.roles:
        given = case.serve_of(role).flags
        for flag in sharing.flags(1.0):
            if flag in given:
                return f"serve.flags.{flag}: device_share_gib sets it; leave one of them out"
        if sharing.needs and sharing.needs[0] not in given:
            return f"serve.flags.{sharing.needs[0]}: missing beside device_share_gib: {sharing.needs[1]}"
    return ""
