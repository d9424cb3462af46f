"""Whatever a case asks for is judged: each check, each control, each comparison, on the evidence of each run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.base.domain import Outcome, Sample
from harness.base.evidence import Acceptance, Agreement, Answers, Evidence, KvLedger, Measurement
from harness.base.exchange import Exchanged
from harness.base.resting import Gauge, Resting
from harness.base.seen_settings import SeenSetting
from harness.checks import Checks, judge_all
from harness.checks.accuracy import AccuracySettings
from harness.checks.parity import ComparisonSettings
from known_answer import chain, draws
from known_answer import vocabulary as v
from tests.ucx_tables import EMULATED, READ

ANSWERS = Answers(
    planned=10, answered=10, failed=0, empty=0, scored=10, correct=10, invalid=0, compared=10, equal=10,
    prompt_tokens=100, unexpected_prompt_tokens=0,
)  # fmt: skip
ORIGIN = {"origin": "made up for this test"}
ALL = {"expected": 1.0, "direction": "two-sided", "absolute_tolerance": 0.0, "n": 10, **ORIGIN}
NONE = ALL | {"expected": 0.0}

CONTROLS = {"control": AccuracySettings.model_validate(NONE)}
COMPARISONS = {"comparison": ComparisonSettings.model_validate(ALL)}


def changed(**changes: Any) -> Answers:
    return Answers(**{**ANSWERS.__dict__, **changes})


LIKELIEST = chain.spelled(chain.greedy(v.encode(draws.prompt("greedy", 0))[-1], 64))
DRAWN = Sample("main", "greedy.000", 200, "", LIKELIEST, 9, 64, 0.0, 0.1, "length", None, LIKELIEST)
ENTRY = Exchanged("entry", 200, "", {"choices": []}, expected={"status": 200})

GREEN: dict[str, Any] = {
    "answers": {"main": ANSWERS, "control": changed(correct=0), "comparison": ANSWERS},
    "acceptance": Acceptance(drafts=10, draft_tokens=20, accepted=15, accepted_per_position=(10, 5)),
    "kv": KvLedger(external=100, local_compute=0, local_cache_hit=0, transfers=10, bytes=1000, failures={}),
    "finished": 10,
    "counters": {"server": {"corrupted_requests": 0.0}},
    "events": {"server": {"rearrangements": 3, "cuda_graphs": 1}},
    "agreement": {"comparison": Agreement(10, 10)},
    "configuration": {"server": {"topk": 1}},
    "resting": {"server": Resting((Gauge("running", "running", 0.0, 0.0, 0.0),))},
    "samples": (DRAWN,),
    "exchanges": (ENTRY,),
    "logs": {"server": READ},
}
"""Evidence on which everything below passes."""

SLOWER = {"acceptance": Acceptance(drafts=10, draft_tokens=20, accepted=5, accepted_per_position=(5, 0))}

CHECKS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "accuracy": (ALL, {"answers": GREEN["answers"] | {"main": changed(correct=9)}}),
    "acceptance_length": (ALL | {"expected": 2.5}, SLOWER),
    "acceptance_per_position": (ALL | {"expected": [1.0, 0.5]}, SLOWER),
    "draft_counts": (
        {"drafts": 10, "draft_tokens": 20, "accepted": 15, "accepted_per_position": [10, 5], **ORIGIN},
        SLOWER,
    ),
    "kv_transfer": ({"local_tokens_per_request": 0, **ORIGIN}, {"kv": KvLedger(50, 50, 0, 10, 1000, {})}),
    "rearrangements": ({"at_least": 1, **ORIGIN}, {"events": {"server": {"rearrangements": 0}}}),
    "corrupted_requests": (ORIGIN, {"counters": {"server": {"corrupted_requests": 1.0}}}),
    "cuda_graphs": (ORIGIN, {"events": {"server": {"cuda_graphs": 0}}}),
    "parity": (ALL, {"answers": GREEN["answers"] | {"main": changed(equal=9)}}),
    "contract": ({"entries": 1, **ORIGIN}, {"exchanges": (replace(ENTRY, status=500),)}),
    "sampling": ({"n": 64, **ORIGIN}, {"samples": (replace(DRAWN, text=LIKELIEST[::-1]),)}),
    "transport": ({"over": ["cma"], **ORIGIN}, {"logs": {"server": EMULATED}}),
    "server_config": ({"equal": {"topk": 1}, **ORIGIN}, {"configuration": {"server": {"topk": 2}}}),
}
"""Of each check, its table and what makes it false."""


def judged(checks: dict[str, Any], **changes: Any) -> dict[str, Outcome]:
    """Outcomes by name, of these checks, a control and a comparison."""
    seen = {**GREEN, **changes}
    configuration, samples, exchanges, logs = (
        seen.pop(name) for name in ("configuration", "samples", "exchanges", "logs")
    )
    settings = (SeenSetting("server", "block-size", "32", ("32",), equal=True),)
    evidence = Evidence(Measurement(**seen), samples, configuration, logs, settings=settings, exchanges=exchanges)
    results = judge_all(Checks.model_validate(checks), CONTROLS, COMPARISONS, evidence)
    assert len({each.name for each in results}) == len(results)
    return {each.name: each.outcome for each in results}


def test_what_needs_no_baseline_is_judged_of_every_case() -> None:
    found = judged({})
    assert set(found) == {"validity", "in_force", "at_rest", "control[control]", "parity[comparison]"}
    assert set(found.values()) == {Outcome.PASS}


@pytest.mark.parametrize("name", Checks.model_fields)
def test_every_check_is_judged(name: str) -> None:
    table, false = CHECKS[name]
    always = judged({})
    found = {each: outcome for each, outcome in judged({name: table}).items() if each not in always}
    assert found, f"{name} is not judged"
    assert set(found.values()) == {Outcome.PASS}
    assert Outcome.FAIL in {outcome for each, outcome in judged({name: table}, **false).items() if each in found}


def test_all_checks_of_a_case_are_judged_together() -> None:
    tables = {name: CHECKS[name][0] for name in Checks.model_fields}
    assert set(judged(tables)) == {each for name, table in tables.items() for each in judged({name: table})}


def test_a_control_that_answers_is_false() -> None:
    found = judged({}, answers=GREEN["answers"] | {"control": ANSWERS})
    assert found == judged({}) | {"control[control]": Outcome.FAIL}


def test_a_comparison_that_differs_is_false() -> None:
    found = judged({}, agreement={"comparison": Agreement(10, 9)})
    assert found == judged({}) | {"parity[comparison]": Outcome.FAIL}


@pytest.mark.parametrize("run", GREEN["answers"])
@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"failed": 1, "answered": 9}, Outcome.ERROR),
        ({"planned": 11}, Outcome.ERROR),
        ({"empty": 1}, Outcome.FAIL),
        ({"unexpected_prompt_tokens": 1}, Outcome.FAIL),
    ],
    ids=["failed", "lost", "empty", "another prompt"],
)
def test_validity_looks_at_every_run(run: str, changes: dict[str, int], outcome: Outcome) -> None:
    answers = GREEN["answers"][run]
    broken = Answers(**{**answers.__dict__, **changes})
    finished = broken.answered if run == "main" else GREEN["finished"]
    found = judged({}, answers=GREEN["answers"] | {run: broken}, finished=finished)
    assert found["validity"] is outcome


def test_graphs_of_no_server_are_not_captured() -> None:
    assert judged({"cuda_graphs": ORIGIN}, events={})["cuda_graphs"] is Outcome.ERROR
