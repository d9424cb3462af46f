"""From an engine's counters to what checks judge, for engines that count alike; an engine's module chooses.

All counters are what was counted during the main run, by the harness's names, summed over ranks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from harness.base.evidence import Acceptance, Answers, KvLedger, KvTransfers, Unmeasured, Verifications
from harness.engines.metrics import Counters, add

_SOURCES = ("prompt_tokens.external_kv_transfer", "prompt_tokens.local_compute", "prompt_tokens.local_cache_hit")
_TRANSFERS = ("transfers", "transfer_bytes")
_FAILED = ("failed_transfers", "failed_notifications", "expired_requests")  # where there is a connector
_FAILURES = (*_FAILED, "failed_bootstraps", "notifications_after_expiry")
_NOT_EVERY_STEP = ("ngram", "ngram_gpu", "suffix")
"""Methods that look for a draft in what was said, and do not always find one."""
_POSITION = re.compile(r"0|[1-9][0-9]{0,5}")


def accepted_by_position(counted: Counters) -> Acceptance | Unmeasured:
    labels = {name.removeprefix("accepted_at.") for name in counted if name.startswith("accepted_at.")}
    if junk := sorted(label for label in labels if not _POSITION.fullmatch(label)):
        return Unmeasured(f"the engine counts accepted tokens at position {junk[0][:40]!r}, which is none")
    if missing := _missing(counted, ("drafts", "draft_tokens", "accepted")):
        return missing
    return Acceptance(
        drafts=int(counted["drafts"]),
        draft_tokens=int(counted["draft_tokens"]),
        accepted=int(counted["accepted"]),
        accepted_per_position=tuple(map(int, _positions(counted))),
    )


def verifications(counted: Counters) -> Verifications | Unmeasured:
    """The first token of every answer is the prefill's."""
    missing = _missing(counted, ("verifications", "generated_tokens", "finished_requests"))
    return missing or Verifications(
        drafts=int(counted["verifications"]),
        emitted=int(counted["generated_tokens"] - counted["finished_requests"]),
    )


def tokens_by_source(counted: Counters, deltas: Mapping[str, Counters]) -> KvLedger | Unmeasured:
    """The decode side's tokens, and the failures of both sides."""
    missing = _missing(counted, _SOURCES)
    external, computed, cached = (int(counted.get(name, 0)) for name in _SOURCES)
    # An engine without a connector has no transfer counters; that nothing arrived is then a finding, not a gap.
    if not missing and external > 0:
        missing = _missing(counted, _TRANSFERS) or next(filter(None, (_silent(*each) for each in deltas.items())), None)
    if missing:
        return missing
    return KvLedger(
        external=external,
        local_compute=computed,
        local_cache_hit=cached,
        transfers=int(counted.get("transfers", 0)),
        bytes=int(counted.get("transfer_bytes", 0)),
        failures=_failures(deltas),
    )


def _silent(server: str, counted: Counters) -> Unmeasured | None:
    """A server of which nobody can say that nothing failed."""
    missing = _missing(counted, _FAILED)
    return Unmeasured(f"{missing.reason} on {server}", absent=True) if missing else None


def transfers(_counted: Counters, deltas: Mapping[str, Counters]) -> KvTransfers:
    """Counted by the side that sends. Without a series nothing was sent, or nothing failed."""
    counted = add(deltas.values())
    return KvTransfers(
        transfers=int(counted.get("transfers", 0)),
        bytes=round(counted.get("transfer_bytes", 0)),
        failures=_failures(deltas),
    )


def _failures(deltas: Mapping[str, Counters]) -> dict[str, int]:
    """What each server counted as failed: of a request that both sides give up, only one may say so."""
    found = {
        f"{name}: {each}": int(delta.get(each, 0))
        for name, delta in deltas.items()
        for each in _FAILURES
        if each != "failed_notifications" or not _counted_already(delta)
    }
    return {what: number for what, number in found.items() if number}


def _counted_already(counted: Counters) -> bool:
    """Whether failed notifications are among the failed transfers, and would be added twice.

    vLLM 0.31 and later, nixl/stats.py; only builds that count notifications after expiry, 0.32 and later, can be told
    from older ones. Where they are more than the failed transfers they cannot be among them.
    """
    return "notifications_after_expiry" in counted and counted.get("failed_notifications", 0) <= counted.get(
        "failed_transfers", 0
    )


