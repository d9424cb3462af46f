"""What suffix decoding drafts, from texts whose answer can be said by hand, and what is counted of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cases.load import load
from harness.plan.expected_values import expected_values
from known_answer.simulate import Counts, Request
from known_answer.suffix_decoding import Said, total
from known_answer.table import CYCLE
from tests.helpers import edited


def said(*texts: list[int], depth: int = 8) -> Said:
    tree = Said(depth)
    for number, text in enumerate(texts):
        tree.say(number, text)
    return tree


def test_it_drafts_as_many_tokens_as_it_found_and_the_likeliest_first() -> None:
    # After 1 2 came 3 4 5, and now 1 2 stands at the end: of its two times one was gone on with.
    tree = said([1, 2, 3, 4, 5, 1, 2])
    assert tree.draft([5, 1, 2], 6, 1.0) == ([3, 4], 1.0)
    assert tree.draft([5, 1, 2], 6, 2.0) == ([3, 4, 5, 1], 2.0)
    assert tree.draft([5, 1, 2], 3, 2.0) == ([3, 4, 5], 1.5)
    # 2 is followed by 7 more often than by 3.
    assert said([2, 3, 2, 7, 2, 7, 2]).draft([9, 2], 6, 1.0) == ([7], 0.5)
    assert said([2, 3, 2, 7, 2, 7, 2]).draft([2], 6, 1.0) == ([], 0.0), "all of the context is never looked for"


def test_it_drafts_nothing_that_is_unlikely_or_deeper_than_what_is_kept() -> None:
    often = [token for other in range(10, 21) for token in (1, other)]
    assert said([*often, 1]).draft([20, 1], 6, 1.0) == ([], 0.0), "one of twelve times"
    assert said([1, 2, 3, 4, 5, 6], depth=3).draft([0, 1], 6, 6.0)[0] == [2, 3]
    assert said([1, 2], [3, 4]).draft([0, 2], 6, 1.0)[0] == [], "one text does not go on in another one"


def counted(k: int, limit: int, *, requests: int = 1, shared: bool = False, factor: float = 1.0) -> Counts:
    asked = [Request(CYCLE[0], limit, ignore_eos=True)] * requests
    return total(asked, [[CYCLE[0]]] * requests, k, depth=24, factor=factor, shared=shared)


@given(k=st.integers(1, 8), limit=st.integers(2, 150))
def test_all_it_drafts_on_a_cycle_is_right_and_begins_with_the_second_round(k: int, limit: int) -> None:
    counts = counted(k, limit)
    assert counts.accepted == counts.draft_tokens
    assert (counts.drafts == 0) == (limit <= len(CYCLE))


def test_another_request_is_drafted_from_an_answer_of_before_if_answers_are_kept() -> None:
    assert counted(4, 40, requests=3) == Counts(0, (0,) * 4)
    kept = counted(4, 40, requests=3, shared=True)
    assert kept.drafts > 0
    assert kept.accepted == kept.draft_tokens


@pytest.mark.parametrize(
    ("changes", "known"),
    [
        ({}, True),
        ({"evaluation/concurrency": 2}, False),
        ({"serve/speculation/suffix_decoding_max_cached_requests": 20}, False),
        ({"serve/speculation/suffix_decoding_max_tree_depth": 24}, True),
    ],
)
def test_counters_are_known_where_it_is_known_who_was_asked_before(
    tmp_path: Path, changes: dict[str, object], known: bool
) -> None:
    case = load(edited(tmp_path, "suffix/known_answer_shared", changes, generate=False))[0]
    values = expected_values(case, "cuda")
    assert ("draft_counts" in values) == known
    assert "parity" in values
