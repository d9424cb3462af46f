"""``known_answer_contract``: the API's contract, entry by entry, with answers that are known to the character.

The model walks a chain or a line of words (:mod:`known_answer.chain`), greedily. The line has an end of the sequence,
and words of several characters, so stop strings can begin in one token and end in the next. A drafter knows the line:
what stops an answer stands in the middle of a draft. Entries with a stream, and what else is sent in two ways, have the
same expected answer. The main run asks plain items, so that counters are read as everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from harness.base.domain import Item
from harness.base.exchange import CHAT, Exchange
from harness.protocols.chain_answers import forbidden, penalized, with_logprobs
from harness.protocols.protocol import EvaluationBase
from known_answer import chain, draws
from known_answer import vocabulary as v

_PROMPT = "Say the words:"
_LINE = chain.greedy(v.encode(_PROMPT)[-1], chain.WORDS + 1)
"""The words and the end of the sequence."""
_NO_END = {"ignore_eos": True}


class KnownAnswerContract(EvaluationBase):
    """``[evaluation]`` with ``protocol = "known_answer_contract"``."""

    protocol: Literal["known_answer_contract"]
    max_tokens: int = Field(ge=1, le=4096, description="Tokens of one answer of the main run.")
    context: int = Field(ge=512, le=1 << 20, description="Most tokens of a request that the engine takes.")
    turn: str = Field(
        "",
        max_length=1,
        description="With what the chat template of the case begins the model's turn, if with anything.",
    )
    leave_out: dict[str, str] = Field(
        {}, description="Entries of the ledger that this engine does not have, each with the reason."
    )

    @model_validator(mode="after")
    def _leaves_out_what_there_is(self) -> Self:
        if not _PROMPT.endswith(self.turn):
            raise ValueError(f"turn: must be {_PROMPT[-1]!r}, behind which an answer is known, or empty")
        unknown = self.leave_out.keys() - {each.name for each in _ledger(self.context)}
        if unknown:
            raise ValueError(f"leave_out: {min(unknown)!r} is no entry of the ledger")
        return self

    def questions(self, data: Mapping[str, str]) -> list[Item]:  # noqa: ARG002 # asks from no data
        """Walks on the chain, from every state in turn."""
        prompts = [f"Walk {index}={v.decode([chain.token(0, index % chain.RANKS)])}" for index in range(self.items)]
        return [
            Item(
                id=f"W{index:03d}",
                prompt=prompt,
                body={"max_tokens": self.max_tokens, **_NO_END},
                expected_text=chain.spelled(chain.greedy(v.encode(prompt)[-1], self.max_tokens)),
                prompt_tokens=len(v.encode(prompt)),
            )
            for index, prompt in enumerate(prompts)
        ]

    def answer(self, text: str) -> str | None:  # noqa: ARG002 # nothing is scored here
        """None."""
        return None

    def exchanges(self) -> list[Exchange]:
        """The ledger, but for what is left out."""
        return [each for each in _ledger(self.context, self.turn) if each.name not in self.leave_out]

    def counted(self) -> dict[str, tuple[str, int]]:
        """Entries of the ledger."""
        return {"contract": ("entries", len(self.exchanges()))}


def _ledger(context: int, turn: str = "") -> Iterator[Exchange]:
    ends = [*_ends(), *_limits()]
    yield from ends
    yield from (_streamed(each) for each in ends)
    yield from _prompts_and_choices(turn)
    yield from _by_parameters()
    yield _fills(context)
    yield from _refusals(context)
    yield from _left_half_way(context)
    yield replace(_asked("serves_afterwards", _LINE, "stop", {"max_tokens": 64}), alone=True)


def _asked(
    name: str, tokens: list[int], reason: str, body: Mapping[str, Any], *, text: str | None = None, by: object = None
) -> Exchange:
    """A greedy completion after the usual prompt.

    Args:
        name: Of the entry.
        tokens: What the engine generates, with what ends it.
        reason: Finish reason.
        body: Further fields.
        text: That comes back; that of the tokens unless said.
        by: Stop reason, where something of the request's own ended it.
    """
    said = chain.spelled(tokens) if text is None else text
    choice = {"text": said, "finish_reason": reason, "stop_reason": by}
    expected = {"status": 200, "choices": [choice], "usage": _usage(len(v.encode(_PROMPT)), len(tokens))}
    return Exchange(name, {"prompt": _PROMPT, "temperature": 0, **body}, expected)


def _usage(prompt: int, answer: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}


def _streamed(exchange: Exchange) -> Exchange:
    """The same, as a stream: put together it says the same, and says once why it ended."""
    ends = len(exchange.expected["choices"])
    return replace(
        exchange,
        name=f"{exchange.name}_streamed",
        body={**exchange.body, "stream": True, "stream_options": {"include_usage": True}},
        expected={**exchange.expected, "done": True, "ends": ends},
    )


def _walk(length: int, forbidden: Mapping[int, int] | None = None) -> list[int]:
    """Tokens of an answer that does not stop at the end of the sequence."""
    return chain.greedy(v.encode(_PROMPT)[-1], length, forbidden)


def _ends() -> Iterator[Exchange]:
    """What the model or the request ends."""
    long = {"max_tokens": 64}
    included = {"include_stop_str_in_output": True}
    by_token = {**long, "stop_token_ids": [_LINE[4]]}
    yield _asked("end_of_sequence", _LINE, "stop", long)
    yield _asked("ignore_eos", _walk(20), "length", {"max_tokens": 20, **_NO_END})
    yield _asked("min_tokens", _walk(18, {v.EOS: 16}), "length", {"max_tokens": 18, "min_tokens": 16})
    yield _asked("stop_token", _LINE[:5], "stop", by_token, text=chain.spelled(_LINE[:4]), by=_LINE[4])
    yield _asked("stop_token_included", _LINE[:5], "stop", by_token | included, by=_LINE[4])
    for name, tokens, text, stop in (
        ("stop_string", 6, " w00 w01 w02 w03 w04 w", "05"),
        ("stop_string_over_a_border", 4, " w00 w01 w0", "2 w0"),
        ("stop_string_in_the_first_token", 1, " ", "w00"),
        ("stop_string_of_several_tokens", 8, " w00 w01 w02 w03 w04", " w05 w06 w07"),
    ):
        given = {**long, "stop": [stop]}
        yield _asked(name, _LINE[:tokens], "stop", given, text=text, by=stop)
        yield _asked(f"{name}_included", _LINE[:tokens], "stop", given | included, text=text + stop, by=stop)
    yield _asked("first_of_two_stop_strings", _LINE[:4], "stop", {**long, "stop": ["w07", "w03"]},
                 text=" w00 w01 w02 ", by="w03")  # fmt: skip
    yield _asked("stop_string_that_never_comes", _LINE, "stop", {**long, "stop": ["w0 w1"]})
    yield _asked("stop_string_after_min_tokens", _LINE[:6], "stop", {**long, "stop": ["w0"], "min_tokens": 5},
                 text=" w00 w01 w02 w03 w04 ", by="w0")  # fmt: skip


def _limits() -> Iterator[Exchange]:
    """Limits on both sides of every draft's length, in the words that a drafter knows and behind them."""
    for limit in (*range(1, 9), chain.WORDS, chain.WORDS + 1):
        reason = "stop" if limit > chain.WORDS else "length"
        yield _asked(f"max_tokens_{limit}", _LINE[:limit], reason, {"max_tokens": limit})
    for least in (chain.WORDS, chain.WORDS + 1, chain.WORDS + 2):
        # The end itself is a token: where as many as come before it are asked for, it may come.
        tokens = _LINE if least <= chain.WORDS else _walk(24, {v.EOS: least})
        reason = "stop" if least <= chain.WORDS else "length"
        yield _asked(f"min_tokens_{least}", tokens, reason, {"max_tokens": 24, "min_tokens": least})


