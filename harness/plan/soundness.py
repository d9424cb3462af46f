"""What one point asks and expects must mean something: a baseline that a broken engine reaches too catches nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator

from harness.base.settings import Expectation, Passport
from harness.cases.model import Case
from harness.checks import CHECKS, parity
from harness.checks.check import bounds
from harness.engines import ENGINES
from harness.plan.points import Planned
from harness.protocols.protocol import PrefixCacheBase

_NAN = "VLLM_COMPUTE_NANS_IN_LOGITS"
_AGREEMENT = 0.03  # acceptance length against 1 + the sum over positions


def of_point(each: Planned) -> list[str]:
    """Every broken rule about what one point asks and expects: with one of them its verdict would mean nothing.

    ``harness run`` refuses such a point, so that nobody has to ask ``harness check`` first.
    """
    case, where = each.case, each.case_file.path
    found = [f"{where}: {key}: {what} on {each.platform}" for key, what in (*inconsistent(case), *floors(case))]
    found += _made_for_another_block(each)
    found += _answered_from_a_transfer(each)
    found += _balanced_unseen(each)
    found += _nan_unseen(each)
    found += _measured_otherwise(each)
    return list(dict.fromkeys(found))


def floors(case: Case) -> Iterator[tuple[str, str]]:
    """Every such baseline of a case: its key and what is wrong with it."""
    guessed = case.evaluation.GUESSED
    for name, settings in case.checks.configured().items():
        if isinstance(settings, Expectation) and settings.status == "provisional":
            continue  # nothing passes by it
        for what in CHECKS[name].weakness(settings, guessed):
            yield f"checks.{name}", what
    for name, comparison in case.comparisons.items():
        for what in parity.weakness(comparison, guessed):
            yield f"comparisons.{name}", what
    yield from _of_controls(case)


def inconsistent(case: Case) -> Iterator[tuple[str, str]]:
    """Numbers of the acceptance baselines that cannot be those of one run of the case."""
    length, positions = case.checks.acceptance_length, case.checks.acceptance_per_position
    items, most = case.evaluation.items, case.evaluation.items * case.evaluation.max_tokens
    for name, baseline in (("length", length), ("per_position", positions)):
        if baseline and baseline.passport:
            continue  # counted, and not said: where nothing in a text repeats itself, n-grams draft nothing
        if baseline and baseline.n < items:
            yield (
                f"checks.acceptance_{name}",
                f"n: {baseline.n} drafts, fewer than the {items} answers that need one each",
            )
        elif baseline and baseline.n > most:
            yield f"checks.acceptance_{name}", f"n: {baseline.n} drafts, more than the {most} tokens that are asked for"
    if not length or not positions:
        return
    if length.n != positions.n:
        yield "checks.acceptance_per_position", f"n: {positions.n} drafts, in checks.acceptance_length {length.n}"
    summed = 1 + sum(positions.expected)
    if abs(length.expected - summed) > _AGREEMENT * length.expected:
        yield "checks.acceptance_length", f"expected {length.expected:g}, but 1 + the sum over positions is {summed:g}"


def _of_controls(case: Case) -> Iterator[tuple[str, str]]:
    """Controls must score something else than the main run, so what the main run scores must not pass."""
    main = case.checks.accuracy
    for name, control in case.controls.items():
        low, high = bounds(control.expected, control.direction, control)
        high = math.inf if high is None else high
        if main and low <= main.expected <= high:
            yield f"controls.{name}", f"passes with the accuracy of the main run, {main.expected:g}: it shows nothing"
        elif low <= 0 and high >= 1:
            yield f"controls.{name}", "passes with any accuracy: it shows nothing"


def _made_for_another_block(each: Planned) -> Iterator[str]:
    """Prompts that are made for blocks of a size which the engine does not have."""
    evaluation, flag = each.case.evaluation, ENGINES[each.case.engine.name].block_flag
    size = each.case.serve.flags.get(flag)
    if isinstance(evaluation, PrefixCacheBase) and evaluation.block_size != size:
        yield (
            f"{each.case_file.path}: evaluation.block_size: is {evaluation.block_size} on {each.platform}, "
            f"serve.flags.{flag} is {'missing' if size is None else size}; they must be the same"
        )


def _answered_from_a_transfer(each: Planned) -> Iterator[str]:
    """Comparisons with a decode side that may say what it received, and not what it computed."""
    flag, off = ENGINES[each.case.engine.name].no_prefix_cache
    for name, comparison in each.case.comparisons.items():
        if comparison.send_to == "decode" and each.case.serve_of("decode").flags.get(flag) != off:
            yield (
                f"{each.case_file.path}: comparisons.{name}: the prefix cache of the decode side answers it with what "
                f"was transferred; set serve.flags.{flag} to {str(off).lower()} or send_to to 'prefill'"
            )


def _balanced_unseen(each: Planned) -> Iterator[str]:
    """Expert load balancing that is on, and nothing asks whether it ever did anything."""
    on = any(each.case.serve_of(role).flags.get("enable-eplb") for role in each.case.topology.roles)
    if on and each.case.checks.rearrangements is None:
        yield f"{each.case_file.path}: checks.rearrangements: missing though enable-eplb is set; add it with its origin"


def _measured_otherwise(each: Planned) -> Iterator[str]:
    """Baselines that were measured of something that the case does not do."""
    evaluation = each.case.evaluation
    asked = {"protocol": evaluation.protocol, "concurrency": evaluation.concurrency}
    for name, settings in baselines(each.case).items():
        passport = settings.passport if isinstance(settings, Expectation) else None
        if passport and (wrong := _other_looks(passport, evaluation.looks)):
            yield f"{each.case_file.path}: {name}.passport.{wrong}; harness calibrate measures it anew"
        for key, now in asked.items() if passport else ():
            if (then := getattr(passport, key)) != now:
                yield (
                    f"{each.case_file.path}: {name}.passport.{key}: measured with {then}, the case has {now}; "
                    "harness calibrate measures it anew"
                )


def baselines(case: Case) -> dict[str, Expectation]:
    """Everything that a case compares with an expected value, by its key."""
    tables = {f"checks.{name}": each for name, each in case.checks.configured().items()}
    found = tables | {f"comparisons.{name}": each for name, each in case.comparisons.items()}
    return {name: each for name, each in found.items() if isinstance(each, Expectation)}


def _other_looks(passport: Passport, looks: list[int]) -> str:
    """What of a passport cannot be judged at these looks, as key and words; empty if all can."""
    measured = [each.items for each in passport.looks]
    if measured != looks:
        return f"looks: measured at {measured}, the case looks at {looks}"
    return "margin: missing, and nothing is decided early without" if looks and passport.margin is None else ""


def _nan_unseen(each: Planned) -> Iterator[str]:
    """NaN that the engine looks for, and nothing asks whether it saw any."""
    looks = any(each.case.serve_of(role).env.get(_NAN, "0") != "0" for role in each.case.topology.roles)
    if looks and each.case.checks.corrupted_requests is None:
        yield f"{each.case_file.path}: checks.corrupted_requests: missing though {_NAN} is set; add it with its origin"
