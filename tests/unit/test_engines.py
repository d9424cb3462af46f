"""A case becomes command lines: exactly these."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.base.domain import Platform, Server
from harness.cases.load import load
from harness.devices.accelerators import on_paper
from harness.engines import ENGINES
from harness.engines.engine import Place, flag_arguments, numbered
from harness.plan import show
from tests.helpers import BASELINES, edited

KV_TRANSFER = (
    '{"kv_buffer_device":"cpu","kv_connector":"NixlConnector","kv_load_failure_policy":"fail","kv_role":"ROLE"}'
)


def servers(folder: Path, case: str, platform: Platform = "cpu") -> list[Server]:
    """Ports from 8000 on, devices from 0 on."""
    found = next(each for each in load(folder) if each.id == case).resolve(platform)
    return show.servers(found, on_paper(platform))


def flags(server: Server) -> dict[str, str]:
    """Flags with one value, by name."""
    pairs = zip(server.argv, server.argv[1:], strict=False)
    return {name.removeprefix("--"): value for name, value in pairs if name.startswith("--")}


def test_prefill_decode_and_router() -> None:
    prefill, decode, router = servers(BASELINES, "disagg/known_answer_eagle3")
    assert prefill.argv == (
        "vllm", "serve", "model", "--host", "127.0.0.1", "--port", "8000",
        "--tensor-parallel-size", "1", "--data-parallel-size", "1",
        "--speculative-config", '{"method":"eagle3","model":"drafter","num_speculative_tokens":3}',
        "--kv-transfer-config",
        KV_TRANSFER.replace("ROLE", "kv_producer"),
        "--block-size", "32", "--dtype", "bfloat16", "--no-enable-prefix-caching", "--enforce-eager",
        "--max-model-len", "1024",
    )  # fmt: skip
    assert flags(decode)["kv-transfer-config"] == KV_TRANSFER.replace("ROLE", "kv_consumer")
    # NIXL compares the model's name between the sides: the same name, each with its own checkpoint behind it.
    assert prefill.argv[2] == decode.argv[2]
    assert prefill.links == {"model": "$CHECKPOINTS/twin_prefill", "drafter": "$CHECKPOINTS/eagle3_aux"}
    assert decode.links == {"model": "$CHECKPOINTS/twin_decode", "drafter": "$CHECKPOINTS/eagle3_aux"}
    assert router.argv == (
        "python", "-m", "vllm_router.launch_router",
        "--vllm-pd-disaggregation", "--policy", "round_robin", "--host", "127.0.0.1", "--port", "8004",
        "--prometheus-port", "8005", "--worker-startup-check-interval", "1", "--disable-retries",
        "--disable-circuit-breaker", "--prefill", "http://127.0.0.1:8000", "--decode", "http://127.0.0.1:8002",
    )  # fmt: skip


def test_every_server_has_its_own_ports_and_side_channel() -> None:
    started = servers(BASELINES, "disagg/known_answer_eagle3")
    ports = [port for server in started for port in server.ports.values()]
    assert len(ports) == len(set(ports)) == 6
    for server in started[:2]:
        assert server.env["VLLM_NIXL_SIDE_CHANNEL_PORT"] == str(server.ports["side_channel"])
        assert server.env["VLLM_NIXL_SIDE_CHANNEL_HOST"] == "127.0.0.1"
        assert [probe.kind for probe in server.probes] == ["http", "zmtp"]


def test_one_server_without_connector() -> None:
    (server,) = servers(BASELINES, "eagle3/known_answer")
    assert server.role == "server"
    assert "kv-transfer-config" not in flags(server)
    assert "VLLM_NIXL_SIDE_CHANNEL_PORT" not in server.env
    assert server.env["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"


def test_a_role_without_connector(tmp_path: Path) -> None:
    case = "disagg/known_answer_eagle3"
    changes = {"roles/decode/kv_transfer/connector": "none"}
    prefill, decode, _ = servers(edited(tmp_path, case, changes, generate=False), case)
    assert "kv-transfer-config" in flags(prefill)
    assert "kv-transfer-config" not in flags(decode)


def test_a_build_without_the_command_gets_the_model_as_an_option() -> None:
    case = next(each for each in load(BASELINES) if each.id == "eagle3/known_answer").resolve("cpu")
    place = Place("/e/python", {each.name: "" for each in case.models()}, lambda _: 1, lambda _: {})
    (server,) = ENGINES["vllm"].servers(case, place)
    module = ("/e/python", "-m", "vllm.entrypoints.openai.api_server")
    assert server.argv[:6] == (*module, "--model", "model", "--host")


def test_a_multi_connector_names_its_parts_and_what_each_is_told() -> None:
    prefill, decode, _ = servers(BASELINES, "disagg/known_answer_multi")
    every = {"kv_role": "kv_both", "kv_buffer_device": "cpu", "kv_load_failure_policy": "fail"}
    store = {"kv_connector": "ExampleConnector", "kv_connector_extra_config": {"shared_storage_path": "kv_store"}}
    for side, role in ((prefill, "kv_producer"), (decode, "kv_consumer")):
        parts = [{"kv_connector": "NixlConnector"} | every | {"kv_role": role}, store | every]
        assert json.loads(flags(side)["kv-transfer-config"]) == every | {
            "kv_connector": "MultiConnector",
            "kv_connector_extra_config": {"connectors": parts},
        }
    assert decode.env["VLLM_NIXL_SIDE_CHANNEL_PORT"] == str(decode.ports["side_channel"])


def test_several_servers_of_a_role(tmp_path: Path) -> None:
    case = "disagg/known_answer_eagle3"
    started = servers(edited(tmp_path, case, {"topology/decode": 2}, generate=False), case)
    assert [server.name for server in started] == ["prefill", "decode-0", "decode-1", "router"]
    assert started[-1].argv.count("--decode") == 2


def test_every_server_has_devices_of_its_own(tmp_path: Path) -> None:
    case = "disagg/known_answer_eagle3"
    changes = {
        "platforms": ["cuda", "rocm"],
        "serve/tensor_parallel_size": 2,
        "roles/decode/tensor_parallel_size": 1,
        "roles/decode/data_parallel_size": 2,
    }
    folder = edited(tmp_path, case, changes, generate=False)
    variables: dict[Platform, str] = {"cuda": "CUDA_VISIBLE_DEVICES", "rocm": "HIP_VISIBLE_DEVICES"}
    for platform, variable in variables.items():
        prefill, decode, router = servers(folder, case, platform)
        assert [prefill.env[variable], decode.env[variable]] == ["0,1", "2,3"]
        assert variable not in router.env
        # A rank of data parallel has a side channel of its own, one port further on.
        channel = int(decode.env["VLLM_NIXL_SIDE_CHANNEL_PORT"])
        assert [probe.port for probe in decode.probes[1:]] == [channel, channel + 1]
        assert {channel, channel + 1} <= set(decode.ports.values())
    assert not any("VISIBLE" in name for server in servers(BASELINES, case) for name in server.env)


@pytest.mark.parametrize(
    ("case", "method", "tokens"), [("mtp/gemma4_e4b", "mtp", 2), ("dflash/qwen3_8b", "dflash", 16)]
)
def test_an_assistant_and_a_drafter_of_blocks_are_given_as_a_drafter(case: str, method: str, tokens: int) -> None:
    found = next(each for each in load(BASELINES) if each.id == case).resolve("cuda", (("asked", "gsm8k"),))
    (server,) = show.servers(found, on_paper("cuda"))
    assert json.loads(flags(server)["speculative-config"]) == {
        "method": method, "model": "drafter", "num_speculative_tokens": tokens
    }  # fmt: skip
    assert list(server.links) == ["model", "drafter"]


def test_mtp_needs_no_drafter(tmp_path: Path) -> None:
    case = "eagle3/known_answer"
    changes = {
        "serve/model/known_answer": "mimo",
        "serve/speculation": {"method": "mtp", "num_speculative_tokens": 3},
    }
    (server,) = servers(edited(tmp_path, case, changes), case)
    assert flags(server)["speculative-config"] == '{"method":"mtp","num_speculative_tokens":3}'
    assert server.links == {"model": "$CHECKPOINTS/mimo"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, ["--flag"]),
        (False, ["--no-flag"]),
        (1, ["--flag", "1"]),
        (0.9, ["--flag", "0.9"]),
        ("a b", ["--flag", "a b"]),
        ([1, 2], ["--flag", "1", "2"]),
        ({"b": [1], "a": True}, ["--flag", '{"a":true,"b":[1]}']),
    ],
)
def test_a_typed_value_becomes_arguments(value: Any, expected: list[str]) -> None:
    assert flag_arguments({"flag": value}) == expected


def test_names_are_numbered_only_where_needed() -> None:
    assert numbered("decode", 1) == ["decode"]
    assert numbered("decode", 2) == ["decode-0", "decode-1"]


@pytest.mark.parametrize(
    ("case", "budget"),
    [
        ("mtp/known_answer_k1", {"gpu-memory-utilization": "0.0427", "kv-cache-memory-bytes": "1073741824"}),
        ("sglang_eagle3/known_answer", {"mem-fraction-static": "0.0214", "max-total-tokens": "32768"}),
    ],
)
def test_a_server_that_shares_its_accelerator_is_told_its_part(case: str, budget: dict[str, str]) -> None:
    found = next(each for each in load(BASELINES) if each.id == case).resolve("cuda")
    engine = ENGINES[found.engine.name]
    checkpoints = {model.name: f"/models/{model.name}" for model in found.models()}

    def started(share: float) -> dict[str, str]:
        place = Place("python", checkpoints, lambda _: 8000, lambda _: {}, ("serve",), share=share)
        return flags(engine.servers(found, place)[0])

    shared, alone = started(6 / 140.4), started(0.0)
    assert shared | budget == shared
    assert not {"gpu-memory-utilization", "mem-fraction-static"} & alone.keys()
    assert engine.sharing is not None
    assert shared.keys() - alone.keys() == engine.sharing.flags(0.5).keys()
