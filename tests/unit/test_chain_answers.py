"""Greedy answers that parameters of the request decide: known without a tie, and other ones if one is not heeded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.protocols.chain_answers import penalized
from harness.protocols.known_answer_contract import KnownAnswerContract
from known_answer import chain, draws
from known_answer import vocabulary as v

PENALTIES = ("frequency_penalty", "presence_penalty", "repetition_penalty")


def entries() -> dict[str, Any]:
    protocol = KnownAnswerContract(
        protocol="known_answer_contract", items=4, max_tokens=32, concurrency=4, send_to="entry", context=1024,
        endpoint="completions",
    )  # fmt: skip
    return {each.name: each for each in protocol.exchanges()}


def settings(body: dict[str, Any]) -> draws.Settings:
    return draws.Settings(temperature=0, **{name: body[name] for name in PENALTIES if name in body})


@pytest.mark.parametrize("name", PENALTIES)
def test_no_token_of_a_penalized_answer_is_a_near_miss(name: str) -> None:
    """What float32 or bf16 make of a penalty could turn one into another."""
    entry = entries()[name]
    asked, counts = settings(dict(entry.body)), dict[int, int]()
    prompt = v.encode(entry.body["prompt"])
    state, ends = chain.state_of(prompt[-1]), 0
    for token in v.encode(entry.expected["choices"][0]["text"]):
        shares = draws.probabilities(replace(asked, temperature=1.0), state, counts, frozenset(prompt))
        first, second = sorted(shares[: chain.RANKS], reverse=True)[:2]
        assert first > 1.2 * second
        _, rank = chain.drawn(token) or (0, -1)
        ends += rank != 0
        counts[token] = counts.get(token, 0) + 1
        state = chain.state_of(token)
    assert ends > 10, "the penalty decides nothing"


@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_that_is_not_heeded_makes_another_text(name: str) -> None:
    entry = entries()[name]
    asked, without = settings(dict(entry.body)), draws.Settings()
    for each in PENALTIES:
        if each in entry.body:
            other = penalized(name, replace(asked, **{each: getattr(without, each)}))
            assert other.expected["choices"] != entry.expected["choices"], each
