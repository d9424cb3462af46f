"""Is in force what the case asks for? Every setting of it, on every engine server; what nothing shows is counted."""

from __future__ import annotations

from collections.abc import Iterable

from harness.base.domain import CheckResult, Outcome
from harness.base.evidence import Evidence
from harness.base.seen_settings import SeenSetting
from harness.checks import check

NAME = "in_force"


def judge(evidence: Evidence) -> list[CheckResult]:
    """One result, ``in_force``.

    A failure where a server shows something else than was asked for. What nothing shows is no failure and no pass: it
    is counted and named, and where nothing at all could be read the result is skipped and says so.
    """
    settings = evidence.settings
    if settings is None:
        return [check.unmeasured(NAME, "nobody looked at what is in force")]
    seen = [each for each in settings if each.seen]
    unseen = [each for each in settings if not each.seen]
    different = [each for each in seen if not each.equal]
    outcome = Outcome.FAIL if different else Outcome.PASS if seen else Outcome.SKIPPED
    measured = {"different": len(different), "equal": len(seen) - len(different), "unseen": len(unseen)}
    return [
        CheckResult(
            name=NAME,
            outcome=outcome,
            measured=measured,
            expected={"different": 0},
            high={"different": 0},
            n=len(settings),
            unit="settings",
            direction="at-most",
            message=_words(different) if different else _not_seen(unseen) if seen else _nothing(unseen),
            details="\n".join(map(_line, settings)),
        )
    ]


def _not_seen(unseen: list[SeenSetting]) -> str:
    return f"{len(unseen)} of the settings that the case asks for are not seen: {_names(unseen)}" if unseen else ""


def _nothing(unseen: list[SeenSetting]) -> str:
    if not unseen:
        return "not verified: the case asks for no setting"
    return f"not verified: nothing of what the servers wrote and said shows what is in force: {_names(unseen)}"


def _words(different: Iterable[SeenSetting]) -> str:
    return "; ".join(
        f"{each.server}: {each.name} is {', '.join(each.seen)}, and {each.asked} was asked for" for each in different
    )


def _names(settings: Iterable[SeenSetting]) -> str:
    """Each name once, whatever servers it is asked of."""
    return ", ".join(dict.fromkeys(each.name for each in settings))


def _line(each: SeenSetting) -> str:
    if not each.seen:
        return f"{each.server}: {each.name}: asked {each.asked}, unseen"
    return f"{each.server}: {each.name}: asked {each.asked}, in force {', '.join(each.seen)}"
