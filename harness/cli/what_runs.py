"""What the options of a command that runs points say, all together: which points, and how they are run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from harness.base.errors import UsageError
from harness.cli.options import (
    CASES,
    AttachOptions,
    BuildOptions,
    Cases,
    Checkpoints,
    Models,
    RunOptions,
    first_given,
    own_models,
)

if TYPE_CHECKING:
    from harness.plan.narrowing import Narrowing
    from harness.plan.points import Planned
    from harness.run.prepare import Options

_NAMED = 5


@dataclass(frozen=True)
class OnlyOptions:
    """Which of the cases that are named are meant."""

    suite: Annotated[str | None, typer.Option("--suite", help="Only cases of this suite.")] = None
    keywords: Annotated[
        str | None,
        typer.Option(
            "-k",
            metavar="EXPRESSION",
            help="Only points with these words in their names, as in pytest: 'known_answer and not (tp=2 or rocm)'.",
        ),
    ] = None

    def narrowing(self) -> Narrowing:
        """What the options say."""
        from harness.plan.narrowing import Narrowing

        return Narrowing(self.suite, self.keywords)


@dataclass(frozen=True)
class CaseOptions:
    """Where cases are, and which models they run with."""

    checkpoints: Checkpoints = ""
    model: Models = None
    cases: Cases = CASES

    def points(
        self,
        wanted: list[str],
        platform: str | None,
        *,
        narrowed: Narrowing | None = None,
        at_most: int | None = None,
        measured: bool = False,
        attached: bool = False,
        hosts: bool = False,
    ) -> list[Planned]:
        """What is to run, as of :func:`harness.run.selection.select`, with the caller's models."""
        from harness.images.pinned_versions import version
        from harness.plan.points import with_own
        from harness.run.selection import select

        own = own_models(self.model)
        found = select(
            self.cases,
            wanted=wanted,
            narrowed=narrowed,
            platform=platform,
            at_most=at_most,
            checkpoints=self.checkpoints,
            versions=version,
            measured=measured,
            attached=attached,
            hosts=hosts,
        )
        return with_own(found, own)

    def one_point(
        self, wanted: str, platform: str | None, why: str, *, measured: bool = False, attached: bool = False
    ) -> Planned:
        """The only point that runs of those that are meant.

        Args:
            wanted: Id, pattern or file.
            platform: As of :meth:`points`.
            why: Why there may be no others, in words.
            measured: As of :meth:`points`.
            attached: The same.

        Raises:
            UsageError: There are others.
        """
        found = self.points([wanted], platform, measured=measured, attached=attached)
        running = [each for each in found if not each.skip]
        if len(running) > 1:
            names = ", ".join(each.id for each in running[:_NAMED])
            more = f" and {len(running) - _NAMED} more" if len(running) > _NAMED else ""
            raise UsageError(f"{wanted} has several points, and {why}; name one of {names}{more}")
        return running[0]


def run_options(where: RunOptions, how: BuildOptions, attached: AttachOptions) -> Options:
    """How to run, as all options together say it.

    Raises:
        UsageError: They contradict one another.
    """
    attachment = attached.attachment()
    if attachment and (given := first_given(where) or first_given(how)):
        raise UsageError(f"{given}: not with servers that run already: nothing is started or built")
    return replace(where.options(how.build()), attachment=attachment)
