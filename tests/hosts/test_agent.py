"""What an agent does on its host, and what is left of it when it dies. Without Ray: it knows none."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from harness.base.errors import UsageError
from harness.hosts.agent import Agent, pack, unpack
from harness.hosts.own_code import copied
from tests.helpers import REPOSITORY, wait_for

GROUP = "sleep 300 & echo $!; trap '' TERM; echo $$; wait; wait"
"""A program that does not hear SIGTERM, and one that it has started."""


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = Agent()
    yield made
    made.end()
    assert not Path(made.home()).exists()


def started(agent: Agent, script: str, grace: float = 0.2) -> tuple[int, str]:
    log = f"{agent.home()}/log"
    return agent.start(["sh", "-c", script], env={"A": "b"}, folder=agent.home(), log=log, grace=grace), log


def pids(log: Path) -> list[int]:
    wait_for(lambda: log.is_file() and len(log.read_text().split()) == 2)
    return [int(word) for word in log.read_text().split()]


def are_gone(found: list[int]) -> bool:
    return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in found)


def test_a_program_runs_where_and_as_it_is_told(agent: Agent) -> None:
    number, log = started(agent, "pwd; echo $A; exit 3")
    wait_for(lambda: agent.poll(number) is not None)
    assert agent.poll(number) == 3
    assert agent.get(log) == f"{agent.home()}\nb\n".encode()
    assert agent.get(log, 2) == agent.get(log)[2:]
    assert agent.get(f"{log}.none") == b""


def test_a_signal_goes_to_the_whole_group(agent: Agent) -> None:
    number, log = started(agent, GROUP)
    found = pids(Path(log))
    agent.signal(number, signal.SIGKILL)
    wait_for(lambda: agent.poll(number) == -signal.SIGKILL)
    assert are_gone(found)


def test_what_does_not_hear_is_killed_with_what_it_started(agent: Agent) -> None:
    _, log = started(agent, GROUP)
    found = pids(Path(log))
    agent.end()
    assert are_gone(found)


def test_a_program_that_is_not_there_says_so(agent: Agent) -> None:
    number = agent.start(["/no/such"], env={}, folder=agent.home(), log=f"{agent.home()}/log")
    wait_for(lambda: agent.poll(number) is not None)
    assert agent.poll(number) == 127
    assert agent.get(f"{agent.home()}/log") == b"/no/such: No such file or directory\n"


def test_the_folder_of_one_that_was_killed_goes_with_the_next(agent: Agent, tmp_path: Path) -> None:
    script = "from harness.hosts.agent import Agent; print(Agent().home(), flush=True); input()"
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    argv = [sys.executable, "-c", script]
    with subprocess.Popen(argv, env=env, cwd=REPOSITORY, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout
        left = Path(process.stdout.readline().strip())
        Agent().end()
        assert left.is_dir(), "it lives"
        process.kill()
    with subprocess.Popen(["sleep", "300"], cwd=left) as point:
        Agent().end()
        assert left.is_dir(), "something still runs there"
        point.kill()
    Agent().end()
    assert not left.exists()
    assert Path(agent.home()).is_dir()


AGENT = """
import sys, time
from harness.hosts.agent import Agent
Agent().start(["sh", "-c", sys.argv[1]], env={}, folder="/", log=sys.argv[2], grace=0.2)
time.sleep(300)
"""


@pytest.mark.parametrize("children_too", [False, True])
def test_programs_end_with_an_agent_that_is_killed(tmp_path: Path, *, children_too: bool) -> None:
    """Ray kills also what its worker has started itself, and nothing that this has started."""
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", AGENT, GROUP, tmp_path / "log"], env=env, cwd=REPOSITORY)
    found = pids(tmp_path / "log")
    children = psutil.Process(process.pid).children()
    process.kill()
    for each in children if children_too else ():
        each.kill()
    process.wait()
    wait_for(lambda: are_gone(found))


def test_a_folder_comes_back_as_it_was(tmp_path: Path) -> None:
    there = tmp_path / "there"
    (there / "logs" / "empty").mkdir(parents=True)
    (there / "logs" / "a.log").write_bytes(b"\0text")
    (there / "link").symlink_to("/etc/passwd")
    unpack(pack(there), tmp_path / "here")
    found = {path.relative_to(tmp_path / "here").as_posix() for path in (tmp_path / "here").rglob("*")}
    assert found == {"logs", "logs/empty", "logs/a.log"}
    assert (tmp_path / "here" / "logs" / "a.log").read_bytes() == b"\0text"
    unpack(pack(tmp_path / "none"), tmp_path / "empty")
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("../outside", tarfile.REGTYPE, "leads out of the folder"),
        ("a/../../outside", tarfile.REGTYPE, "leads out of the folder"),
        ("link", tarfile.SYMTYPE, "is no plain file"),
        ("pipe", tarfile.FIFOTYPE, "is no plain file"),
    ],
)
def test_what_leads_out_of_the_folder_is_refused(name: str, kind: bytes, said: str, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd" if kind == tarfile.SYMTYPE else ""
        archive.addfile(member)
    with pytest.raises(UsageError, match=said):
        unpack(packed.getvalue(), tmp_path / "here")
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("damage", [b"", b"no archive", pack(REPOSITORY / "scripts")[:100]])
def test_what_is_no_archive_is_said(damage: bytes, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no archive came from the host"):
        unpack(damage, tmp_path / "here")


def test_the_harness_runs_from_the_copy_that_is_sent(tmp_path: Path) -> None:
    copied(tmp_path)
    script = "import harness; print(harness.__file__); from harness.engines import ENGINES; print(sorted(ENGINES))"
    argv = [sys.executable, "-c", script]
    said = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said[0] == str(tmp_path / "harness" / "__init__.py")
    assert "'vllm'" in said[1]


def test_what_nobody_asks_after_is_ended(agent: Agent) -> None:
    _, log = started(agent, GROUP)
    found = pids(Path(log))
    agent.end_unheard(2.0)
    wait_for(lambda: are_gone(found))


def test_what_somebody_asks_after_goes_on(agent: Agent) -> None:
    number, _ = started(agent, "sleep 4")
    agent.end_unheard(2.0)
    wait_for(lambda: agent.poll(number) is not None)
    assert agent.poll(number) == 0


def test_what_a_host_lacks_is_said(tmp_path: Path) -> None:
    copied(tmp_path)
    (metadata,) = tmp_path.glob("*.dist-info/METADATA")
    more = "Requires-Dist: no-such-thing>=2\nRequires-Dist: psutil<1\nRequires-Dist: also-none; extra == 'x'\n"
    metadata.write_text(metadata.read_text().replace("Requires-Dist:", f"{more}Requires-Dist:", 1))
    argv = [sys.executable, "-c", "from harness.hosts.own_code import lacking; print(*lacking(), sep='\\n')"]
    said = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == ["no-such-thing>=2", f"psutil<1, and there is {psutil.__version__}"]
