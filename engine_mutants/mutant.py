"""What a mutant is, and how one is declared beside its patch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from engine_mutants.fault import Fault

Patch = Callable[[Any, Fault], None]
"""Breaks the module that it is given, through the fault; it is called once, right after the module was imported."""


@dataclass(frozen=True)
class Mutant:
    """One way in which an engine is broken.

    Attributes:
        name: Unique; letters, digits and ``_``.
        kind: The part of the engine: ``proposer``, ``sampler``, ``scheduler`` and so on.
        bugs: Published reports of this fault, or of one of its kind, as ``owner/repository#number``.
        breaks: One line: what is wrong.
        cases: Points that should see it, the cheapest first.
        checks: Checks, or stages that break, of which at least one must turn red.
        patches: By name of the engine's module.
        engine: Whose it is.
        versions: Of the engine that it was written for, as pip writes them.
        platform: Where its code is run: ``cpu``, or ``cuda`` for accelerators of any make; empty: everywhere.
        switched: It can be switched on and off in a running engine; else it is there from the start.
        dirty: It leaves something behind when it is switched off, so that the engine has to be started anew.
        unseen: Why nothing sees it, as long as nothing does; empty of one that is to be seen.
    """

    name: str
    kind: str
    bugs: tuple[str, ...]
    breaks: str
    cases: tuple[str, ...]
    checks: tuple[str, ...]
    patches: tuple[tuple[str, Patch], ...]
    engine: str = "vllm"
    versions: str = ">=0.32,<0.34"
    platform: str = ""
    switched: bool = True
    dirty: bool = False
    unseen: str = ""

    def is_on(self, platform: str) -> bool:
        """Whether its code is run on this platform."""
        return not self.platform or (self.platform == "cpu") == (platform == "cpu")


class Declared:
    """The mutants of one module, in the order in which they are declared.

    Args:
        kind: What they have in common; one of them may say otherwise.
        common: Further attributes of :class:`Mutant` that all of them have.
    """

    def __init__(self, kind: str, **common: Any) -> None:
        self._common = {"kind": kind, **common}
        self.all: list[Mutant] = []

    def mutant(
        self,
        name: str,
        bugs: Sequence[str],
        breaks: str,
        *,
        module: str | Sequence[str],
        cases: Sequence[str],
        checks: Sequence[str],
        **other: Any,
    ) -> Callable[[Patch], Patch]:
        """Declare the patch below as a mutant; ``module`` names what it is given, or several of which it is each."""
        modules = [module] if isinstance(module, str) else module

        def declared(patch: Patch) -> Patch:
            self.all.append(
                Mutant(
                    name=name,
                    bugs=tuple(bugs),
                    breaks=breaks,
                    cases=tuple(cases),
                    checks=tuple(checks),
                    patches=tuple((each, patch) for each in modules),
                    **{**self._common, **other},
                )
            )
            return patch

        return declared
