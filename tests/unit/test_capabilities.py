"""What a build knows: older spellings, and settings that it does not know at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.base.domain import Server
from harness.cases.load import load
from harness.cases.model import Case
from harness.engines import ENGINES
from harness.engines.capabilities import Capabilities, Rename, adapt, unknown
from harness.plan.show import servers
from tests.helpers import edited

VLLM = ENGINES["vllm"]
CASE = "eagle3/known_answer"
ALWAYS = (
    "--model", "--host", "--port", "--tensor-parallel-size", "--data-parallel-size", "--speculative-config",
    "--block-size", "--dtype", "--enforce-eager", "--no-enforce-eager", "--max-model-len", "--max_model_len",
    "--enable-eplb",
)  # fmt: skip
EPLB = ("--eplb-window-size", "--eplb-step-interval", "--num-redundant-experts", "--eplb-log-balancedness")
BACKENDS = ("VLLM_ATTENTION_BACKEND", "VLLM_ALL2ALL_BACKEND")
# What the probe found of the renamed settings, run on the sources of each version.
BUILDS = {
    "0.10.0": (EPLB, BACKENDS),
    "0.11.0": (("--eplb-config", *EPLB), BACKENDS),
    "0.26.0": (("--eplb-config", "--attention-backend", "--all2all-backend"), ()),
    "0.32.0": (("--eplb-config", "--attention-backend", "--all2all-backend"), ()),
}


def build(version: str) -> Capabilities:
    options, variables = BUILDS[version]
    known = ("VLLM_HOST_IP", "VLLM_NO_USAGE_STATS", "VLLM_CPU_KVCACHE_SPACE", "VLLM_CPU_OMP_THREADS_BIND")
    return Capabilities((*ALWAYS, *options), (*known, "VLLM_ENABLE_V1_MULTIPROCESSING", *variables))


def server(folder: Path, changes: dict[str, Any]) -> tuple[Case, Server]:
    (found,) = load(edited(folder, CASE, changes, generate=False))
    case = found.resolve("cpu")
    (started,) = servers(case, "")
    return case, started


def complaints(case: Case, started: Server, known: Capabilities) -> list[str]:
    spelt, _ = adapt(started, known, VLLM.renames)
    return unknown(case, [spelt], known, VLLM.renames, VLLM.prefixes)


NEWEST = {
    "serve/flags/attention-backend": "TRITON_ATTN",
    "serve/flags/enable-eplb": True,
    "serve/flags/eplb-config": {"window_size": 10, "num_redundant_experts": 0, "log_balancedness": True},
}
OLD_EPLB = ("--eplb-log-balancedness", "--num-redundant-experts", "0", "--eplb-window-size", "10")


@pytest.mark.parametrize(
    ("version", "translated", "backend", "eplb"),
    [
        ("0.10.0", {"--attention-backend", "--eplb-config"}, "VLLM_ATTENTION_BACKEND", OLD_EPLB),
        ("0.11.0", {"--attention-backend"}, "VLLM_ATTENTION_BACKEND", ("--eplb-config",)),
        ("0.26.0", set(), "", ("--eplb-config",)),
        ("0.32.0", set(), "", ("--eplb-config",)),
    ],
)
def test_the_newest_spelling_becomes_what_a_build_knows(
    tmp_path: Path, version: str, translated: set[str], backend: str, eplb: tuple[str, ...]
) -> None:
    case, started = server(tmp_path, NEWEST)
    spelt, notes = adapt(started, build(version), VLLM.renames)
    assert {new for new, _ in notes} == translated
    assert spelt.env.get("VLLM_ATTENTION_BACKEND", "") == ("TRITON_ATTN" if backend else "")
    assert ("--attention-backend" in spelt.argv) == (not backend)
    first = spelt.argv.index(eplb[0])
    assert spelt.argv[first : first + len(eplb)] == eplb
    assert unknown(case, [spelt], build(version), VLLM.renames, VLLM.prefixes) == []
    if not translated:
        assert spelt == started


def test_a_table_is_translated_wholly_or_not_at_all(tmp_path: Path) -> None:
    case, started = server(tmp_path, {"serve/flags/eplb-config": {"window_size": 10, "use_async": False}})
    spelt, notes = adapt(started, build("0.10.0"), VLLM.renames)
    assert (spelt.argv, notes) == (started.argv, [])
    assert complaints(case, started, build("0.10.0"))[0].startswith("serve.flags.eplb-config: no --eplb-config")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            {"serve/flags/max-model-lenn": 5},
            "serve.flags.max-model-lenn: no --max-model-lenn, the nearest it knows is --max-model-len",
        ),
        (
            {"serve/flags/max-model": 5},
            "serve.flags.max-model: no --max-model, the nearest it knows is --max-model-len",
        ),
        ({"serve/flags/xyzzy": 5}, "serve.flags.xyzzy: no --xyzzy"),
        (
            {"roles/server/flags/enable-eplb": False},
            "roles.server.flags.enable-eplb: no --no-enable-eplb, the nearest it knows is --enable-eplb",
        ),
        (
            {"serve/env/VLLM_HOST_PI": "127.0.0.1"},
            "serve.env.VLLM_HOST_PI: no VLLM_HOST_PI, the nearest it knows is VLLM_HOST_IP",
        ),
        (
            {"serve/env/VLLM_ATTENTION_BACKEND": "TRITON_ATTN"},
            "serve.env.VLLM_ATTENTION_BACKEND: no VLLM_ATTENTION_BACKEND, it is --attention-backend now",
        ),
    ],
    ids=["misspelt", "abbreviated", "nothing near", "no --no- form", "variable", "old name"],
)
def test_what_a_build_does_not_know_is_named_with_its_key(
    tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    case, started = server(tmp_path, changes)
    assert complaints(case, started, build("0.32.0")) == [complaint]


@pytest.mark.parametrize(
    "changes",
    [
        {"serve/flags/max_model_len": 1024, "serve/flags/max-model-len": None},
        {"serve/flags/enforce-eager": False},
        {"serve/flags/speculative-config.disable_padded_drafter_batch": True},
        {"serve/env/NIXL_LOG_LEVEL": "trace"},
    ],
    ids=["underscores", "--no- form", "key of a table", "not the engine's"],
)
def test_what_a_build_knows_is_left_alone(tmp_path: Path, changes: dict[str, Any]) -> None:
    case, started = server(tmp_path, changes)
    assert complaints(case, started, build("0.32.0")) == []


def test_a_flag_that_the_engine_module_sets_is_said_to_be_the_harnesss(tmp_path: Path) -> None:
    case, started = server(tmp_path, {})
    known = build("0.32.0")
    without = replace(known, options=tuple(each for each in known.options if each != "--data-parallel-size"))
    (complaint,) = complaints(case, started, without)
    assert complaint.startswith("set by the harness for server: no --data-parallel-size")


@pytest.mark.parametrize(
    ("rename", "env", "argv"),
    [
        (Rename("A_NEW", "A_OLD"), {"A_OLD": "0.3"}, ()),
        (Rename("--flag-new", "--flag-old"), {"A_NEW": "0.3"}, ("--flag-old", "1", "2")),
    ],
    ids=["variable to variable", "flag to flag"],
)
def test_other_renames(rename: Rename, env: dict[str, str], argv: tuple[str, ...]) -> None:
    before = ("--flag-new", "1", "2") if argv else ()
    given = Server("server", "server", ("python", "-m", "engine", *before), {}, (), {"A_NEW": "0.3"})
    spelt, _ = adapt(given, Capabilities(("--flag-old",), ("A_OLD",)), [rename])
    assert (dict(spelt.env), spelt.argv[3:]) == (env, argv)


def test_a_switch_that_newer_builds_do_without_is_left_out(tmp_path: Path) -> None:
    _, started = server(tmp_path, {"serve/env/SOME_SWITCH": "0"})
    renames = [Rename("", "SOME_SWITCH")]
    old, notes = adapt(started, Capabilities((), ("SOME_SWITCH",)), renames)
    assert (old.env["SOME_SWITCH"], notes) == ("0", [])
    new, notes = adapt(started, Capabilities((), ()), renames)
    assert ("SOME_SWITCH" in new.env, notes) == (False, [("SOME_SWITCH", "left out")])


@pytest.mark.parametrize(("layout", "known"), [("HND", True), ("hnd", True), ("BLHNC", False)])
def test_a_value_that_a_build_does_not_know_is_named_with_those_it_does(
    tmp_path: Path, layout: str, known: bool
) -> None:
    case, started = server(tmp_path, {"serve/env/VLLM_KV_CACHE_LAYOUT": layout})
    variables = (*build("0.26.0").variables, "VLLM_KV_CACHE_LAYOUT")
    choices = {"VLLM_KV_CACHE_LAYOUT": ("NHD", "HND")}
    found = complaints(case, started, replace(build("0.26.0"), variables=variables, choices=choices))
    assert found == ([] if known else [f"serve.env.VLLM_KV_CACHE_LAYOUT: no {layout}, it is one of NHD, HND"])
