"""What every case is on every platform, as `harness show` prints it: a change of a case or an engine module shows here.

To accept what changed: `nox -s tests -- tests/unit/test_show.py --snapshot-update`.
"""

from __future__ import annotations

import difflib

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from harness.cases.load import load
from harness.devices.accelerators import on_paper
from harness.images import pinned_versions
from harness.plan.points import Planned, everything
from harness.plan.show import show
from tests.helpers import BASELINES


class TextFile(SingleFileSnapshotExtension):
    """One readable file a test."""

    file_extension = "txt"
    _write_mode = WriteMode.TEXT


GROUPS: dict[str, list[Planned]] = {}
for point in everything(load(BASELINES), versions=pinned_versions.version):
    GROUPS.setdefault(f"{point.suite}.{point.case_file.name}.{point.platform}", []).append(point)


@pytest.mark.parametrize("name", GROUPS)
def test_show(name: str, snapshot: SnapshotAssertion) -> None:
    first, *others = (show(each, on_paper(each.platform)) for each in GROUPS[name])
    text = first
    for each, shown in zip(GROUPS[name][1:], others, strict=True):
        changes = difflib.unified_diff(first.splitlines(), shown.splitlines(), n=0, lineterm="")
        lines = [line for line in changes if line.startswith(("-", "+")) and not line.startswith(("---", "+++"))]
        text += f"\n## {each.id} differs in\n" + "\n".join(lines) + "\n"
    assert text == snapshot(extension_class=TextFile)
