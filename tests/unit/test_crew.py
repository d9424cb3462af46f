"""Whether points run side by side, and what the harness of one of them is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.main import get_command

from harness.base.domain import Device
from harness.base.errors import UsageError
from harness.cli import crew as commands
from harness.cli.main import app
from harness.cli.options import AttachOptions, BuildOptions, RunOptions
from harness.devices import accelerators
from harness.devices.accelerators import Seen
from harness.plan.points import Planned
from harness.run.attachment import Attachment
from harness.run.places import Here
from harness.run.prepare import Options
from harness.run.selection import matching
from harness.run.side_by_side import Crew
from tests.helpers import BASELINES


@pytest.fixture(scope="module")
def chosen() -> list[Planned]:
    found = matching(BASELINES, wanted=["mtp/known_answer_k*"], platform="cuda")
    return [each for each in found if not each.skip]


@pytest.fixture
def four(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with four accelerators."""
    seen = Seen(tuple(Device(str(index), f"GPU-{index}") for index in range(4)))
    monkeypatch.setattr(accelerators, "look", lambda _platform: seen)


def crew(
    given: str | None,
    chosen: list[Planned],
    *,
    options: Options | None = None,
    devices: int | None = None,
    keep: bool = False,
) -> Crew | None:
    return commands.crew(given, chosen, options or Options(), devices=devices, keep=keep, told=["--cases", "x"])


def here(together: Crew) -> Here:
    places = together.places(Path(), lambda _: None)
    assert isinstance(places, Here)
    return places


@pytest.mark.usefixtures("four")
def test_several_accelerators_are_used_unless_somebody_says_so(chosen: list[Planned]) -> None:
    together = crew(None, chosen)
    assert together is not None
    assert (together.most, here(together).devices) == (None, None)
    assert crew("1", chosen) is None
    alone = matching(BASELINES, wanted=["mtp/gemma4_e4b"], platform="cuda")
    assert crew(None, alone * 2, devices=1) is None
    assert crew(None, chosen, devices=1) is not None  # they share it
    assert crew(None, chosen[:1]) is None
    assert crew(None, chosen, keep=True) is None
    limited = crew("3", chosen, devices=2)
    assert limited is not None
    assert (limited.most, here(limited).devices) == (3, 2)


def test_without_accelerators_somebody_has_to_say_so(chosen: list[Planned], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerators, "look", lambda _platform: Seen())
    assert crew(None, chosen) is None
    assert crew("auto", chosen) is not None


@pytest.mark.parametrize("given", ["0", "-1", "1.5", "two", "", "1025", "٣"])
def test_a_number_of_points_is_one(given: str, chosen: list[Planned]) -> None:
    with pytest.raises(UsageError, match=r"^--jobs .*: must be auto, or a number from 1 to 1024$"):
        crew(given, chosen)


def test_what_needs_the_host_for_itself_says_so(chosen: list[Planned]) -> None:
    with pytest.raises(UsageError, match="--jobs 2: not with --keep"):
        crew("2", chosen, keep=True)
    attached = Options(attachment=Attachment({"server": "http://127.0.0.1:8000"}))
    with pytest.raises(UsageError, match="--jobs auto: not with --url and --attach"):
        crew("auto", chosen, options=attached)


@pytest.mark.usefixtures("four")
def test_the_harness_of_a_point_is_told_what_the_run_was_told(chosen: list[Planned]) -> None:
    """Every option that says how points run reaches the hidden command, and means there what it meant here."""
    where = RunOptions("local", Path("/engine/bin/python"), Path("envs"), assume_free=True, wait_for_devices=60.0)
    how = BuildOptions(base_image="image", allow_unpinned=True, ca_bundle=Path("ca.pem"), build_network="host")
    attached = AttachOptions(measure_only=True)
    words = commands.arguments(where, how, attached, cases=Path("my cases"), checkpoints="", model=["a=/x", "b=/y"])
    together = crew("auto", chosen)
    assert together is not None
    command, *rest = here(together).command(chosen[0])
    assert rest == [chosen[0].point, "--platform", "cuda", "--cases", "x"]
    found = get_command(app).commands[command].make_context("point", [*rest[:-2], *words, "--run-dir", "r"])  # type: ignore[attr-defined]
    given = {**vars(where), **vars(how), "measure_only": True, "cases": Path("my cases"), "model": ["a=/x", "b=/y"]}
    assert {name: found.params[name] for name in given} == given
