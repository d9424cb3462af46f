"""The canary's judgement of recorded answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.base.domain import Platform
from harness.cases.load import load
from harness.engines import ENGINES
from harness.plan.points import everything
from harness.run import canary_checks
from harness.run.canary_checks import Imports, Live, Needs
from tests.helpers import BASELINES, edited

SERVER = "vllm.entrypoints.openai.api_server"
CUDA_13 = {"version": "2.13.0+cu130", "cuda": "13.0", "hip": ""}
CUDA_12 = {"version": "2.9.0+cu129", "cuda": "12.9", "hip": ""}
ROCM = {"version": "2.9.0+rocm7.1", "cuda": "", "hip": "7.1.52802"}
CPU = {"version": "2.13.0+cpu", "cuda": "", "hip": ""}

NEEDS = Needs(
    engine="vllm",
    platform="cuda",
    modules=(SERVER,),
    transports=(("nixl", "UCX"),),
    data={"/data/q.jsonl": "ab"},
    harness="0.1.0",
    image=True,
)
IMPORTS = Imports({SERVER: "", "torch": ""}, {"nixl UCX": ""}, CUDA_13)
LIVE = Live(2000, "0.1.0", {"HOME (/tmp)": ""}, {"/data/q.jsonl": "ab"})
VERSIONS = {"python": "3.11.2", "vllm": "0.32.0", "torch": "2.13.0+cu130"}


def wrong(
    needs: Needs = NEEDS, imports: Imports = IMPORTS, live: Live = LIVE, driver: str | None = "13.0"
) -> list[tuple[str, str]]:
    return [
        (each.check, each.text) for each in canary_checks.judge(needs, VERSIONS, imports, live, driver) if not each.ok
    ]


def test_what_is_in_place_passes_and_says_what_it_is() -> None:
    found = canary_checks.judge(NEEDS, VERSIONS, IMPORTS, LIVE, "13.0")
    assert all(each.ok for each in found)
    assert {each.check: each.text for each in found}[f"import {SERVER}"] == "vllm 0.32.0"
    assert [each.check for each in found][-2:] == ["user", "driver"]


def test_a_library_that_a_setting_needs_is_looked_for() -> None:
    needs = replace(NEEDS, libraries={"all2all-backend deepep_low_latency": "deep_ep"})
    assert wrong(needs) == []
    ((check, text),) = wrong(needs, replace(IMPORTS, absent=["deep_ep"]))
    assert check == "all2all-backend deepep_low_latency"
    assert text.startswith("needs deep_ep, which is not in the engine's environment; ")


@pytest.mark.parametrize(
    ("engine", "flags", "module"),
    [
        ("vllm", {"all2all-backend": "deepep_high_throughput"}, "deep_ep"),
        ("vllm", {"all2all-backend": "mori_low_latency"}, "mori"),
        ("vllm", {"all2all-backend": "allgather_reducescatter"}, None),
        ("vllm", {"attention-backend": "FLASHINFER_MLA"}, "flashinfer"),
        ("vllm", {"kv-transfer-config": {"kv_connector": "LMCacheConnectorV1"}}, "lmcache"),
        ("sglang", {"moe-a2a-backend": "deepep"}, "deep_ep"),
        ("sglang", {"moe-a2a-backend": "none"}, None),
    ],
)
def test_which_library_a_setting_needs(
    tmp_path: Path, engine: str, flags: dict[str, object], module: str | None
) -> None:
    case = load(edited(tmp_path, "mtp/known_answer_k1", {"serve/flags": flags}, generate=False))[0].resolve("cpu", ())
    spec = ENGINES[engine]
    if engine == "sglang":
        case = case.model_copy(update={"serve": case.serve.model_copy(update={"speculation": None})})
    assert set(spec.needed(case).values()) == ({module} if module else set())


def test_without_a_driver_that_is_the_only_line_and_the_last() -> None:
    assert wrong(driver=None) == [("driver", "there is no NVIDIA driver here")]
    assert canary_checks.judge(NEEDS, VERSIONS, IMPORTS, LIVE, None)[-1].check == "driver"
    why = "Driver/library version mismatch; reboot"
    found = canary_checks.judge(NEEDS, VERSIONS, IMPORTS, LIVE, None, why)[-1]
    assert (found.ok, found.text) == (False, "NVIDIA's driver does not answer: Driver/library version mismatch; reboot")
    amd = wrong(replace(NEEDS, platform="rocm"), replace(IMPORTS, torch=ROCM), driver=None)
    assert amd == [("driver", "there is no AMD driver here")]


@pytest.mark.parametrize(
    ("torch", "driver", "fine"),
    [
        (CUDA_12, "12.2", True),  # minor-version compatibility
        (CUDA_12, "12.9", True),
        (CUDA_12, "13.0", True),  # a newer driver runs older builds
        (CUDA_13, "13.1", True),
        (CUDA_13, "12.8", False),
        (CUDA_12, "11.8", False),
    ],
)
def test_the_drivers_major_version_counts(torch: dict[str, str], driver: str, fine: bool) -> None:
    found = wrong(imports=replace(IMPORTS, torch=torch), driver=driver)
    assert (found == []) is fine
    if not fine:
        ((check, text),) = found
        assert check == "driver"
        assert f"built for CUDA {torch['cuda']}, the driver supports up to {driver}" in text


@pytest.mark.parametrize(
    ("platform", "torch", "text"),
    [
        ("cuda", CPU, "2.13.0+cpu is built for the CPU alone, and the case is for cuda"),
        ("cuda", ROCM, "2.9.0+rocm7.1 is built for HIP 7.1.52802, and the case is for cuda"),
        ("rocm", CUDA_13, "2.13.0+cu130 is built for CUDA 13.0, and the case is for rocm"),
    ],
)
def test_a_build_for_something_else(platform: Platform, torch: dict[str, str], text: str) -> None:
    assert wrong(replace(NEEDS, platform=platform), replace(IMPORTS, torch=torch)) == [("torch", text)]


def test_a_cpu_case_asks_for_neither_torch_nor_driver() -> None:
    imports = replace(IMPORTS, modules={SERVER: ""}, torch={})
    found = canary_checks.judge(replace(NEEDS, platform="cpu"), VERSIONS, imports, LIVE, None)
    assert all(each.ok for each in found)
    assert {"torch", "driver"}.isdisjoint(each.check for each in found)


def test_each_thing_that_is_missing_is_one_line() -> None:
    broken = replace(IMPORTS, modules={SERVER: "ImportError: libnuma.so.1", "torch": ""})
    assert wrong(imports=broken) == [(f"import {SERVER}", "ImportError: libnuma.so.1")]
    plugin = replace(IMPORTS, transports={"nixl UCX": "nixlNotFoundError: NIXL_ERR_NOT_FOUND"})
    assert wrong(imports=plugin) == [("nixl UCX", "nixlNotFoundError: NIXL_ERR_NOT_FOUND")]
    cache = replace(LIVE, folders={"HOME (/root)": "/root: Read-only file system"})
    assert wrong(live=cache) == [("writable: HOME (/root)", "/root: Read-only file system")]
    data = replace(LIVE, data={"/data/q.jsonl": "cd"})
    assert wrong(live=data) == [("data: /data/q.jsonl", "SHA-256 is cd, expected ab")]


def test_a_stale_harness_in_the_image() -> None:
    assert wrong(live=replace(LIVE, harness="0.0.9")) == [("harness", "0.0.9, and 0.1.0 asks: build the image anew")]
    assert "does not answer" in wrong(live=replace(LIVE, harness=""))[0][1]


def test_root_is_wrong_in_an_image_only() -> None:
    ((check, text),) = wrong(live=replace(LIVE, uid=0))
    assert check == "user"
    assert text.startswith("uid 0")
    assert wrong(replace(NEEDS, image=False), live=replace(LIVE, uid=0)) == []


def test_no_case_is_asked_for_what_it_does_not_need() -> None:
    cases = {each.id: each.case for each in everything(load(BASELINES)) if each.platform == "cpu"}
    assert canary_checks.transports(cases["eagle3/known_answer"]) == ()
    assert canary_checks.transports(cases["disagg/known_answer_eagle3"]) == (("nixl", "UCX"),)
    assert canary_checks.modules(ENGINES["vllm"], command=False, router=False) == (SERVER,)
    assert canary_checks.modules(ENGINES["vllm"], command=False, router=True) == (SERVER, "vllm_router.launch_router")
    assert canary_checks.modules(ENGINES["vllm"], command=True, router=False) == ("vllm.entrypoints.cli.serve",)


def test_a_module_that_moved_says_nothing_against_a_command_that_works() -> None:
    name = "vllm.entrypoints.cli.serve"
    needs = replace(NEEDS, modules=(name,))
    for gone in (name, "vllm.entrypoints.cli"):
        moved = replace(IMPORTS, modules={name: f"ModuleNotFoundError: No module named '{gone}'", "torch": ""})
        assert wrong(needs, moved) == []
        found = {each.check: each.text for each in canary_checks.judge(needs, VERSIONS, moved, LIVE, "13.0")}
        assert found[f"import {name}"].startswith("not verified that the server can be imported: ModuleNotFound")
    inside = replace(IMPORTS, modules={name: "ModuleNotFoundError: No module named 'numpy'", "torch": ""})
    assert wrong(needs, inside) == [(f"import {name}", "ModuleNotFoundError: No module named 'numpy'")]
