"""Options about how sure verdicts are, and what they are compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

FAMILY_WISE = 0.05

FamilyWise = Annotated[
    float,
    typer.Option(
        "--family-wise",
        metavar="RATE",
        min=1e-9,
        max=0.5,
        help="How often all measured baselines of the cases chosen are red for nothing, at most, taken together.",
    ),
]
ReferenceRuns = Annotated[
    Path | None,
    typer.Option(
        "--reference",
        metavar="RUNS",
        help="A stored run of the same case, or a folder of such: answers are compared with its answers, one by one.",
    ),
]
AllowInconclusive = Annotated[
    bool, typer.Option("--allow-inconclusive", help="Exit with 0 where nothing is worse than undecided; not green.")
]
