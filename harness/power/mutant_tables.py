"""What became of mutants, as tables and as a score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from engine_mutants.mutant import Mutant
from harness.power.mutant_records import Record
from harness.power.verdicts import Status

NOT_RUN = "not run"
_SAYS_NOTHING = (Status.GONE, Status.RED_UNREACHED)


def state(mutant: Mutant, record: Record | None, platform: str) -> str:
    """What became of a mutant on a platform, in words."""
    if record is not None:
        return str(record.status)
    return NOT_RUN if mutant.is_on(platform) else f"cannot be on {platform}"


def score(records: Iterable[Record]) -> str:
    """How many of those that could be judged were killed, in one line."""
    found = Counter(each.status for each in records)
    judged = sum(count for status, count in found.items() if status not in _SAYS_NOTHING)
    killed = sum(count for status, count in found.items() if status.is_killed)
    if not judged:
        return "nothing was judged"
    others = ", ".join(f"{found[each]} {each}" for each in Status if found[each] and not each.is_killed)
    own = found[Status.KILLED]
    return (
        f"{killed} of {judged} killed ({100 * killed / judged:.0f} %), {own} of them by a check that the mutant names"
        + (f"; {others}" if others else "")
    )


def rows(mutants: Sequence[Mutant], records: Mapping[str, Record], platform: str) -> list[list[str]]:
    """One row a mutant, the head first."""
    found = [["mutant", "what is broken", "after", "state", "case", "red", "hits"]]
    for each in mutants:
        record = records.get(each.name)
        best = record.best if record else None
        found.append(
            [
                f"`{each.name}`",
                each.breaks,
                ", ".join(each.bugs),
                state(each, record, platform),
                f"`{best.case}`" if best else f"`{each.cases[0]}`",
                ", ".join(best.red) if best else "",
                " ".join(f"{name} {count}" for name, count in best.hits.items()) if best else "",
            ]
        )
    return found
