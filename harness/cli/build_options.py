"""Options of the commands that run several builds of an engine, each declared once."""

from __future__ import annotations

from typing import Annotated

import typer

Make = Annotated[
    str,
    typer.Option(
        "--make",
        metavar="COMMAND",
        help="Makes a build of its name: {} in it becomes the name, and the last line that it writes is the "
        "interpreter, wheel or image.",
    ),
]
Quantities = Annotated[
    list[str] | None,
    typer.Option("--quantity", metavar="NAME", help="Compare only this one; may be repeated. All if not given."),
]
Margins = Annotated[
    list[str] | None,
    typer.Option("--margin", metavar="NAME=SHARE", help="Loss that matters, as throughput=3%; may be repeated."),
]
FalseAlarm = Annotated[
    float | None,
    typer.Option(
        "--false-alarm",
        min=1e-9,
        max=0.4,
        help="How often equal builds are called worse in anything of a case, at most; 0.05 if not given.",
    ),
]
