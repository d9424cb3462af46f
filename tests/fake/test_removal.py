"""Containers that vanish while they are looked at or removed: others use the container engine too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.containers import lifecycle
from harness.host.ownership import CONTAINER, Label
from tests.fake.engine_api import EngineApi, serving

LABEL = Label("run", "/runs/case", "")


@dataclass
class Busy(EngineApi):
    """Knows containers of ours, of which another is already removing some.

    Attributes:
        there: Ids of those that are listed.
        gone: Of those that are there no more when they are asked for.
        taken: How often the removal of each is answered with a conflict.
        fails: Whether the other gives up then, and has not removed it.
    """

    there: list[str] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    taken: int = 0
    fails: bool = False

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if path == "/_ping":
            return 200, None
        if path == "/containers/json":
            return 200, [{"Id": each} for each in self.there]
        if not path.startswith("/containers/"):
            return super().answer(method, path, body)
        container = path.split("/")[2]
        if container in self.gone:
            return 404, {"message": f"No such container: {container}"}
        if method == "DELETE":
            return self._remove(container)
        return 200, {"Id": container, "Config": {"Labels": LABEL.under(CONTAINER)}, "State": {"Status": "running"}}

    def _remove(self, container: str) -> tuple[int, Any]:
        if not self.taken:
            self.removed += 1
            self.gone.add(container)
            return 204, None
        self.taken -= 1
        if not self.taken and not self.fails:
            self.gone.add(container)
        return 409, {"message": f"removal of container {container} is already in progress"}


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Busy]:
    made = Busy(there=["a", "b"])
    with serving(made, tmp_path / "engine.sock") as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        yield made


def test_one_that_vanishes_from_the_list_is_not_ours_any_more(api: Busy) -> None:
    api.gone.add("a")
    assert [(each.id, each.label) for each in lifecycle.ours()] == [("b", LABEL)]


@pytest.mark.parametrize("fails", [False, True])
def test_one_that_another_is_removing_is_gone_in_the_end(api: Busy, fails: bool) -> None:
    api.taken, api.fails = 2, fails
    lifecycle.remove("a")
    assert api.gone == {"a"}
    assert api.taken == 0
    assert api.removed == int(fails), "removed here only if the other did not"


def test_one_that_another_never_has_done_with_is_an_error(api: Busy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "TIMEOUT", 0.5)
    api.taken = 1000
    with pytest.raises(lifecycle.ContainerFailed, match="already in progress"):
        lifecycle.remove("a")
