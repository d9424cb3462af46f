"""Every session of the menu on a machine with a container engine and all devices: what nobody has pinned ends none.

Only what is not the question at hand is scripted: devices are taken for granted, images too and what they know of
themselves, and no container is started.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from harness.base.domain import Platform
from harness.base.errors import CannotJudge
from harness.cases.load import load
from harness.cases.serve_settings import UNRESOLVED
from harness.containers import client, image_store, lifecycle
from harness.containers.passthrough import Engine
from harness.host import first_use
from harness.images import base_images, engine_image
from harness.images.engine_image import Build
from harness.plan.points import Planned, everything
from harness.run import model_sources, occupancy, supervise
from harness.run.console import Console
from harness.run.prepare import Options, require_engine
from harness.run.rundir import Checkpoint
from tests.fake.hub_server import COMMIT, Hub, serving
from tests.fake.test_registry import INDEX, Scripted
from tests.helpers import BASELINES, listening, tensors, validated

POINTS = [each for each in everything(load(BASELINES)) if not each.skip]
SESSIONS = sorted({each.session for each in POINTS})
FILES = {"config.json": b"{}", "model.safetensors": tensors()}
SILENT = "127.0.0.1:9"


def of_session(name: str) -> list[Planned]:
    """Of a session every point that is on something else: models, or the base image."""
    found = {
        (each.case.engine.name, tuple(f"{model.name}@{model.revision}" for model in each.case.models())): each
        for each in POINTS
        if each.session == name
    }
    return list(found.values())


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new user on it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker-config"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://{SILENT}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("time.sleep", lambda _: None)  # nobody waits for who does not answer
    monkeypatch.setattr(lifecycle, "unavailable", lambda: "")
    monkeypatch.setattr(client, "engine", lambda: Engine("Docker", "29.1"))
    monkeypatch.setattr(image_store, "image_id", lambda _: None)
    monkeypatch.setattr(occupancy, "visible", lambda _: [])
    monkeypatch.setattr(occupancy, "lease", lambda *_, **__: [])
    monkeypatch.setattr(engine_image, "lacks_base", lambda *_: "")
    monkeypatch.setattr(engine_image, "ensure", lambda *_: ("image:1", f"sha256:{'3' * 64}"))
    monkeypatch.setattr(base_images, "content", lambda reference: reference)
    monkeypatch.setattr("harness.run.runtimes.container", lambda *_: nullcontext("none"))
    monkeypatch.setattr(lifecycle, "is_running", lambda _: False)
    monkeypatch.setattr(lifecycle, "remove", lambda *_: None)
    monkeypatch.setattr("harness.run.data_sources.have", lambda *_: {})
    monkeypatch.setattr("harness.run.ask_flags.ask", lambda *_: None)
    monkeypatch.setattr("harness.run.prepare._settled", lambda *_: "")
    monkeypatch.setattr("harness.run.canary.check", lambda _: [])

    def no_container(*_: object) -> None:
        raise CannotJudge("no container is started here")

    monkeypatch.setattr("harness.run.runtimes.start_container", no_container)
    return tmp_path


def run(points: list[Planned], folder: Path, build: Build) -> tuple[int, dict[str, tuple[str, str]]]:
    """As `harness run` does it: the exit code, and of each point with an error its class and message."""
    options = Options(runtime="docker", build=build)
    require_engine(points, options)
    folder.mkdir()
    code = supervise.run_all(points, folder, options, Console())
    errors = validated(folder / "junit.xml").iter("error")
    return code, {
        next(error.iterancestors("testsuite")).get("name"): (error.get("type"), error.get("message"))
        for error in errors
    }


@pytest.mark.parametrize("session", SESSIONS)
def test_without_a_network_a_session_is_an_error_of_the_network(machine: Path, session: str) -> None:
    points = of_session(session)
    code, errors = run(points, machine / "runs", Build(registry=SILENT))
    assert code == 4
    assert len(errors) == len(points)
    pins = base_images.load()
    for each in points:
        kind, message = errors[f"{each.suite}.{each.platform}.{each.name}"]
        unresolved = not pins[each.case.engine.name, each.platform].resolved
        if any(model.repo for model in each.case.models()) or unresolved:
            assert kind == "network", message
            assert len(message.splitlines()) == 1
    assert not list(first_use.everything())


@pytest.fixture
def hub(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """It has every model of the menu."""
    assert machine
    with serving() as found:
        for each in POINTS:
            for model in each.case.models():
                if model.repo:
                    found.add(model.repo, FILES, COMMIT if model.revision == UNRESOLVED else model.revision or "")
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", found.address)
        files = f"{found.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", files)
        yield found


@pytest.mark.parametrize("session", sorted({each.session for each in POINTS if each.unpinned}))
def test_an_unpinned_model_is_taken_at_first_use(machine: Path, hub: Hub, session: str) -> None:
    points = [each for each in of_session(session) if each.unpinned]
    _, errors = run(points, machine / "runs", Build(allow_unpinned=True, registry=SILENT))
    repos = {repo for each in points for repo in each.unpinned}
    assert {each.name: each.value for each in first_use.everything()} == dict.fromkeys(repos, COMMIT)
    assert not any(kind == "network" and "commit" in message for kind, message in errors.values()), errors
    for each in points:
        found = json.loads((machine / "runs" / each.folder / "result.json").read_text())
        for repo in each.unpinned:
            assert found["provenance"][f"model.{repo}.revision"] == COMMIT
            assert f"model {repo} at {COMMIT}" in found["provenance"]["unpinned"]
    assert hub.asked


UNRESOLVED_BASES = [pair for pair, pin in base_images.load().items() if not pin.resolved]


def on_base(pair: tuple[str, str]) -> list[Planned]:
    return [each for each in POINTS if (each.case.engine.name, each.platform) == pair]


@pytest.mark.parametrize("pair", UNRESOLVED_BASES, ids="-".join)
def test_an_unresolved_base_image_is_taken_at_first_use(
    machine: Path, monkeypatch: pytest.MonkeyPatch, pair: tuple[str, Platform]
) -> None:
    monkeypatch.setattr(model_sources, "have", lambda *_, **__: Checkpoint(path=str(machine)))
    points = on_base(pair)
    assert points
    built: list[str] = []

    def ensure(engine: str, platform: Platform, build: Build, _: object) -> tuple[str, str]:
        built.append(engine_image.recipe(engine, platform, build).base)
        return "image:1", f"sha256:{'3' * 64}"

    monkeypatch.setattr(engine_image, "ensure", ensure)
    registry = Scripted()
    registry.daemon_threads = True
    with listening(registry):
        code, errors = run(points, machine / "runs", Build(registry=registry.place))
    assert code == 4
    assert {message for _, message in errors.values()} == {"no container is started here"}
    [taken] = first_use.everything()
    assert taken.value == INDEX
    assert {base.partition("@")[2] for base in built} == {INDEX}
    # The registry moved on or is gone: it is the same image.
    again = engine_image.recipe(*pair, replace(Build(), registry=SILENT))
    assert again.base.endswith(f"@{INDEX}")
    notes = (machine / "runs" / points[0].folder / "events.jsonl").read_text()
    assert f"unpinned: base image resolved at first use: {taken.name}@{INDEX}, not pinned by the project" in notes


def test_there_is_something_to_see() -> None:
    assert UNRESOLVED_BASES
    assert any(each.unpinned for each in POINTS)
