"""Metrics texts: a text is read or is none; what nothing can have counted is never judged."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from harness.base.domain import Outcome
from harness.base.evidence import Evidence, Unmeasured
from harness.checks import judge_all
from harness.engines import metrics
from harness.engines.vllm_metrics import METRICS
from harness.run.measure import measure
from tests.fuzz import ends, examples
from tests.unit.test_measure import CASE, COUNTED, ROLES

NAMES = sorted({metric.sample for metric in METRICS})
LABELS = st.sampled_from(["engine", "position", "source", "finished_reason", "", "a b", '"', "le"])
NUMBERS = st.sampled_from(["1", "1.0", "NaN", "+Inf", "-Inf", "1e400", "-5", "1.5", "1e300", "x", "", "0x1", "1_0"])
PIECES = st.sampled_from(["{", "}", '"', "=", ",", "\\", "#", "# TYPE ", "# HELP ", "\n", " ", "\t", "\0", "é", "NaN"])


@st.composite
def lines(draw: Any) -> str:
    pairs = draw(st.dictionaries(LABELS, st.text(max_size=5) | st.sampled_from(["0", "1", "9" * 5000]), max_size=3))
    labels = ",".join(f'{name}="{value}"' for name, value in pairs.items())
    time = draw(st.sampled_from(["", " 1", " x", " NaN", " 99999999999999999999"]))
    return f"{draw(st.sampled_from(NAMES))}{{{labels}}} {draw(NUMBERS)}{time}"


@given(st.lists(lines() | st.text(max_size=30) | st.lists(PIECES, max_size=20).map("".join), max_size=8))
@examples(150)
def test_a_text_is_read_or_is_none(texts: list[str]) -> None:
    with ends():
        try:
            found = metrics.read("\n".join(texts) + "\n", METRICS)
        except ValueError:
            return
        measure(CASE, [], {"prefill": {}, "decode": {}}, {"prefill": found, "decode": found}, ROLES, {})


@given(
    st.sampled_from(sorted(COUNTED)),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e300, 0.5, -1e17]),
    st.sampled_from(["before", "after"]),
)
@examples(60)
def test_what_nothing_can_have_counted_is_not_judged(name: str, value: float, when: str) -> None:
    readings = {"before": dict.fromkeys(COUNTED, 0.0), "after": dict(COUNTED)}
    readings[when][name] = value
    sides = {when: {"prefill": dict(COUNTED), "decode": found} for when, found in readings.items()}
    found = measure(CASE, [], sides["before"], sides["after"], ROLES, {})
    if name == "transfer_bytes" and value == 0.5:
        return  # rounded: an engine that counts megabytes has such
    assert isinstance(found.acceptance, Unmeasured)
    assert isinstance(found.kv, Unmeasured)
    checks = {
        each.name: each.outcome for each in judge_all(CASE.checks, CASE.controls, CASE.comparisons, Evidence(found))
    }
    assert checks["acceptance_length"] is checks["kv_transfer"] is checks["validity"] is Outcome.ERROR
