"""What the options of a command that runs points say, all together: which points, and how they are run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.base.errors import UsageError
from harness.cli.options import AttachOptions, BuildOptions, RunOptions, first_given

if TYPE_CHECKING:
    from harness.plan.points import Planned
    from harness.run.prepare import Options


def points(
    cases: Path,
    wanted: list[str],
    platform: str | None,
    checkpoints: str,
    own: tuple[tuple[str, str], ...],
    attached: AttachOptions,
    options: Options,
    *,
    suite: str | None = None,
    at_most: int | None = None,
) -> list[Planned]:
    """What is to run, as all options together say it."""
    from harness.images.pinned_versions import version
    from harness.plan.points import with_own
    from harness.run.selection import select

    found = select(
        cases,
        wanted=wanted,
        suite=suite,
        platform=platform,
        at_most=at_most,
        checkpoints=checkpoints,
        versions=version,
        measured=attached.measure_only,
        attached=options.attachment is not None,
    )
    return with_own(found, own)


def run_options(where: RunOptions, how: BuildOptions, attached: AttachOptions) -> Options:
    """How to run, as all options together say it.

    Raises:
        UsageError: They contradict one another.
    """
    attachment = attached.attachment()
    if attachment and (given := first_given(where) or first_given(how)):
        raise UsageError(f"{given}: not with servers that run already: nothing is started or built")
    return replace(where.options(how.build()), attachment=attachment)
