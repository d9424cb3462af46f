"""Speculative decoding: acceptance length, acceptance per position, and the counters themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Self

from pydantic import Field, model_validator

from harness.base.domain import CheckResult, Outcome
from harness.base.settings import Baseline, Direction, Origin, Strict, Tolerance
from harness.checks import compare
from harness.checks.evidence import Acceptance, Measurement, Unmeasured, Verifications


class LengthConfig(Baseline):
    """``[checks.acceptance_length]``: ``n`` is the number of drafts behind the expected value."""


class PositionsConfig(Tolerance):
    """``[checks.acceptance_per_position]``: one expected share a position, first position first."""

    expected: list[float] = Field(min_length=1)
    direction: Direction
    n: int = Field(ge=1, description="Drafts behind the expected values.")
    origin: Origin

    @model_validator(mode="after")
    def _survival(self) -> Self:
        # A position is accepted only if all before it are, so the shares cannot rise.
        if any(not 0 <= share <= 1 for share in self.expected) or self.expected != sorted(self.expected, reverse=True):
            raise ValueError("expected must hold shares between 0 and 1 that never rise from position to position")
        return self


class CountsConfig(Strict):
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
    origin: Origin


def judge_length(config: LengthConfig, measured: Measurement) -> list[CheckResult]:
    """One result, ``acceptance_length``."""
    name = "acceptance_length"
    counters = _counters(measured)
    if isinstance(counters, str):
        return [compare.unmeasured(name, counters)]
    if not counters.drafts:
        return [_nothing_drafted(name, compare.show(config.expected))]
    return [compare.baseline(name, counters.length, counters.drafts, config)]


def judge_positions(config: PositionsConfig, measured: Measurement) -> list[CheckResult]:
    """One result a position, ``acceptance_per_position[0]`` first."""
    names = [f"acceptance_per_position[{position}]" for position in range(len(config.expected))]
    counters = _accepted(measured)
    if not isinstance(counters, str) and len(counters.accepted_per_position) != len(names):
        counters = f"the engine counted {len(counters.accepted_per_position)} positions, the baseline has {len(names)}"
    if isinstance(counters, str):
        return [compare.unmeasured(name, counters) for name in names]
    if not counters.drafts:
        return [_nothing_drafted(*each) for each in zip(names, map(compare.show, config.expected), strict=True)]
    return [
        compare.against(name, share, counters.drafts, expected=expected, direction=config.direction, tolerance=config)
        for name, share, expected in zip(names, counters.per_position, config.expected, strict=True)
    ]


def judge_counts(config: CountsConfig, measured: Measurement) -> list[CheckResult]:
    """One result, ``draft_counts``: drafts, drafted tokens, accepted tokens and each position, all equal.

    Placeholders add to drafts and drafted tokens, and are never accepted.
    """
    name = "draft_counts"
    counters = _accepted(measured)
    if isinstance(counters, str):
        return [compare.unmeasured(name, counters)]
    expected = Acceptance(config.drafts, config.draft_tokens, config.accepted, tuple(config.accepted_per_position))
    padded = min(max(counters.drafts - config.drafts, 0), config.placeholders)
    drafted = config.draft_tokens + padded * len(config.accepted_per_position)
    equal = counters == replace(expected, drafts=config.drafts + padded, draft_tokens=drafted)
    return [
        CheckResult(
            name=name,
            outcome=Outcome.PASS if equal else Outcome.FAIL,
            measured=_counted(counters),
            expected=_counted(expected),
            bound="equal" if not config.placeholders else f"equal, up to {config.placeholders} drafts of placeholders",
            n=counters.drafts,
            message="" if equal else f"counted {_counted(counters)}, expected {_counted(expected)}",
        )
    ]


def _counters(measured: Measurement) -> Acceptance | Verifications | str:
    """The counters, or why there are none."""
    counters = measured.acceptance
    if counters is None:
        return "the case configures no speculation"
    return counters.reason if isinstance(counters, Unmeasured) else counters


def _accepted(measured: Measurement) -> Acceptance | str:
    """The same, of an engine that counts accepted tokens by position."""
    counters = _counters(measured)
    return "the engine counts no accepted tokens" if isinstance(counters, Verifications) else counters


def _nothing_drafted(name: str, expected: str) -> CheckResult:
    """Without a single draft every ratio is undefined, and that is a finding: speculation was configured."""
    message = f"the engine drafted nothing, expected {name} {expected}"
    return CheckResult(name, Outcome.FAIL, measured="no drafts", expected=expected, bound="drafts > 0", message=message)


def _counted(counters: Acceptance) -> str:
    positions = "/".join(map(str, counters.accepted_per_position))
    return f"{counters.drafts} drafts, {counters.accepted}/{counters.draft_tokens} accepted ({positions})"
