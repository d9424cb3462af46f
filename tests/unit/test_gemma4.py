"""The known-answer Gemma 4 family: its files, run by a second implementation of the architecture."""

from __future__ import annotations

import math
import random
from functools import cache

import numpy as np
import pytest

from known_answer import gemma4_assistant, gemma4_models, tree
from known_answer import vocabulary as v
from known_answer.checkpoints import CHECKPOINTS
from known_answer.gemma_shape import SLIDING
from known_answer.prompts import question
from known_answer.simulate import Counts, Request, simulate, total
from known_answer.table import TABLE
from tests.unit.gemma4_reference import Assistant, Cache, Target

pytestmark = pytest.mark.slow  # whole models, token by token

KEY = 85
REQUESTS = [Request(v.byte(":"), 128, key) for key in range(100)]
ANSWER = simulate(REQUESTS[KEY], 0)[0]
PROMPT = v.encode(question(KEY))
AT_TRIGGER = -2  # the answer ends in the trigger, the number and the end


@cache
def target(name: str) -> Target:
    return Target(CHECKPOINTS[name].files())


@cache
def assistant(name: str) -> Assistant:
    return Assistant(CHECKPOINTS[f"{name}_assistant"].files())


def said(name: str, *, windowed: bool = True) -> list[int]:
    logits = target(name).forward(PROMPT + ANSWER[:-1], windowed=windowed)[0]
    return [int(token) for token in logits[len(PROMPT) - 1 :].argmax(axis=-1)]


@pytest.mark.parametrize("name", gemma4_models.SHAPES)
def test_it_says_what_the_table_says(name: str) -> None:
    assert said(name) == ANSWER
    logits = np.sort(target(name).forward(PROMPT + ANSWER[:-1])[0][len(PROMPT) - 1 :], axis=-1)
    assert (logits[:, -1] - logits[:, -2]).min() > 20


@pytest.mark.parametrize("name", ["gemma4_e4b", "gemma4_31b"])
def test_it_knows_nothing_where_the_window_is_ignored(name: str) -> None:
    found = said(name, windowed=False)
    assert found[AT_TRIGGER] != ANSWER[AT_TRIGGER]
    assert found[:AT_TRIGGER] == ANSWER[:AT_TRIGGER]


@pytest.mark.parametrize("name", gemma4_models.SHAPES)
def test_every_layer_with_a_cache_is_needed(name: str) -> None:
    model, shape = target(name), gemma4_models.SHAPES[name]
    try:
        for layer in range(len(shape.kinds) - shape.shared):
            looked_at = v.byte("\n") if shape.kinds[layer] == SLIDING else v.KEY + KEY
            block = PROMPT.index(looked_at) // 32 * 32
            model.text.lost = {layer: (slice(block, min(block + 32, len(PROMPT))), layer % 2)}
            found = said(name)
            assert found[:AT_TRIGGER] == ANSWER[:AT_TRIGGER]
            assert found[AT_TRIGGER] != ANSWER[AT_TRIGGER], layer
    finally:
        model.text.lost = {}


@pytest.mark.parametrize("side", ["prefill", "decode"])
def test_a_twin_alone_knows_no_number(side: str) -> None:
    found = said(f"gemma4_e2b_twin_{side}")
    assert found[:AT_TRIGGER] == ANSWER[:AT_TRIGGER]
    assert found[AT_TRIGGER] not in range(v.NUMBER, v.NUMBER + v.NUMBERS)


def drafted(name: str, seen: int, steps: int, *, without: str = "") -> list[int]:
    """The chain that is drafted when ``seen`` tokens of the answer are there; the newest one has no KV cache yet.

    Args:
        name: Of the target.
        seen: Tokens of the answer.
        steps: Of the chain.
        without: What the assistant does not get: a kind of layer's cache, or ``"state"``.
    """
    text = PROMPT + ANSWER[:seen]
    _, hidden, caches = target(name).forward(text[:-1])
    frozen = {kind: Cache(found.keys, found.values) for kind, found in caches.items()}
    if without in frozen:
        frozen[without] = Cache(np.zeros_like(frozen[without].keys), np.zeros_like(frozen[without].values))
    state, chain = hidden[-1] * (without != "state"), [text[-1]]
    for _ in range(steps):
        embedded = target(name).embedded(chain[-1:])[0]
        logits, state = assistant(name).step(embedded, state * (without != "state"), len(text) - 2, frozen)
        chain.append(int(logits.argmax()))
    return chain[1:]


