"""What stands for a server, with an agent of this host: no Ray, and every end that a server can have."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.base.domain import Server
from harness.host.ports import Ports
from harness.hosts.agent import Agent
from harness.run.stand_in import StandIn


class Bare(Agent):
    """Of a host that has nothing of what this one has."""

    def has(self, path: str) -> bool:
        return False


@pytest.fixture
def bare() -> Iterator[Bare]:
    agent = Bare()
    yield agent
    agent.end()


def run(agent: Agent, program: str, links: dict[str, str] | None = None) -> tuple[int, str]:
    said: list[bytes] = []
    server = Server(
        name="decode",
        role="decode",
        argv=(sys.executable, "-c", program),
        ports={"http": Ports().take()},
        probes=(),
        links=links or {},
        host=agent.address(),
    )
    return StandIn(agent, server, 1.0, said.append).run({"GIVEN": "this"}), b"".join(said).decode()


def test_output_and_status_are_passed_on(bare: Bare) -> None:
    assert run(bare, "import os; print(os.environ['GIVEN'], flush=True); raise SystemExit(7)") == (7, "this\n")


def test_a_signal_becomes_the_status_that_shells_have_for_it(bare: Bare) -> None:
    assert run(bare, "import os; os.kill(os.getpid(), 9)") == (137, "")


def test_a_model_that_the_host_lacks_is_sent(bare: Bare, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    bare_home = bare.home()
    status, said = run(
        bare, "import os; print(os.path.realpath('model'), os.listdir('model'))", {"model": str(tmp_path)}
    )
    assert status == 0
    assert "['config.json']" in said
    assert Path(said.split()[0]) == Path(bare_home) / "models" / tmp_path.name


def test_a_model_that_leads_elsewhere_is_not_sent(bare: Bare, tmp_path: Path) -> None:
    (tmp_path / "weights").symlink_to("/etc/hostname")
    status, said = run(bare, "", {"model": str(tmp_path)})
    assert status == 69
    assert f"decode on 127.0.0.1: {tmp_path} is not there: put it there at this path" in said
