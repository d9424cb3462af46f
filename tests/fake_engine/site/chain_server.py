"""A sound server of the chain, in memory: what a request must be answered. It breaks where it is told to.

It draws token by token from logits over the whole vocabulary, in float64, in the order of vLLM's sampler, and shares no
arithmetic with ``known_answer.draws``. With a drafter it verifies drafts by rejection sampling.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from known_answer import chain
from known_answer import vocabulary as v

CONTEXT = 1024
_MASKED = -1e30


class Refused(Exception):
    """The request is wrong; the status."""


@cache
def _raw(state: int) -> Any:
    found = np.zeros(v.SIZE)
    for token, logit in chain.logits(state).items():
        found[token] = logit
    return found


@dataclass
class Said:
    """One choice."""

    tokens: list[int]
    text: str
    reason: str
    stop: Any = None
    states: list[int] = field(default_factory=list)


@dataclass
class ChainServer:
    """The server.

    Attributes:
        faults: What it does wrong, by name.
        rank: What its drafter proposes; None without one.
        drafted: Tokens of a draft.
        chance: Its random numbers, for requests without a seed.
        drafts, accepted: What it counted.
        running: Requests that were left and go on.
        turn: With what its chat template begins the model's turn.
    """

    faults: frozenset[str] = frozenset()
    rank: int | None = None
    drafted: int = 3
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    drafts: int = 0
    accepted: int = 0
    running: int = 0
    turn: str = ""
    _cached: dict[Any, Any] = field(default_factory=dict)

    def probabilities(self, body: dict[str, Any], state: int, prompt: list[int], said: list[int]) -> Any:
        """Of every token of the vocabulary, (512,)."""
        key = (state, *(str(body.get(name)) for name in (
            "temperature", "top_k", "top_p", "min_p", "logit_bias", "min_tokens", "stop_token_ids", "bad_words",
            "allowed_token_ids")))  # fmt: skip
        barred = len(said) < body.get("min_tokens", 0) and "min_tokens_ignored" not in self.faults
        remembers = any(body.get(f"{name}_penalty") for name in ("repetition", "frequency", "presence"))
        if not remembers and not barred and key in self._cached:
            return self._cached[key]
        logits = _raw(state).copy()
        if barred:
            logits[[v.EOS, *body.get("stop_token_ids", [])]] = _MASKED
        if "bad_words_ignored" not in self.faults:
            logits[[v.encode(word)[0] for word in body.get("bad_words", [])]] = _MASKED
        if (allowed := body.get("allowed_token_ids")) and "allowed_ignored" not in self.faults:
            logits[np.setdiff1d(np.arange(v.SIZE), allowed)] = _MASKED
        if "bias_ignored" not in self.faults:
            for token, bias in (body.get("logit_bias") or {}).items():
                logits[int(token)] += bias
        if remembers and "penalties_ignored" not in self.faults:
            counts = np.bincount(said, minlength=v.SIZE) if said else np.zeros(v.SIZE)
            seen = (counts > 0) | (np.bincount(prompt, minlength=v.SIZE) > 0)
            if "prompt_not_penalized" in self.faults:
                seen = counts > 0
            rate = body.get("repetition_penalty", 1.0)
            logits = np.where(seen, np.where(logits > 0, logits / rate, logits * rate), logits)
            logits = logits - body.get("frequency_penalty", 0.0) * counts
            logits = logits - body.get("presence_penalty", 0.0) * (counts > 0)
        found = self._drawn_from(body, logits)
        if not remembers and not barred:
            self._cached[key] = found
        return found

    def _drawn_from(self, body: dict[str, Any], logits: Any) -> Any:
        temperature = body.get("temperature", 1.0)
        if "temperature_ignored" in self.faults and temperature:
            temperature = 1.0
        if temperature == 0 or "always_greedy" in self.faults:
            return np.eye(v.SIZE)[int(logits.argmax())]
        logits = logits / temperature
        probabilities = np.exp(logits - logits.max())
        if (least := body.get("min_p")) and "min_p_ignored" not in self.faults:
            logits = np.where(probabilities < least * probabilities.max(), _MASKED, logits)
        if k := body.get("top_k"):
            k += "top_k_off_by_one" in self.faults
            logits = np.where(logits < np.sort(logits)[-k], _MASKED, logits)
        if (p := body.get("top_p")) and "top_p_ignored" not in self.faults:
            order = np.argsort(logits)
            share = np.exp(logits[order] - logits.max())
            share = share / share.sum()
            gone = np.cumsum(share) <= 1 - p
            gone[-1] = False
            logits[order[gone]] = _MASKED
        probabilities = np.exp(logits - logits.max())
        return probabilities / probabilities.sum()

    def _draw(self, probabilities: Any, chance: random.Random) -> int:
        return int(min(np.searchsorted(np.cumsum(probabilities), chance.random()), v.SIZE - 1))

    def walk(self, body: dict[str, Any], prompt: list[int], chance: random.Random) -> Said:
        """One choice, token by token."""
        said: list[int] = []
        states: list[int] = []
        limit = body.get("max_tokens", 16) + ("one_token_too_many" in self.faults and self.rank is not None)
        state = chain.state_of(prompt[-1])
        first = True
        while True:
            for token in (
                [self._draw(self.probabilities(body, state, prompt, said), chance)]
                if (first or self.rank is None)
                else self._verified(body, state, prompt, said, chance)
            ):
                states.append(state)
                said.append(token)
                state = chain.state_of(token)
                if (end := self._end(body, said, limit)) is not None:
                    end.states = states
                    return end
            first = False

    def _verified(self, body: dict[str, Any], state: int, prompt: list[int], said: list[int], chance: Any) -> list[int]:
        """Tokens of one verification."""
        self.drafts += 1
        found: list[int] = []
        for _ in range(self.drafted):
            probabilities = self.probabilities(body, state, prompt, [*said, *found])
            proposed = chain.draft(state, self.rank or 0)
            accept = probabilities[proposed] * (1.02 if "accepts_too_much" in self.faults else 1.0)
            if chance.random() < accept:
                self.accepted += 1
                found.append(proposed)
                state = chain.state_of(proposed)
                continue
            rest = probabilities.copy()
            rest[proposed] = 0.0
            if rest.sum() == 0:
                rest = probabilities
            return [*found, self._draw(rest / rest.sum(), chance)]
        return [*found, self._draw(self.probabilities(body, state, prompt, [*said, *found]), chance)]

    def _end(self, body: dict[str, Any], said: list[int], limit: int) -> Said | None:
        included, stops = body.get("include_stop_str_in_output", False), body.get("stop") or []
        if said[-1] == v.EOS and not body.get("ignore_eos"):
            return Said(list(said), chain.spelled(said), "stop")
        if said[-1] in body.get("stop_token_ids", []) and "stop_tokens_ignored" not in self.faults:
            return Said(list(said), chain.spelled(said if included else said[:-1]), "stop", said[-1])
        text = chain.spelled(said) if stops or len(said) >= limit else ""
        for stop in stops if "stop_strings_ignored" not in self.faults else []:
            before = len(chain.spelled(said[: body.get("min_tokens", 0)]))
            at = text.find(stop, max(before - len(stop) + 1, 0) if before else 0)
            if at >= 0:
                reason = "length" if "finish_reason_wrong" in self.faults else "stop"
                return Said(list(said), text[: at + len(stop)] if included else text[:at], reason, stop)
        return Said(list(said), text, "length") if len(said) >= limit else None

    def respond(self, path: str, body: Any) -> tuple[int, Any, list[Any]]:
        """Status, document, and pieces of a stream."""
        try:
            return self._answer(path, body)
        except Refused as refused:
            status = int(str(refused))
            if "refuses_with_500" in self.faults:
                status = 500
            return status, {"error": {"message": "no", "code": status}}, []

    def _answer(self, path: str, body: Any) -> tuple[int, Any, list[Any]]:
        chat = path.endswith("/chat/completions")
        _check(body, self.faults)
        turn = "" if "turn_not_begun" in self.faults else self.turn
        asked = body["messages"][0]["content"] + turn if chat else body["prompt"]
        one = isinstance(asked, str) or isinstance(asked[0], int)
        prompts = [v.encode(each) if isinstance(each, str) else each for each in ([asked] if one else asked)]
        if any(len(prompt) >= CONTEXT or len(prompt) + body.get("max_tokens", 1) > CONTEXT for prompt in prompts):
            raise Refused("400")
        choices, generated = [], 0
        for prompt in prompts:
            for index in range(body.get("n", 1)):
                chance = self.chance
                if "seed" in body and "seed_ignored" not in self.faults:
                    chance = random.Random(body["seed"] + index)
                if "one_seed_for_all" in self.faults:
                    chance = random.Random(1)
                said = self.walk(body, prompt, chance)
                generated += len(said.tokens)
                choices.append(self._choice(body, len(choices), prompt, said, chat=chat))
        if "choices_reversed" in self.faults:
            for each, index in zip(choices, reversed(range(len(choices))), strict=True):
                each["index"] = index
        number = sum(map(len, prompts))
        generated += "usage_off_by_one" in self.faults
        usage = {"prompt_tokens": number, "completion_tokens": generated, "total_tokens": number + generated}
        if not body.get("stream"):
            return 200, {"choices": choices, "usage": usage}, []
        return 200, None, [*(piece for each in choices for piece in self._pieces(each, chat=chat)),
                           {"choices": [], "usage": usage}]  # fmt: skip

    def _pieces(self, choice: dict[str, Any], *, chat: bool) -> list[Any]:
        text = choice["message"]["content"] if chat else choice["text"]
        halves = [text[: len(text) // 2], text[len(text) // 2 :]]
        if "stream_drops_a_piece" in self.faults:
            halves = halves[:1]
        found = []
        for at, half in enumerate(halves):
            last = at == len(halves) - 1
            ends = last or "finish_reason_twice" in self.faults
            end = {
                "finish_reason": choice["finish_reason"] if ends else None,
                "stop_reason": choice["stop_reason"] if ends else None,
            }
            said = {"delta": {"role": "assistant", "content": half}} if chat else {"text": half}
            if "logprobs" in choice:
                cut = len(choice["logprobs"]["tokens"]) // 2
                part = slice(cut) if at == 0 else slice(cut, None)
                said["logprobs"] = {name: values[part] for name, values in choice["logprobs"].items()}
            found.append({"choices": [{"index": choice["index"], **said, **end}]})
        return found

    def _choice(self, body: dict[str, Any], index: int, prompt: list[int], said: Said, *, chat: bool) -> dict[str, Any]:
        end = {"index": index, "finish_reason": said.reason, "stop_reason": said.stop}
        if chat:
            return {**end, "message": {"role": "assistant", "content": said.text}}
        echoed = bool(body.get("echo")) and "echo_ignored" not in self.faults
        found = {**end, "text": (v.decode(prompt) if echoed else "") + said.text}
        if body.get("logprobs"):
            found["logprobs"] = self._logprobs(body, prompt if echoed else [], prompt[-1], said)
        if body.get("prompt_logprobs"):
            pairs = pairwise(prompt)
            found["prompt_logprobs"] = [
                None, *({str(b): {"logprob": float(self._logs(chain.state_of(a))[b])}} for a, b in pairs)
            ]  # fmt: skip
        return found

    def _logs(self, state: int) -> Any:
        if "logprobs_of_another_row" in self.faults:
            state = (state + 1) % chain.STATES
        if "logprobs_of_nothing" in self.faults:
            return np.full(v.SIZE, -np.log(v.SIZE))
        raw = _raw(state)
        return raw - raw.max() - np.log(np.exp(raw - raw.max()).sum())

    def _logprobs(self, body: dict[str, Any], echoed: list[int], last: int, said: Said) -> dict[str, Any]:
        tokens = [*echoed, *said.tokens]
        before = [None, *tokens[:-1]] if echoed else [last, *tokens[:-1]]
        values, tops = [], []
        for previous, token in zip(before, tokens, strict=True):
            logs = None if previous is None else self._logs(chain.state_of(previous))
            values.append(None if logs is None else float(logs[token]))
            best = [] if logs is None else [int(each) for each in np.argsort(logs)[::-1][: body["logprobs"]]]
            tops.append(
                {chain.spelled([each]): float(logs[each]) for each in {*best, token}} if logs is not None else None
            )
        return {"tokens": [chain.spelled([each]) for each in tokens], "token_logprobs": values, "top_logprobs": tops}


def _check(body: Any, faults: frozenset[str]) -> None:
    asked = body.get("prompt", body.get("messages")) if isinstance(body, dict) else None
    if not isinstance(asked, str | list):
        raise Refused("400")
    if body.get("model", "model") != "model":
        raise Refused("404")
    wrong = [
        body.get("temperature", 1) < 0, not 0 < body.get("top_p", 1) <= 1, body.get("top_k", 0) < -1,
        body.get("max_tokens", 1) < 0, body.get("min_tokens", 0) > body.get("max_tokens", 16), body.get("n", 1) < 1,
(body.get("logprobs") or 0) > 20,
    ]  # fmt: skip
    if any(wrong) and "takes_anything" not in faults:
        raise Refused("400")