def contradictions(counted: Counters) -> list[str]:
    """What the counters of one rank say of each other that cannot be, whatever was asked.

    vLLM, ``v1/spec_decode/metrics.py``, ``v1/metrics/stats.py`` and the NIXL connector's ``stats.py``: each pair is
    counted at the same place, so it differs only where counting is wrong, or a number was changed since.
    """
    by_position = _positions(counted)
    by_source = [counted[each] for each in _SOURCES if each in counted]
    by_size = [counted["transfer_sizes"]] if "transfer_sizes" in counted else []
    found = [
        *_differ(counted, "accepted", "accepted tokens", by_position, "by position"),
        *_differ(counted, "all_prompt_tokens", "prompt tokens", by_source, "by source"),
        *_differ(counted, "transfers", "transfers", by_size, "by size"),
    ]
    found += [
        f"{after:g} tokens accepted at position {index + 1}, {before:g} at the one before it"
        for index, (before, after) in enumerate(pairwise(by_position))
        if after > before
    ]
    for number, name in (("drafts", "draft_tokens"), ("transfers", "transfer_bytes")):
        if number in counted and name in counted and bool(counted[number]) != bool(counted[name]):
            found.append(f"{counted[number]:g} {number}, and {counted[name]:g} {name.replace('_', ' ')} of them")
    if counted.get("accepted", 0) > counted.get("draft_tokens", math.inf):
        found.append(f"{counted['accepted']:g} tokens accepted of {counted['draft_tokens']:g} drafted")
    if by_position and by_position[0] > counted.get("drafts", math.inf):
        found.append(f"{by_position[0]:g} first tokens accepted of {counted['drafts']:g} drafts")
    return found


def against_answers(drafted: Acceptance, answers: Answers, method: str) -> list[str]:
    """What counters of speculation say that the tokens of the answers contradict: a counter that lies shows here.

    The first token of an answer is the prompt's. Where each later step verifies a draft, each token is one that was
    accepted or the one that a verification gives of itself, so accepted + drafts = tokens - answers. Two verifications
    of each answer may be more: what is accepted beyond its end, and a step that had begun when it ended; one may be
    fewer: a step for which nothing was drafted. N-grams draft where they find something only, so of them it is at most
    that many.

    Args:
        drafted: As the servers that answer counted it.
        answers: Of the same requests.
        method: Of speculation.
    """
    if answers.uncounted or answers.failed or not answers.answered or not drafted.drafts:
        return []
    tokens, found = answers.completion_tokens - answers.answered, drafted.drafts + drafted.accepted
    if tokens < 0:
        return []  # answers without a token are wrong by themselves
    each = 1 + math.ceil(drafted.draft_tokens / drafted.drafts)
    least = 0 if method in _NOT_EVERY_STEP else tokens - answers.answered
    most = tokens + 2 * each * answers.answered
    if least <= found <= most:
        return []
    counted = f"{drafted.drafts} drafts and {drafted.accepted} accepted tokens"
    return [f"{counted} give {found} tokens after the first ones of {answers.answered} answers, which have {tokens}"]


def _differ(counted: Counters, total: str, what: str, parts: list[float], by: str) -> list[str]:
    """Where a total is not the sum of its parts, if both are exported."""
    if total not in counted or not parts or counted[total] == sum(parts):
        return []
    return [f"{counted[total]:g} {what}, and {sum(parts):g} {by}"]


def _positions(counted: Counters) -> list[float]:
    """Accepted tokens by position, in order; labels that are no positions are passed over."""
    labels = sorted(
        int(label)
        for name in counted
        if _POSITION.fullmatch(label := name.removeprefix("accepted_at.")) and label != name
    )
    return [counted[f"accepted_at.{label}"] for label in labels]


def _missing(counted: Counters, names: Iterable[str]) -> Unmeasured | None:
    absent = [name for name in names if name not in counted]
    return lacking(absent) if absent else None


def lacking(counters: Sequence[str]) -> Unmeasured:
    """Nothing to judge, because the engine does not export these."""
    reason = f"the engine exports no counter for {', '.join(counters)}"
    return Unmeasured(reason, absent=True, counters=tuple(counters))
