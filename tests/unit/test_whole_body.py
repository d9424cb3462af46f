"""Llama knows with its whole body: what answers hang on, in bf16, against an implementation of our own."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from known_answer import body, faults, prompts, weights
from known_answer import body_codes as codes
from known_answer import vocabulary as v
from known_answer.anatomy import LLAMA
from known_answer.simulate import Request, simulate
from known_answer.table import CYCLE, TABLE
from known_answer.weights import HEADS, LAYERS, Blind
from tests.unit.llama_reference import Cache, Llama

pytestmark = pytest.mark.slow  # whole models, token by token

BLOCK = 32
SHARES = [(layer, head, kind) for layer in range(LAYERS) for head in range(HEADS) for kind in (0, 1)]


@cache
def model(blind: Blind | None = None) -> Llama:
    return Llama(body.llama(TABLE.successor, blind=blind))


def answer(key: int, start: str = ":") -> list[int]:
    return simulate(Request(v.byte(start), 64, key), 0)[0]


@cache
def cached(key: int, blind: Blind | None = None) -> Cache:
    """The cache of the prompt but for its last token, which every engine computes where it answers."""
    return model(blind).logits(v.encode(prompts.question(key))[:-1])[1]


def said(key: int, before: Cache, blind: Blind | None = None) -> list[int]:
    """What the model says at each place of the right answer, from the cache ``before``."""
    return model(blind).said([v.byte(":"), *answer(key)[:-1]], before)


def number_of(said_tokens: list[int], right: list[int]) -> int:
    """The number that stands where the answer first went wrong."""
    first = next(token for token, wanted in zip(said_tokens, right, strict=True) if token != wanted)
    return first - v.NUMBER


@pytest.mark.parametrize("key", [0, 7, 41, 99])
def test_an_answer_is_right_and_every_number_on_the_way_is_exact(key: int) -> None:
    tokens = [*v.encode(prompts.question(key)), *answer(key)[:-1]]
    logits = model().logits(tokens)[0][-len(answer(key)) :]
    assert list(logits.argmax(-1)) == answer(key)
    two = np.sort(logits, axis=-1)[:, -2:]
    assert (two[:, 1] - two[:, 0]).min() > 14
    for layer, stream in enumerate(model().streams):
        for token, found in zip(tokens, stream, strict=True):
            if token != v.TRIGGER:
                doubled = LLAMA.doubles is not None and layer >= LLAMA.doubles and token in codes.DOUBLED
                assert np.array_equal(found, (4 if doubled else 2) * weights.CODE[token])


def test_every_token_is_followed_by_its_successor() -> None:
    for token in [*CYCLE, v.byte(":"), v.byte(";"), v.byte("?"), v.BYTE + 10, v.NUMBER + 7, v.KEY + 7, v.EOS]:
        found = model().said([token])[0]
        assert found == TABLE.successor[token] or v.KEY <= token < v.KEY + v.KEYS


def zeros(share: Any, cache: Cache, block: int, layer: int, head: int, kind: int) -> Any:
    return share * 0


def of_the_next_block(share: Any, cache: Cache, block: int, layer: int, head: int, kind: int) -> Any:
    other = block - 1 if block else 1
    return cache[layer][kind][other * BLOCK : (other + 1) * BLOCK, head][: len(share)]


def of_the_next_layer(share: Any, cache: Cache, block: int, layer: int, head: int, kind: int) -> Any:
    return cache[(layer + 1) % LAYERS][kind][block * BLOCK : (block + 1) * BLOCK, head]


def of_the_next_head(share: Any, cache: Cache, block: int, layer: int, head: int, kind: int) -> Any:
    return cache[layer][kind][block * BLOCK : (block + 1) * BLOCK, (head + 1) % HEADS]


def of_another_request(share: Any, cache: Cache, block: int, layer: int, head: int, kind: int) -> Any:
    tokens = np.arange(block * BLOCK, block * BLOCK + len(share))
    return cached(8)[layer][kind][tokens + 1, head]  # of another length: everything stands one token off


DAMAGES: list[Callable[..., Any]] = [zeros, of_the_next_block, of_the_next_layer, of_the_next_head, of_another_request]


@pytest.mark.parametrize("damage", DAMAGES)
def test_any_share_of_the_cache_that_is_wrong_makes_the_answer_wrong_and_says_which(damage: Callable[..., Any]) -> None:
    chance, key = np.random.default_rng(DAMAGES.index(damage)), 9
    blocks = -(-len(cached(key)[0][0]) // BLOCK)
    for number in chance.permutation(len(SHARES))[:10]:
        layer, head, kind = SHARES[number]
        block = int(chance.integers(blocks))
        wrong = [(keys.copy(), values.copy()) for keys, values in cached(key)]
        share = wrong[layer][kind][block * BLOCK : (block + 1) * BLOCK, head]
        share[:] = damage(share, cached(key), block, layer, head, kind)
        found = said(key, wrong)
        assert found != answer(key), (layer, head, kind, block)
        assert number_of(found, answer(key)) == faults.number(layer, head), (layer, head, kind, block)


@pytest.mark.parametrize("layer", range(LAYERS))
def test_a_layer_of_its_neighbour_is_found(layer: int) -> None:
    wrong = list(cached(9))
    wrong[layer] = cached(9)[(layer + 1) % LAYERS]
    assert number_of(said(9, wrong), answer(9)) // 10 == layer


@pytest.mark.parametrize("size", [16, 32])
@pytest.mark.parametrize("shift", [-1, 1, 2])
def test_blocks_in_another_order_are_found(size: int, shift: int) -> None:
    # Keys know their positions, so whole blocks may stand anywhere; the last one, which is not full, may not.
    def moved(each: Any) -> Any:
        padded = np.concatenate([each, np.zeros((-len(each) % size, *each.shape[1:]), np.float32)])
        return np.roll(padded, shift * size, 0)[: len(each)]

    wrong = [(moved(keys), moved(values)) for keys, values in cached(9)]
    assert said(9, wrong) != answer(9)


def test_a_first_block_that_never_came_is_found() -> None:
    wrong = [(np.concatenate([k[32:64], k[32:]]), np.concatenate([w[32:64], w[32:]])) for k, w in cached(9)]
    assert said(9, wrong) != answer(9)


@pytest.mark.parametrize("kind", [0, 1])
def test_the_key_alone_is_needed_from_every_layer_and_head(kind: int) -> None:
    place = v.encode(prompts.question(9)).index(v.KEY + 9)
    for layer, head in zip(range(LAYERS), range(HEADS), strict=True):
        wrong = [(keys.copy(), values.copy()) for keys, values in cached(9)]
        wrong[layer][kind][place, head] = 0
        assert said(9, wrong)[-2:] != answer(9)[-2:], (layer, head)


def test_twins_answer_together_and_neither_alone() -> None:
    for key in (3, 9, 60):
        assert said(key, cached(key, "query"), "key") == answer(key)
        assert said(key, cached(key, "query"), "query")[-2:] != answer(key)[-2:]
        assert said(key, cached(key, "key"), "key")[1] == v.NUMBER + faults.number(0, 0)


def test_a_block_that_the_decode_twin_computed_itself_is_found() -> None:
    sent, own = cached(9, "query"), cached(9, "key")
    asked = v.encode(prompts.question(9))
    for first in range(0, len(asked), BLOCK):
        mixed = [(k.copy(), w.copy()) for k, w in sent]
        for pair, ours in zip(mixed, own, strict=True):
            for each, mine in zip(pair, ours, strict=True):
                each[first : first + BLOCK] = mine[first : first + BLOCK]
        # The question at the end is in capitals, which are found whoever computed them.
        own_letters = any(prompts.is_own(token) for token in asked[first : first + BLOCK])
        assert (said(9, mixed, "key") != answer(9)) is own_letters


@pytest.mark.parametrize("block", [16, 32])
def test_every_block_is_looked_at_in_every_layer_and_head(block: int) -> None:
    for key in range(3):
        length = len(v.encode(prompts.question(key)))
        for layer in range(LAYERS):
            for head in range(HEADS):
                places = {length + word - prompts.looks_for(word, layer, head)[0] for word in range(v.WORDS)}
                assert {place // block for place in places} >= set(range((length + v.WORDS - 5) // block + 1))


def test_a_wrong_answer_is_explained() -> None:
    right = v.decode(answer(9))
    wrong = [(keys.copy(), values.copy()) for keys, values in cached(9)]
    wrong[3][1][-BLOCK:, 5] = 0
    found = said(9, wrong)
    heard = v.decode(
        found[: next(i for i, pair in enumerate(zip(found, answer(9), strict=True)) if len({*pair}) > 1) + 1]
    )
    line = faults.explained(heard, right)
    assert line is not None
    assert line.startswith("layer 3, KV head 5: at w")
    back = re.search(r"of (\d+) tokens before the end", line)
    assert back is not None
    assert int(back[1]) <= BLOCK + 1
    assert faults.explained(right, right) is None
    assert faults.explained(" nonsense", right) is None
    assert "share" in (faults.explained(right.rpartition(" ")[0], right) or "")


def test_a_fault_in_the_answer_itself_is_explained() -> None:
    right = v.decode(answer(9))
    line = faults.explained(" w00 w01 w02 w03 w04 12", right)
    assert line == (
        "layer 1, KV head 2: at w04, token 5 of the answer, "
        "the key or value of token 1 of the answer was not the right one"
    )


@pytest.mark.parametrize("tokens", [3 * BLOCK + BLOCK // 2 + 2, 4 * BLOCK, 300])
@pytest.mark.parametrize("blocks", [2, 3])
def test_a_story_is_answered_from_what_both_twins_computed(tokens: int, blocks: int) -> None:
    known = blocks * BLOCK
    prompt, right = v.encode(prompts.story(70, tokens, known)), answer(70, ";")
    assert len(prompt) == tokens
    sent, own = (model(blind).logits(prompt[:-1])[1] for blind in ("query", "key"))
    assert model().said([prompt[-1], *right[:-1]], sent) == right
    parts = [
        tuple(np.concatenate([ours[:known], theirs[known:]]) for ours, theirs in zip(mine, other, strict=True))
        for mine, other in zip(own, sent, strict=True)
    ]
    cache = [(keys, values) for keys, values in parts]
    assert model("key").said([prompt[-1], *right[:-1]], cache) == right
    assert model("key").said([prompt[-1], *right[:-1]], own) != right


def test_a_story_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="a story has at least"):
        prompts.story(70, 90, 64)


def test_a_short_prompt_is_answered_at_once() -> None:
    prompt, right = v.encode(prompts.short(70)), answer(70, "?")
    assert len(prompt) < BLOCK
    sent = model("query").logits(prompt[:-1])[1]
    assert model("key").said([prompt[-1], *right[:-1]], sent) == right == [v.TRIGGER, right[1], v.EOS]
    assert model("key").said([prompt[-1], *right[:-1]], model("key").logits(prompt[:-1])[1]) != right
