"""Counters and samples to a measurement."""

from __future__ import annotations

from typing import Any

import pytest

from harness.ground.domain import Sample
from harness.ground.measurement import Agreement, Difference, KvLedger, Primed, Unmeasured
from harness.policy import metrics
from harness.policy.cases.load import load
from harness.policy.engines import ENGINES
from harness.policy.engines.vllm import METRICS
from harness.policy.measure import agree, count, measure
from tests.helpers import BASELINES

CASE = next(case for case in load(BASELINES) if case.id == "disagg/known_answer_eagle3").resolve("cpu")
ROLES = {"prefill": "prefill", "decode": "decode"}

# Two engines (data parallel ranks): what is counted is their sum. A `_created` sibling must never be counted.
EXPOSITION = """
# HELP vllm:spec_decode_num_drafts_total Number of drafts.
# TYPE vllm:spec_decode_num_drafts_total counter
vllm:spec_decode_num_drafts_total{engine="0",model_name="m"} 10.0
vllm:spec_decode_num_drafts_total{engine="1",model_name="m"} 5.0
# HELP vllm:spec_decode_num_drafts_created Number of drafts.
# TYPE vllm:spec_decode_num_drafts_created gauge
vllm:spec_decode_num_drafts_created{engine="0",model_name="m"} 1.7e+09
# TYPE vllm:spec_decode_num_accepted_tokens_per_pos_total counter
vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",position="0"} 8.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="1",position="0"} 4.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",position="1"} 3.0
# TYPE vllm:nixl_bytes_transferred histogram
vllm:nixl_bytes_transferred_bucket{engine="0",le="+Inf"} 2.0
vllm:nixl_bytes_transferred_count{engine="0"} 2.0
vllm:nixl_bytes_transferred_sum{engine="0"} 1.769472e+06
"""


def test_counters_are_summed_over_engines_and_kept_apart_by_label() -> None:
    assert metrics.read(EXPOSITION, METRICS) == {
        "drafts": 15.0,
        "accepted_at.0": 12.0,
        "accepted_at.1": 3.0,
        "transfer_bytes": 1769472.0,
    }


def test_an_engine_moves_if_one_of_its_counters_does() -> None:
    for spec in ENGINES.values():
        name = spec.moving[0]
        before = f'{name}{{engine="0"}} 5.0\n{name}_created 1.0\nprocess_cpu_seconds_total 1.0\n'
        same = before.replace("_created 1.0", "_created 2.0").replace("process_cpu_seconds_total 1.0", "")
        assert (
            metrics.moving(before, spec.moving) == metrics.moving(same, spec.moving) == (f'{name}{{engine="0"}} 5.0',)
        )
        assert metrics.moving(before.replace("5.0", "6.0"), spec.moving) != metrics.moving(before, spec.moving)
        assert metrics.moving("\x00 junk\n\n", spec.moving) == ()


def test_a_counter_that_goes_down_is_noticed_and_a_new_one_starts_at_zero() -> None:
    assert metrics.went_down({"a": 5.0, "b": 1.0}, {"a": 4.0, "b": 1.0}) == ["a"]
    assert metrics.went_down({"a": 5.0}, {}) == []
    assert metrics.delta({"a": 5.0}, {"a": 7.0, "b": 2.0}) == {"a": 2.0, "b": 2.0}
    assert metrics.add([{"a": 1.0}, {"a": 2.0, "b": 3.0}]) == {"a": 3.0, "b": 3.0}


def sample(item: str = "K60", **changes: Any) -> Sample:
    fields: dict[str, Any] = {
        "run": "main", "item": item, "status": 200, "error": "", "text": " w00 #### 31", "finish_reason": "stop",
        "prompt_tokens": 81, "completion_tokens": 3, "started": 0.0, "seconds": 1.0, "expected": "31",
        "expected_text": " w00 #### 31", "expected_prompt_tokens": 81,
    }  # fmt: skip
    return Sample(**{**fields, **changes})