def _fills(context: int) -> Exchange:
    """An answer that ends at the last token of the context. Whether more may be asked for, engines disagree."""
    answer = 40
    prompt = [*[chain.token(0, 0)] * (context - answer - 1), v.byte(":")]
    choice = {"text": chain.spelled(_walk(answer)), "finish_reason": "length"}
    body = {"prompt": prompt, "temperature": 0, "max_tokens": answer, **_NO_END}
    expected = {"status": 200, "choices": [choice], "usage": _usage(len(prompt), answer)}
    return Exchange("fills_the_context", body, expected)


def _prompts_and_choices(turn: str) -> Iterator[Exchange]:
    """Prompts of every kind, several choices, an echo, and the same as a chat."""
    ids, number = v.encode(_PROMPT), len(v.encode(_PROMPT))
    six = {"max_tokens": 6}
    yield _asked("prompt_of_tokens", _LINE[:6], "length", {**six, "prompt": ids})
    yield _asked("echo", _LINE[:6], "length", {**six, "echo": True}, text=_PROMPT + chain.spelled(_LINE[:6]))
    one = {"text": chain.spelled(_LINE[:6]), "finish_reason": "length"}
    words, usage = _LINE[:6], _usage(2 * number, 12)
    both = {"status": 200, "choices": [one, one], "usage": usage}
    body = {"temperature": 0, **six}
    yield (texts := Exchange("prompts_of_texts", {"prompt": [_PROMPT, _PROMPT], **body}, both))
    yield _streamed(texts)
    yield Exchange("prompts_of_tokens", {"prompt": [ids, ids], **body}, both)
    other = chain.token(0, 2)
    walked = {"text": chain.spelled(chain.greedy(other, 6)), "finish_reason": "length"}
    different = {"status": 200, "choices": [one, walked], "usage": _usage(number + 1, 12)}
    yield Exchange("prompts_in_order", {"prompt": [_PROMPT, v.decode([other])], **body}, different)
    # Greedy, choices would have to be alike, so engines refuse: a little warmth, and one token far ahead of all others.
    twice = {"status": 200, "choices": [one, one], "usage": _usage(number, 2 * len(words))}
    yield (choices := Exchange("two_choices", {"prompt": _PROMPT, "temperature": 0.5, "n": 2, **six}, twice))
    yield _streamed(choices)
    said = {"text": chain.spelled(_LINE), "role": "assistant", "finish_reason": "stop"}
    content = _PROMPT.removesuffix(turn)
    spoken = {"messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": 64}
    answered = {"status": 200, "choices": [said], "usage": _usage(number, len(_LINE))}
    yield (chat := Exchange("chat", spoken, answered, path=CHAT))
    yield _streamed(chat)


