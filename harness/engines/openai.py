"""Any server that speaks OpenAI's API, and that somebody else runs: only its models and its answers are known.

Asked are ``/v1/models``, ``/v1/completions`` and ``/v1/chat/completions``, with nothing in a request that OpenAI's own
API has not. It is not asked for counters, so what only they say (drafts, transfers) cannot be judged.
"""

from __future__ import annotations

from harness.cases.model import Case, Role
from harness.cases.serve_settings import Serve
from harness.engines.engine import EngineSpec
from harness.engines.sights import Asked


def devices(_serve: Serve) -> int:
    """None: whoever runs the server has them."""
    return 0


def asks(_case: Case, _role: Role) -> Asked:
    """Nothing: whoever runs the server has set it up."""
    return {}


ENGINE = EngineSpec(name="openai", distributions=(), server=None, devices=devices, asks=asks, plain=True)
