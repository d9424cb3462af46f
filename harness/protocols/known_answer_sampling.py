"""``known_answer_sampling``: long walks on a chain whose next-token distribution is known (:mod:`known_answer.chain`).

Every token is a draw. The main run has groups of requests that sample alike (:data:`known_answer.draws.GROUPS`); no
text is known beforehand, but for the greedy ones. Log-probabilities are asked for afterwards, in requests of their own:
they are known to float32's precision, of greedy answers and prompts beforehand, of sampled ones from their text.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from harness.base.domain import Item
from harness.base.exchange import Exchange
from harness.protocols.chain_answers import PROMPT, TOP, with_logprobs
from harness.protocols.protocol import EvaluationBase
from known_answer import chain, draws
from known_answer import vocabulary as v


class KnownAnswerSampling(EvaluationBase):
    """``[evaluation]`` with ``protocol = "known_answer_sampling"``."""

    protocol: Literal["known_answer_sampling"]
    max_tokens: int = Field(ge=64, le=4096, description="Tokens of each answer: draws from a known distribution.")
    groups: dict[str, int] = Field(
        description="How many requests of each group are asked, 0 for none; the sum is `items`. What a group asks for "
        "is in `known_answer/draws.py`."
    )
    logprobs: int = Field(
        0, ge=0, le=100, description="Sampled answers that are asked for with log-probabilities, all at once."
    )

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        unknown = self.groups.keys() - draws.GROUPS.keys()
        if unknown:
            raise ValueError(f"groups: {min(unknown)!r} is none; there are {', '.join(draws.GROUPS)}")
        if min(self.groups.values(), default=0) < 0 or sum(self.groups.values()) != self.items:
            raise ValueError(f"groups: {sum(self.groups.values())} requests, items says {self.items}")
        odd = next((name for name, number in self.groups.items() if draws.GROUPS[name].in_pairs and number % 2), "")
        if odd:
            raise ValueError(f"groups: {odd} asks in pairs; give it an even number")
        return self

    def questions(self, data: Mapping[str, str]) -> list[Item]:  # noqa: ARG002 # asks from no data
        """The requests of all groups, those of one behind the other so that groups share batches."""
        found = [
            (index / number, self._item(name, index)) for name, number in self.groups.items() for index in range(number)
        ]
        return [item for _, item in sorted(found, key=lambda each: each[0])]

    def _item(self, name: str, index: int) -> Item:
        group, prompt = draws.GROUPS[name], draws.prompt(name, index)
        last = v.encode(prompt)[-1]
        certain = max(draws.probabilities(group.settings)) == 1 and not group.settings.remembers
        return Item(
            id=f"{name}.{index:03d}",
            prompt=prompt,
            body={"max_tokens": self.max_tokens, "ignore_eos": True, **group.body(index)},
            expected_text=chain.spelled(chain.greedy(last, self.max_tokens)) if certain else None,
            prompt_tokens=len(v.encode(prompt)),
        )

    def answer(self, text: str) -> str | None:  # noqa: ARG002 # nothing is scored here
        """None."""
        return None

    def counted(self) -> dict[str, tuple[str, int]]:
        """Tokens that are drawn."""
        return {"sampling": ("n", self.items * self.max_tokens)}

    def exchanges(self) -> list[Exchange]:
        """Requests for log-probabilities and for several choices; none without ``logprobs``."""
        if not self.logprobs:
            return []
        sampled = [_sampled(index) for index in range(self.logprobs)]
        return [with_logprobs("greedy_logprobs", {}), with_logprobs("logprobs_with_echo", {"echo": True}), _of_prompt(),
                *sampled, _choices("choices", {}), _choices("choices_with_seed", {"seed": 5})]  # fmt: skip


def _of_prompt() -> Exchange:
    """Log-probabilities of the prompt's tokens: of the first there is none."""
    prompt = v.encode(PROMPT)
    told = [None, *({str(b): {"logprob": draws.logprob(chain.state_of(a), b)}} for a, b in pairwise(prompt))]
    body = {"prompt": PROMPT, "temperature": 0, "max_tokens": 1, "prompt_logprobs": TOP}
    return Exchange("prompt_logprobs", body, {"status": 200, "choices": [{"prompt_logprobs": told}]})


def _sampled(index: int) -> Exchange:
    """A sampled answer with log-probabilities; which they must be, its text says."""
    prompt = f"Sample {index}={v.decode([chain.token(0, index % chain.RANKS)])}"
    body = {"prompt": prompt, "temperature": 1.0, "max_tokens": 100, "ignore_eos": True, "logprobs": TOP}
    return Exchange(f"{draws.SAMPLED}{index:02d}", body)


def _choices(name: str, fields: Mapping[str, Any]) -> Exchange:
    """Three choices of one request: three draws."""
    number, length = 3, 64
    prompt = len(v.encode(PROMPT))
    total = {"prompt_tokens": prompt, "completion_tokens": number * length, "total_tokens": prompt + number * length}
    body = {"prompt": PROMPT, "temperature": 1.0, "max_tokens": length, "ignore_eos": True, "n": number, **fields}
    ends = [{"finish_reason": "length"}] * number
    return Exchange(name, body, {"status": 200, "choices": ends, "usage": total, "texts": number})
