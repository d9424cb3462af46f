"""What a comparison of two runs found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """One item of which a comparison says something else.

    Attributes:
        at: Characters that are equal before the texts part.
        main: What the main run says from there on, cut short.
        other: What the comparison says from there on.
    """

    item: str
    at: int
    main: str
    other: str


@dataclass(frozen=True)
class Agreement:
    """Texts of a comparison next to those of the main run.

    Attributes:
        compared: Items that both runs answered.
        equal: Those with the same text, to the character.
        differing: The first of the others, in the order of their ids.
    """

    compared: int
    equal: int
    differing: tuple[Difference, ...] = ()
