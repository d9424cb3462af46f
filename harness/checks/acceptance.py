"""Speculative decoding: acceptance length, acceptance per position, and the counters themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from harness.base.domain import CheckResult, Outcome
from harness.base.evidence import Acceptance, Evidence, Unmeasured, Verifications
from harness.base.settings import Baseline, Expectation, Origin, Strict
from harness.checks import check, early_verdicts, spreads
from harness.checks.check import Check

Counts = Annotated[
    Literal["drafts", "items"],
    Field(description="What n counts: drafts, or the items asked, where whoever gave the figure counts those."),
]


class AcceptanceLengthSettings(Baseline):
    """``[checks.acceptance_length]``: ``n`` is the number of drafts behind the expected value."""

    counts: Counts = "drafts"


class AcceptancePerPositionSettings(Expectation):
    """``[checks.acceptance_per_position]``: one expected share a position, first position first."""

    expected: list[float] = Field(min_length=1)
    counts: Counts = "drafts"

    @model_validator(mode="after")
    def _survival(self) -> Self:
        # A position is accepted only if all before it are, so the shares cannot rise.
        if any(not 0 <= share <= 1 for share in self.expected) or self.expected != sorted(self.expected, reverse=True):
            raise ValueError("expected must hold shares between 0 and 1 that never rise from position to position")
        return self


class DraftCountsSettings(Strict):
    """``[checks.draft_counts]``: exact counters, for checkpoints whose acceptance is computed beforehand."""

    drafts: int = Field(ge=1)
    draft_tokens: int = Field(ge=1)
    accepted: int = Field(ge=0)
    accepted_per_position: list[int]
    placeholders: int = Field(
        0,
        ge=0,
        description="Drafts of placeholders that may come on top, at most: vLLM pads the first step of a request whose "
        "prompt arrived over a connector, depending on the version and on what else runs in that step.",
    )
    every_step: bool = Field(
        False,
        description="N-grams draft in every step, the newest token again where nothing is found, as in vLLM's second "
        "model runner; the numbers are computed accordingly.",
    )
    origin: Origin


def judge_length(settings: AcceptanceLengthSettings, evidence: Evidence) -> list[CheckResult]:
    """One result, ``acceptance_length``."""
    name = "acceptance_length"
    counters = _counters(evidence)
    if isinstance(counters, str):
        return [check.unmeasured(name, counters)]
    if not counters.drafts:
        return [_nothing_drafted(name, settings.expected)]
    spread = spreads.of_length(evidence, counters)
    result = check.baseline(name, counters.length, counters.drafts, settings, "tokens per draft", spread)
    if early_verdicts.applies(settings, evidence):
        return [early_verdicts.judged(result, settings, evidence, early_verdicts.length)]
    return [_as_declared(result, settings, evidence, counters.drafts)]


def judge_positions(settings: AcceptancePerPositionSettings, evidence: Evidence) -> list[CheckResult]:
    """One result a position, ``acceptance_per_position[0]`` first."""
    names = [f"acceptance_per_position[{position}]" for position in range(len(settings.expected))]
    counters = _accepted(evidence)
    if not isinstance(counters, str) and len(counters.accepted_per_position) != len(names):
        counters = f"the engine counted {len(counters.accepted_per_position)} positions, the baseline has {len(names)}"
    if isinstance(counters, str):
        return [check.unmeasured(name, counters) for name in names]
    if not counters.drafts:
        return [_nothing_drafted(*each) for each in zip(names, settings.expected, strict=True)]
    found = list(_by_position(names, counters, settings, evidence))
    if early_verdicts.applies(settings, evidence):
        return [
            early_verdicts.judged(each, settings, evidence, early_verdicts.share_at(position), position)
            for position, each in enumerate(found)
        ]
    return [_as_declared(each, settings, evidence, counters.drafts) for each in found]


def _by_position(
    names: Sequence[str], counters: Acceptance, settings: AcceptancePerPositionSettings, evidence: Evidence
) -> Iterator[CheckResult]:
    for position, (name, share, expected) in enumerate(
        zip(names, counters.per_position, settings.expected, strict=True)
    ):
        yield check.against(
            name,
            share,
            counters.drafts,
            expected=expected,
            settings=settings,
            unit="share",
            position=position,
            spread=spreads.of_position(evidence, counters, position),
        )


def _as_declared(
    result: CheckResult,
    settings: AcceptanceLengthSettings | AcceptancePerPositionSettings,
    evidence: Evidence,
    drafts: int,
) -> CheckResult:
    if settings.counts == "drafts":
        return check.declared(result, settings.n, drafts, "drafts")
    return check.declared(result, settings.n, evidence.measured.answers["main"].answered, "items")


def judge_counts(settings: DraftCountsSettings, evidence: Evidence) -> list[CheckResult]:
    """One result, ``draft_counts``: drafts, drafted tokens, accepted tokens and each position, all equal.

    Placeholders add to drafts and drafted tokens, and are never accepted.
    """
    counters = _accepted(evidence)
    if isinstance(counters, str):
        return [check.unmeasured("draft_counts", counters)]
    expected = _named(
        Acceptance(settings.drafts, settings.draft_tokens, settings.accepted, tuple(settings.accepted_per_position))
    )
    found = _named(counters)
    padded = min(max(counters.drafts - settings.drafts, 0), settings.placeholders)
    padding = {"drafts": 1, "draft_tokens": len(settings.accepted_per_position)}
    wanted = {name: number + padded * padding.get(name, 0) for name, number in expected.items()}
    other = [
        f"{name} {found.get(name, 'not counted')}, expected {wanted.get(name, 'none')}"
        for name in wanted | found
        if found.get(name) != wanted.get(name)
    ]
    return [
        CheckResult(
            name="draft_counts",
            outcome=Outcome.FAIL if other else Outcome.PASS,
            measured=found,
            expected=expected,
            low={**expected},
            high={name: number + settings.placeholders * padding.get(name, 0) for name, number in expected.items()},
            n=counters.drafts,
            direction="two-sided",
            message=", ".join(other),
        )
    ]


def _named(counters: Acceptance) -> dict[str, int]:
    positions = {f"accepted[{index}]": accepted for index, accepted in enumerate(counters.accepted_per_position)}
    totals = {"drafts": counters.drafts, "draft_tokens": counters.draft_tokens, "accepted": counters.accepted}
    return totals | positions


def _counters(evidence: Evidence) -> Acceptance | Verifications | str:
    """The counters, or why there are none."""
    counters = evidence.measured.acceptance
    if counters is None:
        return "the case configures no speculation"
    return counters.reason if isinstance(counters, Unmeasured) else counters


def _accepted(evidence: Evidence) -> Acceptance | str:
    """The same, of an engine that counts accepted tokens by position."""
    counters = _counters(evidence)
    if isinstance(counters, Verifications):
        return "the engine counts no accepted tokens"
    if isinstance(counters, Acceptance) and not counters.accepted_per_position:
        return "the engine exports no counter for accepted_at"
    return counters


def _nothing_drafted(name: str, expected: float) -> CheckResult:
    """Without a single draft every ratio is undefined, and that is a finding: speculation was configured."""
    message = f"the engine drafted nothing, expected {name} {expected:.6g}"
    return CheckResult(name, Outcome.FAIL, expected=expected, message=message)


_NO_DRAFTS = 1.05  # an acceptance length of 1 means that no draft was ever accepted


def _weak_length(settings: AcceptanceLengthSettings, _guessed: float) -> Iterable[str]:
    if check.bounds(settings.expected, settings.direction, settings)[0] < _NO_DRAFTS:
        return [f"passes at {_NO_DRAFTS}, where drafts are hardly ever accepted"]
    return check.too_low(settings, 1.0, "")


def _weak_positions(settings: AcceptancePerPositionSettings, _guessed: float) -> Iterable[str]:
    """A position of which nothing may be accepted is one that says so exactly."""
    for position, share in enumerate(settings.expected):
        low, _ = check.bounds(share, settings.direction, settings)
        exactly_none = settings.direction == "two-sided" and share == settings.width(share) == 0
        if low <= 0 and not exactly_none:
            yield f"position {position} passes with no draft accepted at all"


def _weak_counts(settings: DraftCountsSettings, _guessed: float) -> Iterable[str]:
    return [] if settings.accepted else ["passes with no draft accepted at all"]


_positions = check.lacking("accepted_per_position", "the engine does not count what was accepted at which position")

LENGTH = Check(
    name="acceptance_length",
    about="1 + accepted / drafts.",
    settings=AcceptanceLengthSettings,
    judge=judge_length,
    of_the_model=True,
    problem=check.lacking("drafts", "the engine does not count drafts"),
    weakness=_weak_length,
)
PER_POSITION = Check(
    name="acceptance_per_position",
    about="Share of drafts accepted at each position.",
    settings=AcceptancePerPositionSettings,
    judge=judge_positions,
    of_the_model=True,
    problem=_positions,
    weakness=_weak_positions,
)
COUNTS = Check(
    name="draft_counts",
    about="The speculation counters themselves, where they are known to the unit.",
    settings=DraftCountsSettings,
    judge=judge_counts,
    of_the_model=True,
    problem=_positions,
    weakness=_weak_counts,
)
