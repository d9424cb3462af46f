"""Points on the nodes of a Ray cluster: where they run, what comes back, and what becomes of them when one dies."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.host import files
from harness.host.ports import Ports
from harness.reports.result import Result
from tests.fake.conftest import ONE_POINT, QUICK, SMALL
from tests.fake.hosts import Nvidia
from tests.fake_engine.install import install
from tests.helpers import begin, edited, end, harness, left_in, patched, run, serves, validated, wait_for
from tests.hosts.conftest import PATIENCE, Ray

WAITING = {"timeouts/start": 400.0}
"""The machine may be busy, and servers are slow on purpose."""
POINTS: dict[str, Any] = {
    "a": {},
    "wide": {"serve": {"tensor_parallel_size": 2}},
    "none": {"serve": {"tensor_parallel_size": 4}},
}
NOWHERE = "no node of the cluster can run points: there is none with processors (`ray start --num-cpus`)"
ONE, OTHER, THIRD = "127.0.0.2", "127.0.0.3", "127.0.0.4"


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where nodes keep what is sent to them; nothing may run on in it."""
    there = tmp_path / "nodes"
    there.mkdir()
    monkeypatch.setenv("TMPDIR", str(there))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield there
    assert left_in(tmp_path) == []


def told(
    folder: Path, ray: Ray, points: dict[str, Any], server: dict[str, Any], platform: str = "cpu"
) -> list[str | Path]:
    """Arguments of a run of one case with these points, on a scripted engine that does this."""
    cases = edited(
        folder / "cases",
        ONE_POINT,
        SMALL[ONE_POINT] | QUICK | WAITING | {"platforms": [platform], "matrix/point": points},
    )
    return ["--ray", ray.address, "--cases", cases, "--engine-python", install(folder / "engine", {"server": server})]


def folder_of(runs: Path, point: str) -> Path:
    return runs / f"{ONE_POINT.replace('/', '.')}.point={point}"


def result_of(runs: Path, point: str) -> Result:
    return Result.model_validate_json((folder_of(runs, point) / "result.json").read_bytes())


def verdicts(runs: Path) -> dict[str, str]:
    """Each point of the one JUnit file, which must have it once."""
    suites = list(validated(runs / "junit.xml").iter("testsuite"))
    assert max(Counter(each.get("name") for each in suites).values()) == 1
    found = {}
    for suite in suites:
        kinds = {child.tag for case in suite.iter("testcase") for child in case}
        point = suite.get("name").partition("point=")[2].rstrip("]")
        found[point] = next((kind for kind in ("error", "failure", "skipped") if kind in kinds), "pass")
    return found


def hosts(runs: Path, points: list[str]) -> list[str]:
    return [result_of(runs, point).provenance["host.address"] for point in points]


def test_points_go_to_the_nodes_that_have_their_devices(tmp_path: Path, ray: Ray, homes: Path) -> None:
    """Of a run that begins from files that no node has, each point comes back with its run directory."""
    arguments = told(tmp_path, ray, POINTS, {}, platform="cuda")
    nowhere = harness("run", "--runs", tmp_path / "none", *arguments)
    assert nowhere.returncode == 4
    assert nowhere.stderr == f"harness: {NOWHERE}\n"
    for address, gpus in ((ONE, 1), (OTHER, 2)):
        env = Nvidia(tmp_path / address, gpus).env
        ray.add(address, json.dumps({"cuda": gpus}), env, cpus=gpus)
    done = run(tmp_path, *arguments)
    assert done.code == 4, done.output
    assert verdicts(done.runs) == {"a": "pass", "wide": "pass", "none": "error"}, done.output
    assert hosts(done.runs, ["a", "wide"]) == [ONE, OTHER]
    assert "needs 4 cuda devices on one, and the node with the most has 2" in done.output
    for point in ("a", "wide"):
        judged = harness("assert", folder_of(done.runs, point))
        assert judged.returncode == 0, judged.stdout + judged.stderr
    assert list(homes.glob("inference-harness-*")) == []


def scripted(folder: Path, server: dict[str, Any]) -> None:
    """From now on servers do this; one that is just starting reads the one or the other."""
    files.write(folder / "engine" / "faults.json", json.dumps({"server": server}))


def begin_three(folder: Path, ray: Ray) -> subprocess.Popen[str]:
    """Three points on two nodes, of which two begin at once; their servers will not be ready."""
    ray.add(ONE)
    ray.add(OTHER)
    return begin(folder, *told(folder, ray, {"a": {}, "b": {}, "c": {}}, {"start_after": 300.0}))


