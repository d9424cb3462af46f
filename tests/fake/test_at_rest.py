"""Engines that answer right and are broken inside: what they hold grows, or their log says so."""

from __future__ import annotations

from harness.base.domain import Outcome
from tests.fake.conftest import DISAGG, Judge

# One after the other: of several that come back at once, a busy machine is looked at too late.
SIXTEEN = {
    "evaluation/items": 16,
    "evaluation/concurrency": 1,
    "controls/prefill_alone/n": 16,
    "controls/decode_alone/n": 16,
}
SAID = "ERROR Potentially invalid KV blocks for unrecognized request x were retrieved by a decode worker."


def test_a_server_that_hoards_memory_fails_and_is_named(judge: Judge) -> None:
    run = judge(DISAGG, {"decode": {"hoarded": 8 << 20}}, SIXTEEN)
    assert run.code == 1
    assert set(run.problems) == {"at_rest"}
    assert run.problems["at_rest"].startswith("decode: memory grew by ")
    (rest,) = (each for each in run.result.checks if each.name == "at_rest")
    assert rest.outcome is Outcome.FAIL
    assert "prefill, 16 of 16: " in rest.details


def test_a_line_of_the_log_that_says_that_something_is_broken_fails(judge: Judge) -> None:
    run = judge(DISAGG, {"prefill": {"says": [SAID, SAID]}}, SIXTEEN)
    assert run.code == 1
    assert run.problems == {
        "validity": "the log of prefill says 2 times that KV blocks were read that may belong to another request"
    }
