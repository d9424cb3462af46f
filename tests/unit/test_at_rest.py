"""An idle engine is empty, and does not hold more and more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from harness.base.domain import CheckResult, Outcome
from harness.base.evidence import NO_ANSWERS, Evidence, Measurement, Unmeasured
from harness.base.resting import Footprint, Gauge, Held, Resting
from harness.checks import at_rest
from harness.engines.vllm_metrics import cache_bytes

MIB = 1 << 20
FLAT = (100, 300, 301, 301, 301)
"""MiB at the beginning and after each quarter: an engine fills its caches first."""


def gauges(**changed: tuple[float | None, float | None, float | None]) -> tuple[Gauge, ...]:
    held: tuple[Held, ...] = ("running", "waiting", "kv_usage")
    return tuple(Gauge(each, f'vllm:{each}{{engine="0"}}', *changed.get(each, (0.0, 0.0, 0.0))) for each in held)


def footprints(memory: Sequence[float] = FLAT, planned: int = 100, **changed: Any) -> tuple[Footprint, ...]:
    return tuple(
        Footprint(
            done=planned * part // 4,
            planned=planned,
            memory_bytes=int(mib * MIB),
            resident_bytes=int((mib + 500) * MIB),
            threads=changed.get("threads", (20,) * 5)[part],
            descriptors=changed.get("descriptors", (40,) * 5)[part],
            device_bytes=changed["device"][part] * MIB if "device" in changed else None,
        )
        for part, mib in enumerate(memory)
    )


def judged(**servers: Resting) -> CheckResult:
    measured = Measurement({"main": NO_ANSWERS}, None, None, None, resting=servers)
    (result,) = at_rest.judge(Evidence(measured))
    return result


def test_an_engine_that_is_empty_and_flat_passes() -> None:
    result = judged(prefill=Resting(gauges(), (), footprints()), decode=Resting(gauges(), (), footprints()))
    assert (result.outcome, result.message, result.n) == (Outcome.PASS, "", 2)
    assert result.measured == {
        "running": 0, "waiting": 0, "kv_usage": 0,
        "memory_mib_gained": 0.0, "threads_gained": 0, "descriptors_gained": 0,
    }  # fmt: skip
    assert "prefill, 50 of 100: 301.0 MiB, 20 threads, 40 open files" in result.details


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"running": (0.0, 7.0, 0.0)}, "7 running requests after the main run, when nothing was asked"),
        ({"running": (0.0, 0.0, 1.0)}, "1 running requests at the end, when nothing was asked"),
        ({"waiting": (2.0, 0.0, 0.0)}, "2 waiting requests before the main run"),
        ({"kv_usage": (0.01, 0.067, 0.067)}, "0.067 of the KV cache in use after the main run, when nothing was asked"),
        ({"kv_usage": (0.0, float("nan"), 0.0)}, "nan of the KV cache"),
        ({"kv_usage": (0.0, 0.0, None)}, 'vllm:kv_usage{engine="0"} is not there at the end'),
    ],
)  # fmt: skip
def test_what_is_held_when_nothing_was_asked_fails(changed: Any, words: str) -> None:
    result = judged(prefill=Resting(gauges(), (), footprints()), decode=Resting(gauges(**changed), (), footprints()))
    assert result.outcome is Outcome.FAIL
    assert result.message.startswith(f"decode: {words}"), result.message


def test_what_was_held_before_and_is_given_back_is_no_leak() -> None:
    usage = gauges(kv_usage=(0.2, 0.2, 0.1))
    assert judged(server=Resting(usage, (), footprints())).outcome is Outcome.PASS


@pytest.mark.parametrize(
    "memory",
    [
        (100, 900, 1700, 1700, 1700),
        (100, 140, 180, 188, 194),
        (300, 300, 300, 300, 400),
        (300, 300, 300, 400, 400),
        (300, 400, 500, 490, 560),
        (300, 100, 300, 100, 300),
    ],
    ids=["first half", "slower and slower", "one go at the end", "one go", "a pool", "up and down"],
)
def test_what_an_engine_fills_once_is_no_leak(memory: Sequence[float]) -> None:
    assert judged(server=Resting(gauges(), (), footprints(memory))).outcome is Outcome.PASS


@pytest.mark.parametrize("warm_up", [0, 4000])
@pytest.mark.parametrize(("requests", "a_quarter"), [(100, 90.0), (24, 25.0), (890, 390.0)])
def test_a_leak_of_a_mib_a_step_fails_whatever_went_before(warm_up: int, requests: int, a_quarter: float) -> None:
    memory = [300, *(300 + warm_up + a_quarter * part for part in range(1, 5))]
    result = judged(server=Resting(gauges(), (), footprints(memory, requests)))
    assert result.outcome is Outcome.FAIL
    assert f"memory grew by {2 * a_quarter:.1f} MiB in the second half of the main run" in result.message


def test_a_cache_in_memory_may_fill_and_no_more_than_that() -> None:
    memory = (1934.1, 2423.7, 2556.8, 2776.4, 2885.7)  # vLLM on a CPU keeps prefixes of 890 requests in 1 GiB
    filling = Resting(gauges(), (), footprints(memory, 890), 1024 * MIB)
    assert judged(server=filling).outcome is Outcome.PASS
    assert judged(server=replace(filling, cache_bytes=700 * MIB)).outcome is Outcome.FAIL
    assert judged(server=replace(filling, cache_bytes=0)).outcome is Outcome.FAIL


def test_a_steady_leak_is_seen_whatever_room_a_cache_has_left() -> None:
    """Both seen on vLLM 0.32 with a cache of 1 GiB: 1 MiB kept at each step, and a sound engine that slows down."""
    leaking = (1972.3, 2079.4, 2187.8, 2283.9, 2380.9)
    result = judged(server=Resting(gauges(), (), footprints(leaking), 1024 * MIB))
    assert result.outcome is Outcome.FAIL
    assert "memory grew by 193.1 MiB in the second half" in result.message
    filling = (1934.0, 2352.6, 2622.4, 2785.0, 2864.8)
    assert judged(server=Resting(gauges(), (), footprints(filling, 890), 1024 * MIB)).outcome is Outcome.PASS


@pytest.mark.parametrize(("keeps", "expected"), [("True", 1024), ("False", 0)])
def test_a_cache_fills_where_prefixes_are_kept(keeps: str, expected: int) -> None:
    told = {"enable_prefix_caching": keeps, "kv_cache_memory_bytes": "1024"}
    assert cache_bytes({"vllm:cache_config_info": (told,)}) == expected
    assert cache_bytes({}) == 0


@pytest.mark.parametrize("what", ["threads", "descriptors"])
def test_a_thread_or_a_file_with_every_request_fails(what: str) -> None:
    result = judged(server=Resting(gauges(), (), footprints(FLAT, 100, **{what: (20, 45, 70, 95, 120)})))
    assert (result.outcome, f"{what} grew by 50" in result.message) == (Outcome.FAIL, True)
    pool = judged(server=Resting(gauges(), (), footprints(FLAT, 100, **{what: (20, 45, 70, 72, 74)})))
    assert pool.outcome is Outcome.PASS


def test_memory_of_devices_is_judged_where_somebody_says() -> None:
    grown = footprints(device=(1000, 1200, 1400, 1600, 1800))
    assert judged(server=Resting(gauges(), (), grown)).outcome is Outcome.FAIL
    assert (
        judged(server=Resting(gauges(), (), footprints(device=(1000, 5000, 5000, 5000, 5000)))).outcome is Outcome.PASS
    )


def test_a_jump_beyond_any_bound_fails_however_it_came() -> None:
    assert judged(server=Resting(gauges(), (), footprints((300, 300, 300, 300, 20_000)))).outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("before", "after", "outcome"),
    [(500, 560, Outcome.PASS), (500, 20_000, Outcome.FAIL), (500, 900, Outcome.FAIL), (20_000, 500, Outcome.PASS)],
    ids=["grown a little", "grown", "more than all processes have", "shrunk"],
)
def test_memory_that_a_server_says_it_has(before: float, after: float, outcome: Outcome) -> None:
    resident = Gauge("resident", "process_resident_memory_bytes", before * MIB, after * MIB, 500 * MIB)
    seen = Resting((*gauges(), resident), (), footprints((100, 200, 200, 200, 200)))
    assert judged(server=seen).outcome is outcome


def test_too_few_requests_say_nothing_of_growth() -> None:
    result = judged(server=Resting(gauges(), (), footprints((0, 500, 1000, 1500, 2000), planned=8)))
    assert (result.outcome, result.message) == (
        Outcome.PASS,
        "growth not measured: 8 requests are too few, 16 would do",
    )


def test_a_server_of_ours_that_does_not_say_cannot_be_judged() -> None:
    silent = Resting(gauges()[1:], ("vllm:num_requests_running",), footprints())
    result = judged(server=silent)
    assert (result.outcome, "server exports no vllm:num_requests_running" in result.message) == (Outcome.ERROR, True)


def test_somebody_elses_server_that_does_not_say_is_not_measured() -> None:
    result = judged(server=Resting((), ("vllm:num_requests_running",), ()))
    assert (result.outcome, result.message) == (
        Outcome.SKIPPED,
        "not measured: server exports no vllm:num_requests_running",
    )
    assert judged().outcome is Outcome.SKIPPED
    attached = judged(server=Resting(gauges(), (), ()))
    assert (attached.outcome, attached.message) == (
        Outcome.PASS,
        "memory, threads and open files not measured: the servers do not run here",
    )


def test_what_an_earlier_version_recorded_is_not_measured() -> None:
    unknown = Measurement({"main": NO_ANSWERS}, None, None, None, resting=Unmeasured("an earlier version", absent=True))
    (result,) = at_rest.judge(Evidence(unknown))
    assert (result.outcome, result.message) == (Outcome.SKIPPED, "not measured: an earlier version")
    (nobody,) = at_rest.judge(Evidence(Measurement({"main": NO_ANSWERS}, None, None, None)))
    assert nobody.outcome is Outcome.ERROR