def test_samples_are_counted() -> None:
    answers = count(
        CASE.evaluation,
        [
            sample(),
            sample(text=" w00 #### 32"),
            sample(text="", completion_tokens=0),
            sample(status=500, error="status 500", text="", prompt_tokens=0),
            sample(prompt_tokens=82),
        ],
    )
    assert (answers.planned, answers.answered, answers.failed, answers.empty) == (24, 4, 1, 1)
    assert (answers.scored, answers.correct, answers.invalid) == (4, 2, 1)
    assert (answers.compared, answers.equal) == (4, 2)
    assert (answers.prompt_tokens, answers.unexpected_prompt_tokens) == (81 * 3 + 82, 1)


COUNTED = {
    "drafts": 360.0, "draft_tokens": 1080.0, "accepted": 720.0,
    "accepted_at.0": 264.0, "accepted_at.10": 1.0, "accepted_at.2": 216.0,
    "prompt_tokens.external_kv_transfer": 1944.0, "prompt_tokens.local_compute": 0.0,
    "prompt_tokens.local_cache_hit": 0.0,
    "transfers": 24.0, "transfer_bytes": 42467328.0, "failed_transfers": 0.0, "failed_notifications": 1.0,
    "expired_requests": 2.0, "finished_requests": 24.0,
}  # fmt: skip


def taken(decode: dict[str, float]) -> Any:
    before = {"prefill": {"drafts": 7.0}, "decode": dict.fromkeys(decode, 1.0)}
    after = {"prefill": {"drafts": 9.0}, "decode": {name: value + 1.0 for name, value in decode.items()}}
    return measure(CASE, [sample()], before, after, ROLES, {})


def test_a_measurement_is_a_delta_of_the_decode_side() -> None:
    found = taken(COUNTED)
    assert (found.acceptance.drafts, found.acceptance.accepted, found.finished) == (360, 720, 24)
    assert found.acceptance.accepted_per_position == (264, 216, 1), "positions are numbers, not text"
    assert found.kv == KvLedger(1944, 0, 0, 24, 42467328, failures=3)
    assert found.restarted == ()
    assert set(found.answers) == {"main", "prefill_alone", "decode_alone"}


@pytest.mark.parametrize("name", ["drafts", "draft_tokens", "accepted"])
def test_a_missing_speculation_counter(name: str) -> None:
    found = taken({key: value for key, value in COUNTED.items() if key != name})
    assert found.acceptance == Unmeasured(f"the engine exports no counter for {name}")


def test_a_missing_transfer_counter_matters_only_where_something_arrived() -> None:
    without = {key: value for key, value in COUNTED.items() if not key.startswith(("transfer", "failed", "expired"))}
    assert isinstance(taken(without).kv, Unmeasured)
    nothing = without | {"prompt_tokens.external_kv_transfer": 0.0, "prompt_tokens.local_compute": 1944.0}
    assert taken(nothing).kv == KvLedger(0, 1944, 0, 0, 0, 0)


def test_a_restarted_server_is_named() -> None:
    found = measure(
        CASE, [], {"prefill": {"drafts": 1.0}, "decode": {"drafts": 9.0}},
        {"prefill": {"drafts": 1.0}, "decode": {"drafts": 2.0}}, ROLES, {},
    )  # fmt: skip
    assert found.restarted == ("decode",)


def test_texts_of_two_runs_are_compared_item_by_item() -> None:
    main = [sample("K61", text="one two"), sample("K60", text="abc"), sample("K62"), sample("K63", error="status 500")]
    other = [sample("K60", text="abcd"), sample("K61", text="one three"), sample("K62"), sample("K63")]
    differing = (Difference("K60", 3, "", "d"), Difference("K61", 5, "wo", "hree"))
    assert agree(main, other) == Agreement(compared=3, equal=1, differing=differing)


def test_what_goes_ahead_of_items_is_counted_apart() -> None:
    case = next(each for each in load(BASELINES) if each.id == "disagg/known_answer_edges").resolve("cpu")
    samples = [sample("K66"), sample("K67", run="prime_decode", prompt_tokens=128), sample("K67")]
    samples += [sample("K68", run="prime_decode", error="status 500", prompt_tokens=0)]
    found = measure(case, samples, {"prefill": {}, "decode": {}}, {"prefill": {}, "decode": {}}, ROLES, {})
    assert found.primed == Primed(planned=12, answered=1, prompt_tokens=128)
    assert found.answers["main"].answered == 2
    assert set(found.answers) == {"main", "prefill_alone", "decode_alone"}
