"""Engines: a case becomes servers to start, and an engine's metrics become counters.

One module an engine, found through the entry points of the group ``harness.engines``. Nothing else in the harness
knows an engine's flags, metric names or log lines.
"""

from __future__ import annotations

from harness.base import plugins
from harness.engines.engine import EngineSpec


def _engine(name: str, found: object) -> EngineSpec | None:
    return found if isinstance(found, EngineSpec) and found.name == name else None


ENGINES = plugins.found("harness.engines", _engine, "EngineSpec")
"""Every engine by its name."""
