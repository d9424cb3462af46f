"""Questions by key: which are asked once more, which go on behind their end, and what is known of them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from harness import protocols
from harness.protocols.known_answer_qa import KnownAnswerQa
from known_answer.simulate import reads_hidden_state, total
from known_answer.table import CYCLE
from known_answer.vocabulary import encode


def asked(**changes: Any) -> KnownAnswerQa:
    settings: dict[str, Any] = {"items": 10, "first_key": 3, "max_tokens": 128, "concurrency": 4, "send_to": "entry"}
    settings |= changes
    return KnownAnswerQa(protocol="known_answer_qa", endpoint="completions", **settings)


def test_the_last_ones_are_the_first_ones_once_more() -> None:
    items = protocols.items(asked(again=4))
    assert [each.id for each in items] == [*(f"K{key:02d}" for key in range(3, 9)),
                                           *(f"K{key:02d}.again" for key in range(3, 7))]  # fmt: skip
    assert [(each.prompt, each.expected, each.expected_text) for each in items[6:]] == [
        (each.prompt, each.expected, each.expected_text) for each in items[:4]
    ]


def test_an_answer_that_goes_on_says_the_same_and_then_walks_the_cycle() -> None:
    before, after = protocols.items(asked(again=4)), protocols.items(asked(again=4, beyond=3))
    assert before[:7] == after[:7]
    for one, other in zip(before[7:], after[7:], strict=True):
        assert (one.expected_text or "") in (other.expected_text or "")
        assert (other.completion_tokens, other.finish_reason) == (128, "length")
        assert asked().answer(other.expected_text or "") == asked().answer(one.expected_text or "")
        assert set(encode(other.expected_text or "")[-60:]) == set(CYCLE)


def test_what_goes_on_tells_a_drafter_that_reads_hidden_states_from_one_that_does_not() -> None:
    for beyond, differs in ((0, False), (3, True)):
        requests = protocols.requests(asked(beyond=beyond))
        assert (total(requests, 3) != total(requests, 3, first_draft=reads_hidden_state)) is differs


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"again": 6}, "again: at most half"),
        ({"again": 99}, "again: at most half"),
        ({"beyond": 11}, "beyond: there are 10 items"),
        ({"first_key": 95, "again": 4}, "first_key"),
        ({"again": -1}, "greater than or equal to 0"),
    ],
)
def test_what_cannot_be_asked_is_said(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        asked(**changes)