def test_a_node_and_then_the_driver_are_killed_and_each_point_has_one_verdict(
    tmp_path: Path, ray: Ray, homes: Path
) -> None:
    """A point whose node is lost runs elsewhere, and its verdict says so; the others run when somebody resumes."""
    process, runs = begin_three(tmp_path, ray), tmp_path / "runs"
    wait_for(lambda: len(list(runs.glob("*/case.json"))) == 2, PATIENCE)
    (lost,) = [path.parent for path in runs.glob("*/case.json") if _host(path) == ONE]
    point = lost.name.partition("point=")[2]
    ray.kill(ONE)
    wait_for((runs / "lost-1" / lost.name).is_dir, PATIENCE)
    scripted(tmp_path, {})
    ray.add(THIRD)
    wait_for((lost / "result.json").is_file, PATIENCE)
    scripted(tmp_path, {"start_after": 300.0})
    said = end(process, signal.SIGKILL, tmp_path).output
    assert f"infrastructure: node lost: {ONE}" in said
    wait_for(lambda: left_in(tmp_path) == [], 30)
    scripted(tmp_path, {})
    done = harness("run", "--resume", runs)
    assert done.returncode == 0, done.stdout + done.stderr
    # The node that joined may have begun another one before the driver was killed.
    assert re.search(r"^(2 of 3 points to run; verdicts of before: 1|1 of 3 .*: 2)$", done.stdout, re.MULTILINE)
    assert verdicts(runs) == {"a": "pass", "b": "pass", "c": "pass"}
    facts = result_of(runs, point).provenance
    assert facts["host.address"] == THIRD
    assert facts["host.before.1"].startswith(f"infrastructure: node lost: {ONE}")


def _host(case: Path) -> str:
    return str(json.loads(case.read_text())["host"]["address"])


@pytest.mark.long  # a killed driver stands for it
def test_a_signal_ends_every_point_on_every_node_and_another_run_waits_until_then(
    tmp_path: Path, ray: Ray, homes: Path
) -> None:
    process, runs = begin_three(tmp_path, ray), tmp_path / "runs"
    wait_for(lambda: sum(map(serves, homes.glob("*/runs/*"))) == 2, PATIENCE)
    other = tmp_path / "other"
    second = begin(other, *told(other, ray, {"a": {}}, {}))
    wait_for(lambda: len(list(homes.glob("*/baselines"))) == 4, PATIENCE)  # it has an agent on both
    time.sleep(4)
    assert len(list(homes.glob("*/runs/*/case.json"))) == 2
    began = time.monotonic()
    done = end(process, signal.SIGTERM, tmp_path)
    assert time.monotonic() - began < 30
    assert done.code == 130, done.output
    assert set(verdicts(runs)) == {"a", "b", "c"}
    interrupted = [json.loads(path.read_text())["exit_code"] for path in runs.glob("*/result.json")]
    assert interrupted == [130, 130]
    after = end(second, None, other, PATIENCE)
    assert after.code == 0, after.output


BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "ray":
            raise ImportError("ray is imported")

sys.meta_path.insert(0, Blocked())
from harness.__main__ import main
main()
"""


def usually(folder: Path) -> list[str | Path]:
    cases = edited(folder / "cases", ONE_POINT, SMALL[ONE_POINT] | QUICK)
    return ["run", "--runs", folder / "runs", "--cases", cases, "--engine-python", install(folder / "engine", {})]


def test_without_ray_nothing_of_it_is_imported(tmp_path: Path) -> None:
    usual = usually(tmp_path)
    done = patched(BLOCKED, *usual)
    assert done.returncode == 0, done.stdout + done.stderr
    done = patched(BLOCKED, "run", "--runs", tmp_path / "none", *usual[3:], "--ray", "127.0.0.1:6379")
    assert done.returncode == 2
    assert done.stderr == "harness: --ray: Ray is not installed; pip install 'inference-harness[ray]'\n"
    assert not (tmp_path / "none").exists()


def test_addresses_where_no_cluster_is(tmp_path: Path) -> None:
    usual = usually(tmp_path)
    done = harness(*usual, "--ray", "here")
    assert done.returncode == 2
    assert done.stderr == "harness: --ray here: must be like HOST:PORT, as `ray start --head` says it\n"
    nobody = f"127.0.0.1:{Ports().take()}"
    done = harness(*usual, "--ray", nobody)
    assert done.returncode == 4
    assert done.stderr.startswith(f"harness: --ray {nobody}: nobody answers there: ")
    assert done.stderr.count("\n") == 1
    for more in ("--keep", f"--reuse={tmp_path}"):
        done = harness(*usual, "--ray", nobody, more)
        assert done.returncode == 2
        assert f"{more.partition('=')[0]}: not with --ray" in done.stderr
