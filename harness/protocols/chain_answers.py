"""Greedy answers of the chain, with what is known of them besides their text: exchanges that protocols share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.base.exchange import Exchange
from known_answer import chain, draws
from known_answer import vocabulary as v

PROMPT = "It goes on&"
TOP = 5
"""Of how many of the likeliest tokens log-probabilities are asked for."""
_LENGTH = 24
_REMEMBERED = 48


def with_logprobs(name: str, fields: Mapping[str, Any]) -> Exchange:
    """A greedy answer with log-probabilities of its tokens and of the likeliest ones, and of the prompt's if echoed."""
    prompt = v.encode(PROMPT)
    tokens = chain.greedy(prompt[-1], _LENGTH)
    echoed = "echo" in fields
    told = [*prompt, *tokens] if echoed else tokens
    before = [None if echoed else prompt[-1], *told[:-1]]
    values = [
        None if one is None else draws.logprob(chain.state_of(one), token)
        for one, token in zip(before, told, strict=True)
    ]
    logprobs: dict[str, Any] = {"tokens": [chain.spelled([each]) for each in told], "token_logprobs": values}
    if not echoed:
        logprobs["top_logprobs"] = [_likeliest(chain.state_of(each)) for each in [prompt[-1], *tokens[:-1]]]
    choice = {"text": chain.spelled(told), "finish_reason": "length", "logprobs": logprobs}
    body = {"prompt": PROMPT, "temperature": 0, "max_tokens": _LENGTH, "logprobs": TOP, **fields}
    return Exchange(name, body, {"status": 200, "choices": [choice]})


def _likeliest(state: int) -> dict[str, float]:
    """Log-probabilities of the tokens with the highest ones, by text."""
    tokens = [chain.token(state, rank) for rank in range(TOP)]
    return {chain.spelled([token]): draws.logprob(state, token) for token in tokens}


def penalized(name: str, settings: draws.Settings) -> Exchange:
    """A greedy answer in which penalties decide: it goes round all states, and each time something else is likeliest.

    The likeliest token of each state stands in the prompt, where a repetition penalty finds it. No chance is in it, so
    it is known too of an engine that verifies drafts.
    """
    prompt = v.encode(f"{v.decode([chain.token(state, 0) for state in range(chain.STATES)])}&")
    said: list[int] = []
    counts: dict[int, int] = {}
    state = chain.state_of(prompt[-1])
    while len(said) < _REMEMBERED:
        shares = draws.probabilities(settings, state, counts, frozenset(prompt))
        token = chain.token(state, max(range(chain.RANKS), key=shares.__getitem__))
        said.append(token)
        counts[token] = counts.get(token, 0) + 1
        state = chain.state_of(token)
    return _certain(name, prompt, said, settings.body())


def forbidden(name: str, fields: Mapping[str, Any], tokens: frozenset[int]) -> Exchange:
    """A greedy answer without some of the tokens that are likeliest.

    Args:
        name: Of the exchange.
        fields: Of the request, that forbid them.
        tokens: Ids of those that must not come.
    """
    prompt = v.encode(PROMPT)
    return _certain(name, prompt, chain.greedy(prompt[-1], _LENGTH, dict.fromkeys(tokens, _LENGTH)), fields)


def _certain(name: str, prompt: list[int], said: list[int], fields: Mapping[str, Any]) -> Exchange:
    usage = {"prompt_tokens": len(prompt), "completion_tokens": len(said), "total_tokens": len(prompt) + len(said)}
    choice = {"text": chain.spelled(said), "finish_reason": "length"}
    body = {"prompt": v.decode(prompt), **fields, "temperature": 0, "max_tokens": len(said), "ignore_eos": True}
    return Exchange(name, body, {"status": 200, "choices": [choice], "usage": usage})
