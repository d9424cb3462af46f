"""A program of a build: its sources, and what is read of them once."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.drift.argument_parsers import Parser, parser_of
from harness.drift.readers import Reading, Variable, variable
from harness.drift.sources import Sources


@dataclass
class Build:
    """The engine, or its router.

    Attributes:
        sources: Of the program.
        module: What it is run as.
    """

    sources: Sources
    module: str
    parser: Parser = field(init=False)
    reading: Reading = field(init=False)
    _variables: dict[str, Variable] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.parser = parser_of(self.sources, self.module)
        self.reading = Reading(self.sources)

    def variable(self, name: str) -> Variable:
        """Everything about one environment variable."""
        if name not in self._variables:
            self._variables[name] = variable(self.sources, name)
        return self._variables[name]
