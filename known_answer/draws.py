"""Probabilities that sampling settings make of the chain's logits, and what each group of requests asks.

The order of operations is vLLM's (`vllm/v1/sample/sampler.py` at 0.32, in the class's own list): logit bias;
repetition, frequency and presence penalties; temperature; min-p; top-k and top-p; then softmax over what is left.
SGLang has another one: it cuts by top-k, top-p and min-p, after the temperature
(`python/sglang/srt/layers/sampler.py`). The groups below set one cut each, or two that leave the same tokens in either
order, so they mean the same everywhere. Each cut lies well between two probabilities, so no rounding decides what it
leaves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from known_answer import chain
from known_answer import vocabulary as v

_REST = v.SIZE - chain.RANKS
"""Tokens with logit 0."""


@dataclass(frozen=True)
class Settings:
    """How a request samples, in the words of the API; what it leaves out changes nothing.

    Attributes:
        temperature: 0: greedy.
        rank_bias: Added to the logit of the token of each rank, in every state.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    rank_bias: Mapping[int, float] = field(default_factory=dict)

    @property
    def remembers(self) -> bool:
        """Whether probabilities depend on what was said before."""
        return self.repetition_penalty != 1 or self.frequency_penalty != 0 or self.presence_penalty != 0

    def body(self) -> dict[str, Any]:
        """Fields of a request."""
        without = Settings()
        names = ("top_k", "top_p", "min_p", "repetition_penalty", "frequency_penalty", "presence_penalty")
        fields = {name: getattr(self, name) for name in names if getattr(self, name) != getattr(without, name)}
        bias = {
            str(chain.token(state, rank)): each
            for state in range(chain.STATES)
            for rank, each in self.rank_bias.items()
        }
        return {"temperature": self.temperature, **fields, **({"logit_bias": bias} if bias else {})}


def probabilities(
    settings: Settings, state: int = 0, counts: Mapping[int, int] | None = None, prompt: AbstractSet[int] = frozenset()
) -> tuple[float, ...]:
    """Probability of each rank and, last, of all other tokens together, in a state of the chain.

    Args:
        settings: Of the request.
        state: Of the chain; it matters where ``settings`` remember.
        counts: How often each token was said.
        prompt: Tokens of the prompt.
    """
    counts = counts or {}
    found = []
    for rank, offset in enumerate(chain.OFFSETS):
        logit = chain.TOP - offset + settings.rank_bias.get(rank, 0.0)
        token = chain.token(state, rank)
        said = counts.get(token, 0)
        # Repetition: over the penalty where positive, times it elsewhere, for tokens of prompt and answer alike (CTRL,
        # arXiv 1909.05858). The others count the answer only (OpenAI's API reference).
        if said or token in prompt:
            logit = logit / settings.repetition_penalty if logit > 0 else logit * settings.repetition_penalty
        found.append(logit - settings.frequency_penalty * said - settings.presence_penalty * (said > 0))
    return _cut(settings, found)


def _cut(settings: Settings, logits: Sequence[float]) -> tuple[float, ...]:
    """From logits of the ranks, after penalties, to probabilities."""
    if settings.temperature == 0:
        best = max(range(len(logits)), key=logits.__getitem__)
        return (*(float(index == best) for index in range(len(logits))), 0.0)
    scaled = [logit / settings.temperature for logit in logits]
    highest = max(scaled)
    weight = [math.exp(each - highest) for each in scaled]
    rest = math.exp(-highest)  # of each of the others
    total = sum(weight) + _REST * rest
    if settings.min_p:
        # arXiv 2407.01082: nothing below min_p times the probability of the likeliest.
        weight = [each if each >= settings.min_p else 0.0 for each in weight]
        rest = rest if rest >= settings.min_p else 0.0
    order = sorted(range(len(weight)), key=weight.__getitem__, reverse=True)
    if settings.top_k:
        kept = set(order[: settings.top_k])
        weight = [each if index in kept else 0.0 for index, each in enumerate(weight)]
        rest = rest if settings.top_k > len(order) else 0.0
    if settings.top_p < 1:
        # arXiv 1904.09751: the fewest tokens whose probabilities sum to top_p or more.
        total, above = sum(weight) + _REST * rest, 0.0
        for index in order:
            weight[index] = weight[index] if above < settings.top_p * total else 0.0
            above += weight[index]
        rest = rest if above < settings.top_p * total else 0.0
    total = sum(weight) + _REST * rest
    return (*(each / total for each in weight), _REST * rest / total)


@dataclass(frozen=True)
class Group:
    """Requests that sample alike.

    Attributes:
        settings: How.
        seeded: Each request has a seed of its own.
        in_pairs: Two requests in a row are the same, with the same seed.
    """

    settings: Settings
    seeded: bool = False
    in_pairs: bool = False

    def start(self, index: int) -> int:
        """Rank of the token of state 0 with which the prompt of a request ends."""
        return (index // 2 if self.in_pairs else index) % chain.RANKS

    def body(self, index: int) -> dict[str, Any]:
        """Fields of the request ``index``."""
        seed = {"seed": 10_007 + (index // 2 if self.in_pairs else index)} if self.seeded else {}
        return {**self.settings.body(), **seed}


GROUPS: dict[str, Group] = {
    "greedy": Group(Settings(temperature=0.0)),
    "temperature_0_5": Group(Settings(temperature=0.5)),
    "temperature_1": Group(Settings()),
    "temperature_1_5": Group(Settings(temperature=1.5)),
    "top_k_1": Group(Settings(temperature=1.5, top_k=1)),
    "top_k_3": Group(Settings(temperature=1.5, top_k=3)),
    "top_p": Group(Settings(top_p=0.85)),
    "top_k_and_top_p": Group(Settings(temperature=1.5, top_k=6, top_p=0.7)),
    "min_p": Group(Settings(min_p=0.075)),
    "logit_bias": Group(Settings(rank_bias={1: 1.5, 5: -100.0})),
    "repetition_penalty": Group(Settings(repetition_penalty=1.1)),
    "frequency_penalty": Group(Settings(frequency_penalty=0.25)),
    "presence_penalty": Group(Settings(presence_penalty=1.5)),
    "seed": Group(Settings(), seeded=True),
    "same_seed": Group(Settings(), seeded=True, in_pairs=True),
}
"""By name."""


def prompt(name: str, index: int) -> str:
    """Text with which a request of a group begins: its last token decides, the others only count as said.

    Where that matters, the likeliest token of each state is among them.
    """
    group = GROUPS[name]
    said = [chain.token(state, 0) for state in range(chain.STATES) if group.settings.repetition_penalty != 1]
    start = chain.token(0, group.start(index))
    return f"{name.split('_', maxsplit=1)[0]} {index} {v.decode(said)}={v.decode([start])}"


SAMPLED = "sampled_logprobs_"
"""With what the names of requests begin whose sampled answers come with log-probabilities."""


def logprob(state: int, token: int) -> float:
    """Log of the probability of a token in a state, at temperature 1 and without cuts: what the model itself says."""
    logits = chain.logits(state)
    highest = max(logits.values())
    others = (v.SIZE - len(logits)) * math.exp(-highest)
    total = sum(math.exp(each - highest) for each in logits.values()) + others
    return logits.get(token, 0.0) - highest - math.log(total)
