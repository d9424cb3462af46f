"""What came back to the requests of a run, counted: rights and wrongs, texts that differ, and how answers ended."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Miss:
    """A wrong answer.

    Attributes:
        expected: The right one.
        read: What the protocol read; None if there was nothing to read.
        text: The end of what the answer was read from.
    """

    item: str
    expected: str
    read: str | None
    text: str


@dataclass(frozen=True)
class Difference:
    """One item that says something else than it should.

    Attributes:
        at: Characters that are equal before the texts part.
        main: What the main run says from there on, cut short.
        other: What the comparison says from there on, or of a text that is known beforehand, that one.
        means: What went wrong, where a known-answer model says so.
    """

    item: str
    at: int
    main: str
    other: str
    means: str = ""


@dataclass(frozen=True)
class OtherEnd:
    """One answer that ended otherwise than it can have, or than is known beforehand.

    Attributes:
        what: ``finish_reason`` or ``completion_tokens``.
        said: What the server says it is.
        known: What it must be: a value, or the bound that was passed, in words.
    """

    item: str
    what: str
    said: str
    known: str


@dataclass(frozen=True)
class Answers:
    """Samples of one run, counted.

    Attributes:
        planned: Items the case asks for.
        answered: Responses with status 200.
        failed: Requests without a usable response, or that the engine gave up: errors, never wrong answers.
        empty: Answers without a single token.
        scored: Answers with a known right answer.
        correct: Scored answers that are right.
        invalid: Scored answers from which the protocol could read no answer; they are wrong too.
        compared: Answers whose whole text is known beforehand.
        equal: Compared answers whose text is exactly that.
        prompt_tokens: Sum over the answers, as the server counted them.
        completion_tokens: The same of the answers themselves.
        uncounted: Answers of which the server does not say how many tokens they have.
        unended: Answers of which it does not say why they ended.
        reasoned: Answers with reasoning that was kept apart.
        unexpected_prompt_tokens: Answers whose prompt has another number of tokens than was sent.
        missed: The first of the wrong answers; of those first whose text is not even the one known beforehand.
        differing: The first of the compared answers with another text.
        other_ends: Answers that ended for another reason than is known of them beforehand, or than they can have: what
            the limit cut off has as many tokens as the limit.
        other_lengths: Answers with another number of tokens than is known of them beforehand, or more than was asked
            for.
        odd: The first of both.
    """

    planned: int
    answered: int
    failed: int
    empty: int
    scored: int
    correct: int
    invalid: int
    compared: int
    equal: int
    prompt_tokens: int
    unexpected_prompt_tokens: int
    missed: tuple[Miss, ...] = ()
    differing: tuple[Difference, ...] = ()
    completion_tokens: int = 0
    uncounted: int = 0
    unended: int = 0
    reasoned: int = 0
    other_ends: int = 0
    other_lengths: int = 0
    odd: tuple[OtherEnd, ...] = ()

    @property
    def accuracy(self) -> float:
        """Share of scored answers that are right."""
        return self.correct / self.scored


NO_ANSWERS = Answers(
    planned=0, answered=0, failed=0, empty=0, scored=0, correct=0, invalid=0, compared=0, equal=0, prompt_tokens=0,
    unexpected_prompt_tokens=0,
)  # fmt: skip
"""Of a run that was not measured."""


@dataclass(frozen=True)
class Primed:
    """Requests that went ahead of items to the servers whose counters are read."""

    planned: int = 0
    answered: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class Agreement:
    """Texts of a comparison next to those of the main run.

    Attributes:
        compared: Items that both runs answered.
        equal: Those with the same text, to the character.
        differing: The first of the others by id.
    """

    compared: int
    equal: int
    differing: tuple[Difference, ...] = ()
