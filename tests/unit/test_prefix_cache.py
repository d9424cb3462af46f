"""Prompts shorter than a block and cached prefixes: the prompts, the block arithmetic, and the ledger that follows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import protocols
from harness.protocols import known_answer_edges, prefix_edge_cases
from harness.protocols.protocol import EDGE_CASES
from known_answer import vocabulary as v
from known_answer.prefix_cache import Ask, Sources, sources

BLOCK = 32
SETTINGS: dict[str, Any] = {"concurrency": 1, "send_to": "entry", "max_tokens": 64}


def known(**changes: Any) -> known_answer_edges.KnownAnswerEdges:
    fields = {"protocol": "known_answer_edges", "items": 18, "first_key": 66, "block_size": BLOCK, **SETTINGS}
    return known_answer_edges.KnownAnswerEdges.model_validate({**fields, **changes})


def text(**changes: Any) -> prefix_edge_cases.PrefixEdgeCases:
    fields = {"protocol": "prefix_edge_cases", "items": 24, "block_size": 16, **SETTINGS}
    return prefix_edge_cases.PrefixEdgeCases.model_validate({**fields, **changes})


def tokens(length: int, first: int = 0) -> list[int]:
    return list(range(first, first + length))


# Counted by vLLM 0.32.0 between a prefill and a decode server, as the cases are: tests/cpu/test_engine.py.
@pytest.mark.parametrize(
    ("asks", "expected"),
    [
        ([Ask(tokens(20), routed=True)], Sources(20, 0, 0, 32)),
        ([Ask(tokens(100), routed=True)], Sources(100, 0, 0, 128)),
        # The block of the last token is fetched even where it is cached.
        ([Ask(tokens(128), routed=False), Ask(tokens(128), routed=True)], Sources(32, 96, 128, 32)),
        ([Ask(tokens(114), routed=False), Ask(tokens(114), routed=True)], Sources(18, 96, 114, 32)),
        # What follows the cached blocks comes whole.
        ([Ask(tokens(78), routed=False), Ask(tokens(128), routed=True)], Sources(64, 64, 78, 64)),
        ([Ask(tokens(70), routed=True, counted=False), Ask(tokens(70), routed=True)], Sources(6, 64, 0, 32)),
        ([Ask(tokens(70, 1), routed=False), Ask(tokens(70), routed=True)], Sources(70, 0, 70, 96)),
    ],
    ids=["short", "alone", "full, whole last block", "full", "partial", "asked while starting", "another text"],
)
def test_blocks(asks: list[Ask], expected: Sources) -> None:
    assert sources(asks, BLOCK, caching=True) == expected


@given(lengths=st.lists(st.tuples(st.integers(1, 200), st.booleans()), min_size=1, max_size=8), caching=st.booleans())
def test_every_token_has_one_source_and_every_routed_request_moves_a_block(
    lengths: list[tuple[int, bool]], caching: bool
) -> None:
    asks = [Ask(tokens(length), routed) for length, routed in lengths]
    found = sources(asks, BLOCK, caching=caching)
    routed = [length for length, through in lengths if through]
    assert found.external + found.local_cache_hit + found.local_compute == sum(length for length, _ in lengths)
    assert found.moved >= max(found.external, BLOCK * len(routed))
    assert found.moved % BLOCK == 0
    if not caching:
        assert (found.external, found.local_cache_hit) == (sum(routed), 0)


def test_known_prompts_are_what_their_turn_says() -> None:
    for index, item in enumerate(protocols.items(known())):
        kind, prompt = EDGE_CASES[index % 3], v.encode(str(item.prompt))
        ahead = v.encode(item.prime.prompt) if item.prime else []
        shared = next(
            (at for at, pair in enumerate(zip(prompt, ahead, strict=False)) if len(set(pair)) > 1), len(ahead)
        )
        assert {"short": not ahead, "full": ahead == prompt, "partial": shared == 2 * BLOCK}[kind]
        assert (len(prompt) < BLOCK) == (kind == "short")
        # The key stands in the block of the last token, which no cache answers from.
        key = next(at for at, token in enumerate(prompt) if v.KEY <= token < v.KEY + v.KEYS)
        assert key >= (len(prompt) - 1) // BLOCK * BLOCK
    lengths = {item.prompt_tokens for item in protocols.items(known())}
    assert {length % BLOCK == 0 for length in lengths if length and length > BLOCK} == {True, False}


@pytest.mark.parametrize("block", [16, 128])
def test_prompts_in_plain_text_keep_their_bounds_with_any_tokenizer(block: int) -> None:
    items = protocols.items(text(block_size=block))
    long = [str(item.prompt) for item in items if item.prime]
    for item in items:
        kind, prompt = item.id.split("-")[0], str(item.prompt)
        if kind == "short":
            assert item.prime is None
            assert len(prompt.encode()) < block
            continue
        assert item.prime is not None
        assert prompt.startswith(item.prime.prompt)
        assert (prompt == item.prime.prompt) == (kind == "full")
        assert len(prompt.split()) >= 4 * block
        assert len(item.prime.prompt.split()) > 2 * block
    assert len({prompt.partition(".")[0] for prompt in long}) == len(long), "no prompt is another's cached prefix"
    assert len({item.prompt for item in items}) == len(items)


def test_what_fills_a_cache_is_asked_one_at_a_time() -> None:
    for make in (known, text):
        with pytest.raises(ValueError, match="concurrency: must be 1"):
            make(concurrency=2)
