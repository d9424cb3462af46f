"""What nobody uses or looks at any more: folders without cases, scripts without callers, pins, old exclusions."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from harness.base.errors import UsageError
from harness.images import source_tree
from harness.plan.points import Planned

_CALLED = ("scripts/*", "docker/*.sh", "docker/*.py")
_CALLERS = (
    "*.md", "*.py", "*.toml", "*.yml", "Makefile", "docs/*.md", ".github/**/*.yml", "docker/*", "scripts/*",
    "harness/**/*.py", "known_answer/*.py",
)  # fmt: skip

LOOK_AGAIN = timedelta(days=365)
"""How long a point may stay excluded until somebody says that the reason still holds."""


@dataclass(frozen=True)
class Tree:
    """What lies around the cases.

    Attributes:
        suites: Folders below that of the cases.
        scripts: Paths of the programs that are there to be called, relative to the root of the tree.
        texts: Text of each file that may call one, by its path.
    """

    suites: Collection[str]
    scripts: Collection[str]
    texts: Mapping[str, str]


def around(cases: Path) -> Tree | None:
    """What lies around the case files, if they are those of the source tree; else None."""
    try:
        here = source_tree.root()
    except UsageError:
        return None
    if cases.resolve() != here / "baselines":
        return None
    callers = [path for pattern in _CALLERS for path in sorted(here.glob(pattern)) if path.is_file()]
    scripts = [path for pattern in _CALLED for path in sorted(here.glob(pattern)) if path.is_file()]
    return Tree(
        suites=[path.name for path in cases.iterdir() if path.is_dir()],
        scripts=[str(path.relative_to(here)) for path in scripts],
        texts={str(path.relative_to(here)): path.read_text(errors="replace") for path in callers},
    )


def leftovers(planned: Sequence[Planned], tree: Tree) -> Iterator[str]:
    """Suites without a case and scripts without a caller."""
    for suite in sorted(set(tree.suites) - {each.suite for each in planned}):
        yield f"suite {suite}: has no case; add one to {suite}/ or remove the folder"
    for script in sorted(tree.scripts):
        # Beside it and in what runs in an image its folder is another one, so the name is what counts.
        name = re.compile(rf"(?<![\w.-]){re.escape(script.rpartition('/')[2])}(?![\w-])")
        path = re.compile(rf"(?<![\w-]){re.escape(script)}(?![\w-])")
        asked = name if script.endswith((".sh", ".py")) else path
        if not any(asked.search(text) for where, text in tree.texts.items() if where != script):
            yield f"{script}: nothing calls it and no page names it; remove it"


def unused_pins(planned: Sequence[Planned], pinned: Collection[tuple[str, str]]) -> Iterator[str]:
    """Base images on which no case runs."""
    for engine, platform in sorted(set(pinned) - {(each.case.engine.name, each.platform) for each in planned}):
        yield f"docker/pins.toml: {engine}.{platform}: no case runs there; remove it or add one"


def old_exclusions(planned: Sequence[Planned], today: date) -> Iterator[str]:
    """Points that were excluded so long ago that nobody may know any more whether the reason holds."""
    for case_file in {each.case_file.id: each.case_file for each in planned}.values():
        for platform in case_file.platforms:
            for index, rule in enumerate(case_file.matrix(platform).exclude):
                where = f"{case_file.path}: exclude[{index}].since"
                if rule.since > today:
                    yield f"{where}: {rule.since} is yet to come"
                elif today - rule.since > LOOK_AGAIN:
                    yield f"{where}: {rule.since} is {(today - rule.since).days} days ago; look again and date it anew"
