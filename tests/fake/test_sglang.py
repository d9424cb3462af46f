"""SGLang's own ways to go wrong, on a scripted engine: what is reset before, and what is asked after the evaluation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fake.conftest import SGLANG, Judge


def test_a_healthy_engine_passes(judge: Judge) -> None:
    run = judge(SGLANG, {})
    assert run.code == 0, run.output
    said = json.loads((run.directory / "metrics" / "info-server.json").read_text())
    assert said["speculative_eagle_topk"] == 1
    assert {"acceptance_length", "server_config[cuda_graph_config.decode.backend]"} <= {
        check.name for check in run.result.checks
    }


def test_a_refused_reset_is_an_error(judge: Judge) -> None:
    run = judge(SGLANG, {"server": {"reset_status": 400}})
    assert run.code == 4
    words = "server was not reset: /flush_cache?timeout=10 answers 400: Flush cache failed."
    assert words in run.problems["eval"]


@pytest.mark.parametrize(
    ("said", "code", "message"),
    [
        ({"speculative_eagle_topk": 3}, 1, "speculative_eagle_topk of server is 3, expected 1"),
        ({"speculative_eagle_topk": None}, 4, "could not be judged: server does not say speculative_eagle_topk"),
    ],
)
def test_another_configuration_fails_and_a_silent_one_is_an_error(
    judge: Judge, said: dict[str, Any], code: int, message: str
) -> None:
    run = judge(SGLANG, {"server": {"info": said}})
    assert run.code == code
    in_force = {"in_force": "server: speculative-eagle-topk is 3, and 1 was asked for"} if code == 1 else {}
    assert run.problems == {"server_config[speculative_eagle_topk]": message, **in_force}


def test_a_decode_graph_that_is_off_fails(judge: Judge) -> None:
    run = judge(SGLANG, {"server": {"info": {"cuda_graph_config": {"decode": {"backend": "disabled"}}}}})
    assert run.code == 1
    assert "backend of server is disabled, expected not disabled" in next(iter(run.problems.values()))


def test_speculation_that_never_happened_is_no_pass(judge: Judge) -> None:
    run = judge(SGLANG, {"server": {"no_drafts": True}})
    assert run.code == 4
    (problem,) = run.problems.values()
    assert problem.startswith("could not be judged: the engine exports no counter for verifications (verifications is ")
