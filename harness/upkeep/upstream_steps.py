"""The steps that a checkout of an engine lists for its own CI."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import yaml

from harness.base.errors import UsageError
from harness.plan.points import below
from harness.upstream.steps import Step, read

_FOLDER = ".buildkite/test_areas"
"""Of vLLM. SGLang selects nearly all of its tests by one list, from which nothing can be taken for a suite."""


def steps(root: Path, *, switched_off: bool = False) -> list[Step]:
    """All steps that a checkout lists; none where it has no such lists.

    Args:
        root: Of the checkout.
        switched_off: Those too that stand in comments only.

    Raises:
        UsageError: A list is no YAML.
    """
    found: list[Step] = []
    for path in sorted((root / _FOLDER).glob("*.y*ml")):
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
            found += read(path.relative_to(root).as_posix(), text, lambda name: (root / name).is_dir())
        except (yaml.YAMLError, OSError, RecursionError) as error:
            raise UsageError(f"{path}: no list of steps: {' '.join(str(error).split())[:200]}") from None
    return [step for step in found if switched_off or not step.switched_off]


def missing(wanted: Iterable[str], have: Iterable[str]) -> list[str]:
    """Those of ``wanted`` that no path of ``have`` covers."""
    covers = list(have)
    return [path for path in wanted if not any(below(path, each) for each in covers)]
