"""Counters and samples to a measurement."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest
from pydantic import TypeAdapter

from harness.base.domain import Sample
from harness.base.evidence import NO_ANSWERS, Acceptance, Agreement, Difference, KvLedger, Miss, Primed, Unmeasured
from harness.cases.load import load
from harness.engines import ENGINES, metrics
from harness.engines.counting import against_answers
from harness.engines.vllm_metrics import METRICS
from harness.plan.request_bodies import Completion, read_completion
from harness.run.measure import measure
from harness.run.scoring import agree, count
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
        "transfer_sizes": 2.0,
    }


def test_an_engine_moves_if_one_of_its_counters_does() -> None:
    for spec in filter(lambda each: each.moving, ENGINES.values()):
        name = spec.moving[0]
        before = f'{name}{{engine="0"}} 5.0\n{name}_created 1.0\nprocess_cpu_seconds_total 1.0\n'
        same = before.replace("_created 1.0", "_created 2.0").replace("process_cpu_seconds_total 1.0", "")
        assert (
            metrics.moving(before, spec.moving) == metrics.moving(same, spec.moving) == (f'{name}{{engine="0"}} 5.0',)
        )
        assert metrics.moving(before.replace("5.0", "6.0"), spec.moving) != metrics.moving(before, spec.moving)
        assert metrics.moving("\x00 junk\n\n", spec.moving) == ()


def test_a_counter_that_is_new_starts_at_zero() -> None:
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
    assert answers.missed == (Miss("K60", "31", "32", " w00 #### 32"), Miss("K60", "31", None, ""))
    assert [(each.at, each.main, each.other) for each in answers.differing] == [(11, "2", "1"), (0, "", " w00 #### 31")]


def test_of_wrong_answers_those_are_shown_that_nobody_knew_of() -> None:
    known = [sample(f"K{item}", text=" w00 #### 32", expected_text=" w00 #### 32") for item in range(60, 70)]
    found = count(CASE.evaluation, [*known, sample("K80", text=" w00 #### 33")])
    assert found.correct == 0
    assert [each.item for each in found.missed] == ["K80", "K60", "K61", "K62", "K63"]
    assert [each.item for each in found.differing] == ["K80"]


COUNTED = {
    "drafts": 360.0, "draft_tokens": 1080.0, "accepted": 720.0,
    "accepted_at.0": 264.0, "accepted_at.10": 1.0, "accepted_at.2": 216.0,
    "prompt_tokens.external_kv_transfer": 1944.0, "prompt_tokens.local_compute": 0.0,
    "prompt_tokens.local_cache_hit": 0.0,
    "transfers": 24.0, "transfer_bytes": 42467328.0, "failed_transfers": 0.0, "failed_notifications": 1.0,
    "expired_requests": 2.0, "finished_requests": 24.0,
}  # fmt: skip


# The prefill side drafts too, and sees failures of its own.
PREFILL = {"drafts": 2.0, "failed_transfers": 0.0, "failed_notifications": 0.0, "expired_requests": 0.0}


def taken(decode: dict[str, float], prefill: dict[str, float] = PREFILL) -> Any:
    before = {"prefill": dict.fromkeys(prefill, 1.0), "decode": dict.fromkeys(decode, 1.0)}
    after = {
        "prefill": {name: value + 1.0 for name, value in prefill.items()},
        "decode": {name: value + 1.0 for name, value in decode.items()},
    }
    return measure(CASE, [sample()], before, after, ROLES, {})


def test_a_measurement_is_a_delta_of_the_decode_side() -> None:
    found = taken(COUNTED)
    assert (found.acceptance.drafts, found.acceptance.accepted, found.finished) == (360, 720, 24)
    assert found.acceptance.accepted_per_position == (264, 216, 1), "positions are numbers, not text"
    failures = {"decode: failed_notifications": 1, "decode: expired_requests": 2}
    assert found.kv == KvLedger(1944, 0, 0, 24, 42467328, failures)
    assert (found.restarted, found.given_up) == ({}, {})
    assert set(found.answers) == {"main", "prefill_alone", "decode_alone"}


@pytest.mark.parametrize("name", ["drafts", "draft_tokens", "accepted"])
def test_a_missing_speculation_counter(name: str) -> None:
    found = taken({key: value for key, value in COUNTED.items() if key != name})
    assert found.acceptance == Unmeasured(f"the engine exports no counter for {name}")


def test_a_missing_transfer_counter_matters_only_where_something_arrived() -> None:
    without = {key: value for key, value in COUNTED.items() if not key.startswith(("transfer", "failed", "expired"))}
    assert isinstance(taken(without).kv, Unmeasured)
    nothing = without | {"prompt_tokens.external_kv_transfer": 0.0, "prompt_tokens.local_compute": 1944.0}
    assert taken(nothing).kv == KvLedger(0, 1944, 0, 0, 0, {})


@pytest.mark.parametrize(
    "counter", ["failed_transfers", "failed_notifications", "expired_requests", "notifications_after_expiry"]
)
def test_a_failure_that_only_the_prefill_side_sees(counter: str) -> None:
    healthy = COUNTED | {"failed_notifications": 0.0, "expired_requests": 0.0}
    assert taken(healthy).kv.failures == {}
    assert taken(healthy, PREFILL | {counter: 24.0}).kv.failures == {f"prefill: {counter}": 24}


@pytest.mark.parametrize("counter", [name for name in PREFILL if name != "drafts"])
def test_a_side_that_does_not_count_its_failures_is_not_without_any(counter: str) -> None:
    found = taken(COUNTED, {name: value for name, value in PREFILL.items() if name != counter})
    assert found.kv == Unmeasured(f"the engine exports no counter for {counter} on prefill")


def test_requests_that_were_given_up_are_no_finished_ones() -> None:
    reasons = {"stop": 20.0, "length": 2.0, "abort": 1.0, "error": 1.0, "whatever comes": 1.0}
    counted = {key: value for key, value in COUNTED.items() if key != "finished_requests"}
    found = taken(counted | {f"finished_requests.{reason}": number for reason, number in reasons.items()})
    assert (found.finished, found.given_up) == (22, {"decode": 3})
    found = taken(COUNTED, PREFILL | {"finished_requests.length": 24.0, "finished_requests.abort": 2.0})
    assert (found.finished, found.given_up) == (24, {"prefill": 2})
    assert taken(COUNTED | {"aborted_requests": 4.0}).given_up == {"decode": 4}
    assert taken(counted).finished == Unmeasured("the engine exports no counter for finished_requests")


def test_finished_requests_are_read_by_their_reason() -> None:
    text = "\n".join(
        f'vllm:request_success_total{{engine="{rank}",finished_reason="{reason}"}} 2.0'
        for rank in (0, 1)
        for reason in ("stop", "abort")
    )
    assert metrics.read(f"{text}\n", METRICS) == {"finished_requests.stop": 4.0, "finished_requests.abort": 4.0}


def reading(*ranks: float, start: float | None = 1.7e9) -> dict[str, float]:
    lines = [f'vllm:request_success_total{{engine="{rank}"}} {value}' for rank, value in enumerate(ranks)]
    lines += [f"process_start_time_seconds {start}"] if start else []
    return metrics.series("\n".join([*lines, "vllm:num_requests_running 1.0", ""]), METRICS)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (reading(5, 5), reading(9, 5), ""),
        (reading(), reading(1, 1), ""),
        (reading(start=None), reading(), ""),
        (reading(5, 5), reading(9, 4), 'vllm:request_success_total{engine="1"} went down from 5 to 4'),
        (reading(5, 5), reading(50), 'vllm:request_success_total{engine="1"} is gone'),
        (reading(5), reading(9, start=1.7e9 + 60), "process_start_time_seconds changed from 1700000000 to 1700000060"),
        (reading(5), reading(9, start=None), "process_start_time_seconds is gone"),
    ],
    ids=["grows", "new", "start new", "rank down behind another", "rank gone", "another process", "start gone"],
)
def test_a_rank_that_began_anew_does_not_hide_behind_others(
    before: dict[str, float], after: dict[str, float], words: str
) -> None:
    assert metrics.restarted(before, after) == words


def test_nothing_is_measured_with_the_counters_of_a_server_that_began_anew() -> None:
    before, after = ({"prefill": PREFILL, "decode": COUNTED} for _ in range(2))
    found = measure(CASE, [], before, after, ROLES, {}, restarted={"decode": "drafts is gone"})
    lost = Unmeasured("counters began anew: of decode, drafts is gone")
    assert (found.restarted, found.acceptance, found.kv, found.finished) == (
        {"decode": "drafts is gone"}, lost, lost, lost,
    )  # fmt: skip


@pytest.mark.parametrize("reason", ["abort", "error", "load", "content_filter", ""])
def test_an_answer_that_the_engine_gave_up_is_a_failed_request(reason: str) -> None:
    right = [sample(finish_reason="stop"), sample(finish_reason="length")]
    found = count(CASE.evaluation, [*right, sample(finish_reason=reason), sample(finish_reason=reason)])
    assert (found.answered, found.failed, found.scored, found.correct) == (2, 2, 2, 2)
    assert agree([sample(finish_reason=reason)], [sample()]).compared == 0


def test_a_sample_that_was_recorded_without_a_finish_reason_can_be_read_and_is_no_answer() -> None:
    old = {key: value for key, value in asdict(sample()).items() if key != "finish_reason"}
    read = TypeAdapter(Sample).validate_python(old)
    assert read.finish_reason == ""
    assert count(CASE.evaluation, [read]).failed == 1


BODY = {
    "choices": [{"text": " four", "finish_reason": "length"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2},
}


def test_a_completion_is_read() -> None:
    assert read_completion(BODY) == Completion(" four", "length", 3, 2)


@pytest.mark.parametrize(
    "body",
    [
        None, [], {}, {"choices": []},
        BODY | {"choices": [{"text": None, "finish_reason": "stop"}]},
        BODY | {"choices": [{"finish_reason": "stop"}]},
        BODY | {"choices": [{"text": "four"}]},
        BODY | {"choices": [{"text": "four", "finish_reason": None}]},
        BODY | {"choices": [{"text": 4, "finish_reason": "stop"}]},
        BODY | {"usage": None},
        BODY | {"usage": {"prompt_tokens": None, "completion_tokens": 1}},
    ],
)  # fmt: skip
def test_what_is_no_completion_is_no_text(body: Any) -> None:
    with pytest.raises(ValueError, match="status 200 without a completion"):
        read_completion(body)


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
    assert found.primed == Primed(planned=12, answered=1, prompt_tokens=128, completion_tokens=3)
    assert found.answers["main"].answered == 2
    assert set(found.answers) == {"main", "prefill_alone", "decode_alone"}


def test_an_answer_is_empty_if_it_has_no_token_whatever_its_text() -> None:
    unseen = sample("K60", text="", completion_tokens=2)  # of tokens that are no text
    assert count(CASE.evaluation, [unseen]).empty == 0
    assert count(CASE.evaluation, [unseen, sample("K61", completion_tokens=0)]).empty == 1


@pytest.mark.parametrize(("send_to", "finished"), [("entry", 24), ("decode", 24), ("prefill", 5)])
def test_requests_are_counted_by_the_side_that_is_asked(send_to: str, finished: int) -> None:
    case = CASE.model_copy(update={"evaluation": CASE.evaluation.model_copy(update={"send_to": send_to})})
    before = {"prefill": dict.fromkeys(PREFILL, 0.0), "decode": dict.fromkeys(COUNTED, 0.0)}
    after = {"prefill": PREFILL | {"finished_requests": 5.0}, "decode": COUNTED}
    assert measure(case, [sample()], before, after, ROLES, {}).finished == finished


@pytest.mark.parametrize(
    ("method", "drafts", "accepted", "wrong"),
    [
        ("eagle3", 411, 87, False),  # as it was counted once: 496 tokens after the first ones of 16 answers
        ("eagle3", 370, 87, True),  # a tenth of the drafts not counted
        ("eagle3", 822, 174, True),  # everything twice
        ("ngram", 120, 60, False),  # n-grams are not found for each step
        ("ngram", 640, 60, True),
    ],
)
def test_counters_that_the_answers_contradict_are_seen(method: str, drafts: int, accepted: int, *, wrong: bool) -> None:
    answers = replace(NO_ANSWERS, planned=16, answered=16, completion_tokens=512)
    drafted = Acceptance(drafts, 3 * drafts, accepted, (accepted, 0, 0))
    assert bool(against_answers(drafted, answers, method)) is wrong
    assert against_answers(drafted, replace(answers, uncounted=1), method) == []  # of somebody else's server
