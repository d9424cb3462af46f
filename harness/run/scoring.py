"""Samples of a run to what is counted of them: answers right and wrong, and items of two runs next to each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness import protocols
from harness.base.domain import Sample
from harness.base.evidence import Agreement, Answers, Difference, Miss, OtherEnd, Primed
from harness.plan.request_bodies import UNSAID, not_an_answer
from harness.protocols import Evaluation
from known_answer import faults

_OK = 200
_SHOWN = 5  # items that are kept of what is wrong, and characters of each: enough to look into it
_EXCERPT = 60
_AHEAD = 64  # tokens before the end of the context at which an engine that drafts may stop


def agree(main: list[Sample], other: list[Sample]) -> Agreement:
    """Compare two runs item by item."""
    said = {sample.item: sample.text for sample in _answered(main)}
    both = sorted((each.item, said[each.item], each.text) for each in _answered(other) if each.item in said)
    differing = [_difference(*each) for each in both if each[1] != each[2]]
    return Agreement(len(both), len(both) - len(differing), tuple(differing[:_SHOWN]))


def _difference(item: str, main: str, other: str) -> Difference:
    at = next((index for index, pair in enumerate(zip(main, other, strict=False)) if len(set(pair)) > 1), None)
    at = min(len(main), len(other)) if at is None else at
    means = faults.explained(main, other) or ""
    return Difference(item, at, main[at : at + _EXCERPT], other[at : at + _EXCERPT], means)


def primed(evaluation: Evaluation, run: str, priming: Mapping[str, list[Sample]]) -> Primed:
    """What went ahead of items to the servers whose counters are read."""
    answered = _answered(priming.get(run, []))
    # No protocol that asks from a data file primes.
    items = [] if protocols.datasets(evaluation) else protocols.items(evaluation)
    return Primed(
        planned=sum(item.primed_run == run for item in items),
        answered=len(answered),
        prompt_tokens=sum(sample.prompt_tokens or 0 for sample in answered),
        completion_tokens=sum(sample.completion_tokens or 0 for sample in answered),
    )


def count(evaluation: Evaluation, samples: list[Sample], planned: int | None = None) -> Answers:
    """Score one run. A failed request is counted as failed and never scored.

    Args:
        evaluation: What was asked.
        samples: Of the run.
        planned: Items that were to be asked, where it is not all of them.
    """
    answered = _answered(samples)
    scored = [sample for sample in answered if sample.expected is not None]
    read = [protocols.answer(evaluation, sample.text) for sample in scored]
    pairs = list(zip(scored, read, strict=True))
    missed = sorted((pair for pair in pairs if pair[1] != pair[0].expected), key=lambda pair: _as_known(pair[0]))
    compared = [sample for sample in answered if sample.expected_text is not None]
    differing = [sample for sample in compared if not _as_known(sample)]
    ends, lengths = _other_ends(evaluation, answered), _other_lengths(evaluation, answered)
    return Answers(
        planned=evaluation.items if planned is None else planned,
        answered=len(answered),
        failed=len(samples) - len(answered),
        empty=sum(_says_nothing(sample) for sample in answered),
        scored=len(scored),
        correct=len(scored) - len(missed),
        invalid=sum(found is None for found in read),
        compared=len(compared),
        equal=len(compared) - len(differing),
        prompt_tokens=sum(sample.prompt_tokens or 0 for sample in answered),
        unexpected_prompt_tokens=sum(
            sample.prompt_tokens is not None and sample.expected_prompt_tokens not in (None, sample.prompt_tokens)
            for sample in answered
        ),
        completion_tokens=sum(sample.completion_tokens or 0 for sample in answered),
        uncounted=sum(None in (sample.prompt_tokens, sample.completion_tokens) for sample in answered),
        unended=sum(sample.finish_reason == UNSAID for sample in answered),
        reasoned=sum(bool(sample.reasoning) for sample in answered),
        missed=tuple(
            Miss(sample.item, sample.expected or "", found, sample.text[-_EXCERPT:])
            for sample, found in missed[:_SHOWN]
        ),
        differing=tuple(_difference(each.item, each.text, each.expected_text or "") for each in differing[:_SHOWN]),
        other_ends=len(ends),
        other_lengths=len(lengths),
        odd=(*ends[:_SHOWN], *lengths[:_SHOWN]),
    )


def right(evaluation: Evaluation, samples: Iterable[Sample]) -> dict[str, bool]:
    """Of each item that was answered and is scored, whether the answer is right."""
    scored = [sample for sample in _answered(list(samples)) if sample.expected is not None]
    return {sample.item: protocols.answer(evaluation, sample.text) == sample.expected for sample in scored}


def _other_ends(evaluation: Evaluation, answered: list[Sample]) -> list[OtherEnd]:
    """Answers that ended for another reason than is known, or than they can have.

    What is known holds for the text that is known: one with another text is a wrong answer already. Only the limit on
    tokens or the end of the context cuts an answer off, and the context is at least as long as the longest of them.
    """
    whole = {sample.item: (sample.prompt_tokens or 0) + (sample.completion_tokens or 0) for sample in answered}
    context = max(whole.values(), default=0)
    found = []
    for sample in answered:
        said, known = sample.finish_reason, sample.expected_finish_reason
        if said == UNSAID:
            continue
        if known and _as_known(sample) and said != known:
            found.append(OtherEnd(sample.item, "finish_reason", said, known))
        elif not known and said == "length" and sample.completion_tokens is not None:
            short = sample.completion_tokens < evaluation.max_tokens and whole[sample.item] + _AHEAD < context
            if short:
                least = f"{evaluation.max_tokens} tokens where it is"
                found.append(OtherEnd(sample.item, "finish_reason", f"length after {sample.completion_tokens}", least))
    return found


def _other_lengths(evaluation: Evaluation, answered: list[Sample]) -> list[OtherEnd]:
    """Answers with another number of tokens than is known, or more than were asked for."""
    found = []
    for sample in answered:
        tokens, known = sample.completion_tokens, sample.expected_completion_tokens
        if tokens is None:
            continue
        if known is not None and _as_known(sample) and tokens != known:
            found.append(OtherEnd(sample.item, "completion_tokens", str(tokens), str(known)))
        elif tokens > evaluation.max_tokens:
            found.append(OtherEnd(sample.item, "completion_tokens", str(tokens), f"at most {evaluation.max_tokens}"))
    return found


def _says_nothing(sample: Sample) -> bool:
    """Whether there is not a single token, or, where nobody counts them, not a single character."""
    tokens = sample.completion_tokens
    return not (sample.text or sample.reasoning) if tokens is None else tokens == 0


def _as_known(sample: Sample) -> bool:
    """Whether the text is the one known beforehand: of some questions it is known that their answer is wrong."""
    return sample.text == sample.expected_text


def _answered(samples: list[Sample]) -> list[Sample]:
    """Those that came to their end. What a record does not say of its end is not taken for granted."""
    return [
        sample
        for sample in samples
        if sample.status == _OK and not sample.error and not not_an_answer(sample.finish_reason)
    ]
