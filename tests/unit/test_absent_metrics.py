"""Counters that a build calls otherwise."""

from __future__ import annotations

from harness.engines.metrics import Metric, absent, gauges, read

METRICS = (Metric("drafts", "vllm:num_drafts_total"), Metric("finished", "vllm:success_total", by="reason"))


def test_what_is_there_is_not_absent() -> None:
    assert absent('vllm:num_drafts_total 1.0\nvllm:success_total{reason="stop"} 1.0\n', METRICS) == {}


def test_what_is_similar_is_named() -> None:
    found = absent('vllm:drafts_total 1.0\nvllm:success_total{reason="stop"} 1.0\nother 2.0\n', METRICS)
    assert found == {"drafts": "vllm:num_drafts_total; similar there: vllm:drafts_total"}
    assert absent('vllm:success_total{reason="stop"} 1.0\n', METRICS) == {"drafts": "vllm:num_drafts_total"}


def test_a_counter_without_its_label_is_none() -> None:
    text = 'vllm:num_drafts_total 1.0\nvllm:success_total{why="stop",engine="0"} 1.0\n'
    assert absent(text, METRICS) == {"finished": "vllm:success_total has no label reason; it has engine, why"}
    assert read(text, METRICS) == {"drafts": 1.0}, "an aborted request must not count as one that ended well"


def test_each_series_of_a_gauge_is_read_and_those_that_are_missing_are_left_out() -> None:
    text = 'a_running{engine="0"} 1.0\na_running{engine="1"} 2.0\nother 5.0\n'
    assert gauges(text, (Metric("running", "a_running"), Metric("waiting", "a_waiting"))) == {
        ("running", 'a_running{engine="0"}'): 1.0,
        ("running", 'a_running{engine="1"}'): 2.0,
    }