@pytest.mark.parametrize("name", gemma4_models.ASSISTED)
@pytest.mark.parametrize("seen", [1, 4, 12, 36, 39, 41])
def test_a_chain_is_what_the_simulator_follows(name: str, seen: int) -> None:
    expected, token = [], ANSWER[seen - 1]
    for _ in range(5):
        token = gemma4_assistant.DRAFTS.drafted(token, KEY)
        expected.append(token)
    assert drafted(name, seen, 5) == expected


@pytest.mark.parametrize("name", gemma4_models.ASSISTED)
def test_candidates_are_as_likely_as_the_simulator_has_them(name: str) -> None:
    text = PROMPT + ANSWER
    _, hidden, caches = target(name).forward(text)
    for place in range(len(PROMPT) - 1, len(text) - 2):
        frozen = {kind: Cache(each.keys[: place + 1], each.values[: place + 1]) for kind, each in caches.items()}
        newest = target(name).embedded([text[place + 1]])[0]
        logits, _ = assistant(name).step(newest, hidden[place], place, frozen)
        (first, share), (second, rest) = gemma4_assistant.candidates(text[place + 1], KEY)
        order = np.argsort(-logits, kind="stable")
        assert [first, second] == [int(token) for token in order[:2]]
        assert logits[first] - logits[second] == pytest.approx(math.log(share / rest), abs=0.2)
        assert logits[second] - logits[order[2]] > 10


@pytest.mark.parametrize("name", gemma4_models.ASSISTED)
@pytest.mark.parametrize("without", ["sliding_attention", "full_attention"])
def test_the_number_needs_both_caches(name: str, without: str) -> None:
    assert drafted(name, len(ANSWER) - 2, 1) == [ANSWER[AT_TRIGGER]]
    assert drafted(name, len(ANSWER) - 2, 1, without=without) != [ANSWER[AT_TRIGGER]]


@pytest.mark.parametrize("name", gemma4_models.ASSISTED)
def test_no_draft_is_right_without_a_recurrent_state(name: str) -> None:
    for seen in (1, 12, 41):
        assert drafted(name, seen, 1, without="state") == [v.BOS]


@pytest.mark.parametrize("name", gemma4_models.SHAPES)
def test_a_token_sees_itself_and_no_key(name: str) -> None:
    shape = gemma4_models.SHAPES[name]
    for heads in (shape.sliding, shape.full):
        assert heads.lead() > 25


# 4.2 and 5.25 tokens a verification; another drafter, which errs at the number too, has 3.82.
def test_trees_accept_more_than_chains() -> None:
    chain = total(REQUESTS, 5, table=gemma4_assistant.DRAFTS)
    assert chain == tree.total(REQUESTS, tree.Tree(5, 1, 5), TABLE, gemma4_assistant.candidates)
    assert chain == Counts(1000, (800, 700, 700, 600, 500))
    branches = tree.total(REQUESTS, tree.Tree(5, 3, 11), TABLE, gemma4_assistant.candidates)
    assert branches == Counts(800, (800, 700, 700, 600, 600))
    assert total(REQUESTS, 5).drafts > chain.drafts > 800


@pytest.mark.parametrize("seed", range(20))
def test_rounding_changes_no_tree(seed: int) -> None:
    luck = random.Random(seed)  # not for secrets

    def near(token: int, key: int | None) -> list[tuple[int, float]]:
        (first, share), (second, rest) = gemma4_assistant.candidates(token, key)
        share = 1 / (1 + rest / share * math.exp(luck.uniform(-0.25, 0.25)))
        return [(first, share), (second, 1 - share)]

    found = tree.total(REQUESTS[:10], tree.Tree(5, 3, 11), TABLE, near)
    assert found is not None
    assert found.drafts == 80
