"""Engines: a case becomes servers to start, and an engine's metrics become counters.

One module an engine; nothing else in the harness knows an engine's flags, metric names or log lines.
"""

from __future__ import annotations

from harness.engines import sglang, vllm
from harness.engines.engine import EngineSpec

ENGINES: dict[str, EngineSpec] = {spec.name: spec for spec in (vllm.SPEC, sglang.SPEC)}