def _by_parameters() -> Iterator[Exchange]:
    """Greedy answers in which parameters of the request decide what is likeliest, and what is said about one."""
    yield penalized("frequency_penalty", draws.Settings(temperature=0, frequency_penalty=1.9))
    yield penalized("presence_penalty", draws.Settings(temperature=0, frequency_penalty=1.05, presence_penalty=1.7))
    yield penalized("repetition_penalty", draws.Settings(temperature=0, repetition_penalty=1.2))
    likeliest = frozenset(chain.token(state, 0) for state in range(0, chain.STATES, 2))
    yield forbidden("bad_words", {"bad_words": [chain.spelled([each]) for each in sorted(likeliest)]}, likeliest)
    allowed = [each for each in range(v.SIZE) if each not in likeliest]
    yield forbidden("allowed_token_ids", {"allowed_token_ids": allowed}, likeliest)
    yield (logprobs := with_logprobs("logprobs", {"ignore_eos": True}))
    yield _streamed(logprobs)


def _refusals(context: int) -> Iterator[Exchange]:
    """Requests that no server may answer, and must survive."""
    body = {"prompt": _PROMPT, "temperature": 0, "max_tokens": 4}
    wrong: dict[str, dict[str, Any]] = {
        "temperature_below_zero": {"temperature": -1},
        "top_p_above_one": {"temperature": 1, "top_p": 1.5},
        "top_k_below_minus_one": {"temperature": 1, "top_k": -7},
        "max_tokens_below_one": {"max_tokens": -1},
        "min_tokens_above_max_tokens": {"min_tokens": 9},
        "no_choice": {"n": 0},
        "prompt_beyond_the_context": {"prompt": [chain.token(0, 0)] * (context + 1)},
        "prompt_of_the_wrong_kind": {"prompt": {"text": "w"}},
        "more_logprobs_than_allowed": {"logprobs": 100_000},
    }
    refused = {"status": 400, "refused": True}
    for name, fields in wrong.items():
        yield Exchange(f"refused_{name}", {**body, **fields}, refused)
    yield Exchange("refused_unknown_model", {**body, "model": "nobody"}, {"status": 404, "refused": True})
    yield Exchange("refused_broken_json", {}, refused, raw='{"prompt": "w", ')
    yield replace(_asked("serves_after_refusals", _LINE, "stop", {"max_tokens": 64}), alone=True)


def _left_half_way(context: int) -> Iterator[Exchange]:
    """Streams that nobody reads on. Blocks and places of a request must be free soon after its client has gone."""
    body = {"prompt": _PROMPT, "temperature": 0, "max_tokens": context - 64, "stream": True, **_NO_END}
    freed = {"status": 200, "busy": "", "went_on": False}
    yield Exchange("left_after_one_piece", body, freed, leave_after=1, alone=True)
    yield Exchange("left_after_five_pieces", body, freed, leave_after=5, alone=True)
    two = {**body, "temperature": 0.5, "n": 2}
    yield Exchange("left_with_two_choices", two, freed, leave_after=4, alone=True)
