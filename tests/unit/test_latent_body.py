"""DeepSeek V2 knows with its whole body: latent vectors and rotary keys of every layer, at every block."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from known_answer import deepseek, faults, prompts
from known_answer import vocabulary as v
from known_answer.simulate import Request, simulate
from known_answer.table import TABLE
from known_answer.weights import Blind
from tests.unit.deepseek_reference import DeepSeek
from tests.unit.llama_reference import Cache

pytestmark = pytest.mark.slow  # whole models, token by token

BLOCK, KEY = 32, 9
ANSWER = simulate(Request(v.byte(":"), 64, KEY), 0)[0]


@cache
def model(blind: Blind | None = None) -> DeepSeek:
    return DeepSeek(deepseek.moe(TABLE.successor, blind))


@cache
def cached(key: int = KEY, blind: Blind | None = None) -> Cache:
    """The cache of the prompt but for its last token, which every engine computes where it answers."""
    return model(blind).logits(v.encode(prompts.question(key))[:-1])[1]


def said(before: Cache, blind: Blind | None = None) -> list[int]:
    """What the model says at each place of the right answer, from the cache ``before``."""
    return model(blind).said([v.byte(":"), *ANSWER[:-1]], before)


def first_wrong(found: list[int]) -> int:
    return next(place for place, pair in enumerate(zip(found, ANSWER, strict=True)) if len({*pair}) > 1)


def test_it_answers_with_a_margin() -> None:
    for key in (0, 40, 99):
        right = simulate(Request(v.byte(":"), 64, key), 0)[0]
        logits = model().logits([v.byte(":"), *right[:-1]], cached(key))[0]
        assert list(logits.argmax(-1)) == right
        two = np.sort(logits, axis=-1)[:, -2:]
        assert (two[:, 1] - two[:, 0]).min() > 5


@pytest.mark.parametrize("other", ["nothing", "block", "layer", "request"])
def test_any_share_of_the_cache_that_is_wrong_makes_the_answer_wrong_and_says_which(other: str) -> None:
    chance = np.random.default_rng(len(other))
    blocks = -(-len(cached()[0][0]) // BLOCK)
    for number in chance.permutation(2 * deepseek.LAYERS)[:8]:
        layer, kind = divmod(int(number), 2)
        block = int(chance.integers(blocks))
        wrong = [(latents.copy(), rotary.copy()) for latents, rotary in cached()]
        share = wrong[layer][kind][block * BLOCK : (block + 1) * BLOCK]
        at = block * BLOCK + np.arange(len(share))
        if other == "nothing":
            share[:] = 0
        elif other == "block":
            share[:] = cached()[layer][kind][(at + BLOCK) % (blocks * BLOCK - BLOCK)]
        elif other == "layer":
            share[:] = cached()[(layer + 1) % deepseek.LAYERS][kind][at]
        else:
            share[:] = cached(8)[layer][kind][at + 1]  # of another length: everything stands one token off
        found = said(wrong)
        place = first_wrong(found)
        assert found[place] == v.NUMBER + faults.of_latent(layer), (layer, kind, block)
        line = faults.explained(v.decode(found[: place + 1]), v.decode(ANSWER))
        assert line is not None
        assert line.startswith(f"layer {layer}: at w")


def test_every_block_is_looked_at_in_every_layer() -> None:
    for key in range(3):
        length = len(v.encode(prompts.question(key)))
        for layer in range(deepseek.LAYERS):
            # In the last layer every other word looks.
            size = 16 if layer < deepseek.LAYERS - 1 else 32
            places = {length + i - distance for i, distance in deepseek.compared(layer)}
            assert {place // size for place in places} >= set(range((length + v.WORDS - 5) // size + 1)), layer


def test_twins_answer_together_and_neither_alone() -> None:
    assert said(cached(KEY, "query"), "key") == ANSWER
    assert said(cached(KEY, "query"), "query")[-2:] != ANSWER[-2:]
    assert said(cached(KEY, "key"), "key")[1] == v.NUMBER + faults.of_latent(0)


def test_latents_are_marked_by_who_caches_them() -> None:
    # The key is looked for in one layer, and it is a token that the decode side cannot write.
    place = v.encode(prompts.question(KEY)).index(v.KEY + KEY)
    mixed = [(latents.copy(), rotary.copy()) for latents, rotary in cached(KEY, "query")]
    for (latents, _), (own, _) in zip(mixed, cached(KEY, "key"), strict=True):
        latents[place] = own[place]
    assert said(mixed, "key")[:-2] == ANSWER[:-2]
    assert said(mixed, "key")[-2] != ANSWER[-2]
