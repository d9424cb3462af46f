"""``reference.json``: what a stored run of the same case answered, with which a run is compared item by item."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise

from harness import protocols
from harness.base.domain import Sample
from harness.base.evidence import Measurement
from harness.base.paired import Paired, PairedItem
from harness.protocols import Evaluation
from harness.run.documents import Document, Prepared

NAME = "reference"


class Answer(Document):
    """What came back for an item; ``right`` is None where the protocol scores nothing."""

    text: str
    right: bool | None


class Drafted(Document):
    """What had been counted when so many requests had come back, since the main run began."""

    done: int
    tokens: float
    drafts: int


class Reference(Document):
    """``reference.json``."""

    run: str
    """Where it was found."""
    run_id: str
    build: str
    """Engine and version."""
    created: str
    prompts: str
    """SHA-256 of everything that was asked."""
    answers: dict[str, Answer]
    drafted: list[Drafted]

    @property
    def words(self) -> str:
        """Which one it is, for people."""
        return f"{self.run} ({self.build}, {self.created[:10]})"

    @property
    def digest(self) -> str:
        """SHA-256 of all of it."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def answers(evaluation: Evaluation, samples: Sequence[Sample]) -> dict[str, Answer]:
    """Those of the main run, by item."""
    return {
        each.item: Answer(
            text=each.text,
            right=None if each.expected is None else protocols.answer(evaluation, each.text) == each.expected,
        )
        for each in samples
        if each.run == "main" and not each.error
    }


def drafted(measured: Measurement) -> list[Drafted]:
    """Tokens and drafts by the number of requests that had come back, where counters were read between them."""
    groups, ends = measured.acceptance_groups, measured.group_ends
    if len(groups) != len(ends):
        return []
    sums = zip(
        accumulate(each.length * each.drafts if each.drafts else 0.0 for each in groups),
        accumulate(each.drafts for each in groups),
        strict=True,
    )
    return [Drafted(done=done, tokens=tokens, drafts=drafts) for done, (tokens, drafts) in zip(ends, sums, strict=True)]


def paired(reference: Reference, evaluation: Evaluation, samples: Sequence[Sample], measured: Measurement) -> Paired:
    """The run next to its reference: items that both answered, and groups of requests that both had."""
    here = answers(evaluation, samples)
    items = tuple(
        PairedItem(name, there.right, here[name].right, there.text == here[name].text)
        for name, there in reference.answers.items()
        if name in here
    )
    then, now = ({each.done: each for each in one} for one in (reference.drafted, drafted(measured)))
    ends = sorted(then.keys() & now.keys())
    return Paired(
        reference=reference.words,
        items=items,
        alone=len(here) + len(reference.answers) - 2 * len(items),
        groups_then=tuple(_groups(then, ends)),
        groups_now=tuple(_groups(now, ends)),
        drafts=measured.acceptance is not None,
    )


def _groups(found: Mapping[int, Drafted], ends: Sequence[int]) -> Iterator[tuple[float, float]]:
    """Tokens and drafts between the ends."""
    nothing = Drafted(done=0, tokens=0.0, drafts=0)
    for before, after in pairwise([nothing, *(found[end] for end in ends)]):
        yield after.tokens - before.tokens, after.drafts - before.drafts


def gaps(prepared: Prepared, reference: Reference | None) -> Iterator[str]:
    """What is wrong with the reference of a run, in words."""
    if (reference.digest if reference else "") != prepared.reference:
        what = "missing" if reference is None else "is not the one that the run was given"
        yield f"{NAME}.json: {what}"
