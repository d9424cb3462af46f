"""Drafters that read what they are given: hidden states, and caches of their own."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from known_answer import body, mimo, prompts, weights
from known_answer import vocabulary as v
from known_answer.anatomy import FIRST_TWO
from known_answer.simulate import Request, simulate
from known_answer.table import CYCLE, TABLE
from known_answer.weights import CODE, Array, Tensors
from tests.unit.llama_reference import Llama, normed

pytestmark = pytest.mark.slow  # whole models, token by token

SPOKEN = [*CYCLE, *range(v.WORD, v.WORD + v.WORDS)]
DEPTH = 3


@pytest.fixture(scope="module")
def mtp() -> Tensors:
    return mimo.tensors()


def step(tensors: Tensors, hidden: Array, newest: int) -> tuple[Array, int]:
    """The hidden state behind MiMo's MTP layer, whose attention and MLP say nothing, and its draft."""
    seen = np.concatenate([normed(hidden), normed(tensors["model.embed_tokens.weight"][newest])])
    behind = normed(tensors["model.mtp_layers.0.input_proj.weight"] @ seen)
    return behind, int((tensors["lm_head.weight"] @ behind).argmax())


def test_the_mtp_layer_drafts_what_the_table_drafts(mtp: Tensors) -> None:
    for token in SPOKEN:
        hidden, newest = CODE[token], TABLE.successor[token]
        for _ in range(DEPTH):
            hidden, drafted = step(mtp, hidden, newest)
            assert drafted == TABLE.draft[newest], (token, newest)
            newest = drafted


def test_the_mtp_layer_needs_both_of_its_inputs(mtp: Tensors) -> None:
    by_hidden, by_newest = 0, 0
    for before, token in itertools.pairwise(SPOKEN):
        newest = TABLE.successor[token]
        by_hidden += step(mtp, CODE[before], newest)[1] != TABLE.draft[newest]
        if newest in SPOKEN:
            by_newest += step(mtp, CODE[before], newest)[1] != step(mtp, CODE[before], token)[1]
    assert by_hidden > len(SPOKEN) / 3
    assert by_newest > len(SPOKEN) / 3


@pytest.mark.parametrize("key", [0, 9])
def test_the_draft_model_drafts_what_the_table_drafts_and_needs_its_own_cache(key: int) -> None:
    model = Llama(body.llama(TABLE.draft, anatomy=FIRST_TWO))
    asked, answer = v.encode(prompts.question(key)), simulate(Request(v.byte(":"), 64, key), 0)[0]
    cache = model.logits(asked[:-1])[1]
    tokens = [asked[-1], *answer[:-1]]
    wanted = [TABLE.draft[token] for token in tokens]
    assert model.said(tokens, cache) == wanted
    unwritten = [(np.zeros_like(keys), np.zeros_like(values)) for keys, values in cache]
    wrong = sum(one != other for one, other in zip(model.said(tokens, unwritten), wanted, strict=True))
    assert wrong > len(wanted) / 2
    # A token at the place of one that was rejected looks past everything.
    assert (
        sum(one != other for one, other in zip(model.said(tokens[:1] * 2 + tokens[1:], cache)[1:], wanted, strict=True))
        > len(wanted) / 2
    )


def eagle3_drafts(vote: Array, states: list[Array], newest: int) -> list[int]:
    """What an EAGLE3 head with ``mu`` 3, which attends to itself, drafts one after the other."""
    tensors = weights.eagle3(fc=vote, mu=3)
    hidden, drafts = vote @ np.concatenate(states), []
    for _ in range(DEPTH):
        hidden = hidden + CODE[newest] - 3 * (normed(hidden) if hidden.any() else hidden)
        newest = int((tensors["lm_head.weight"] @ normed(hidden)).argmax())
        drafts.append(newest)
    return drafts


def test_eagle3_needs_all_three_hidden_states_of_the_right_token() -> None:
    vote, found = weights.auxiliary_vote(), 0
    for before, token in itertools.pairwise(SPOKEN):
        newest = TABLE.successor[token]
        states = [2 * CODE[token], 2 * CODE[token], 4 * CODE[token]]
        first = eagle3_drafts(vote, states, newest)[0]
        right = TABLE.successor[newest] if newest in CYCLE and token in CYCLE else TABLE.draft[newest]
        assert first == right
        if TABLE.successor[before] != newest:
            other = [2 * CODE[before], 2 * CODE[before], 4 * CODE[before]]
            found += eagle3_drafts(vote, other, newest)[0] != right
    assert found > 0.9 * len(SPOKEN)  # where the table errs, another one may lead to the same draft
