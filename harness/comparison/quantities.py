"""What of two builds is compared, which way is better, and how much worse is too much."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from harness.base.errors import UsageError
from harness.base.settings import cut

FALSE_ALARM = 0.05
"""How often equal builds are called worse in anything of a case, at most. The quantities of a case share it."""


@dataclass(frozen=True)
class Quantity:
    """Something that each start has a value of.

    Attributes:
        name: As it is reported; of several positions, without the position.
        unit: Of the value.
        higher: Whether more is better.
        margin: The loss that matters: a share of the first build's value, or where ``relative`` is not set, in the unit
            of the value.
        relative: Whether values are divided, not subtracted.
        of_answers: It is about what was answered, and not about how fast.
    """

    name: str
    unit: str
    higher: bool
    margin: float
    relative: bool = True
    of_answers: bool = False


QUANTITIES = (
    Quantity("accuracy", "share", True, 0.02, relative=False, of_answers=True),
    Quantity("acceptance_length", "tokens per draft", True, 0.01, of_answers=True),
    Quantity("acceptance_per_position", "share", True, 0.02, of_answers=True),
    Quantity("throughput", "tokens per second", True, 0.03),
    Quantity("time_between_tokens", "seconds", False, 0.02),
    Quantity("time_to_first_token", "seconds", False, 0.05),
    Quantity("start_up", "seconds", False, 0.10),
)
"""Every quantity with its margin. Speeds of equal starts were seen to differ by more than answers do, start-up most."""

NAMES = tuple(each.name for each in QUANTITIES)


def chosen(wanted: Collection[str], margins: Mapping[str, float]) -> dict[str, Quantity]:
    """The quantities that are compared, by name.

    Args:
        wanted: Names; all if empty.
        margins: Other margins than ours, by name.

    Raises:
        UsageError: There is no such quantity, or a margin is of one that is not compared.
    """
    for option, names in (("--quantity", wanted), ("--margin", margins)):
        for name in names:
            if name not in NAMES:
                near = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.4)
                advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(NAMES)}"
                raise UsageError(f"{option} {cut(name)}: no such quantity; {advice}")
    found = {each.name: each for each in QUANTITIES if not wanted or each.name in wanted}
    for name in margins:
        if name not in found:
            raise UsageError(f"--margin {name}: it is not compared; leave it out, or add --quantity {name}")
    return {name: replace(each, margin=margins.get(name, each.margin)) for name, each in found.items()}
