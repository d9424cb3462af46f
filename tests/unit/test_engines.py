"""A case becomes command lines: exactly these."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from harness.ground.domain import Server
from harness.policy.cases.load import load
from harness.policy.engines import ENGINES
from harness.policy.engines.base import Place, flag_arguments, numbered
from tests.helpers import BASELINES, edited

KV_TRANSFER = (
    '{"kv_buffer_device":"cpu","kv_connector":"NixlConnector","kv_load_failure_policy":"fail","kv_role":"ROLE"}'
)
CHECKPOINTS = {name: f"/checkpoints/{name}" for name in ("target", "twin_prefill", "twin_decode", "eagle3", "mimo")}


def servers(folder: Path, case: str) -> list[Server]:
    found = next(each for each in load(folder) if each.id == case).resolve("cpu")
    ports = count(1001)
    return ENGINES["vllm"].servers(found, Place("python", CHECKPOINTS, lambda: next(ports)))


def flags(server: Server) -> dict[str, str]:
    """Flags with one value, by name."""
    pairs = zip(server.argv, server.argv[1:], strict=False)
    return {name.removeprefix("--"): value for name, value in pairs if name.startswith("--")}


def test_prefill_decode_and_router() -> None:
    prefill, decode, router = servers(BASELINES, "disagg/known_answer_eagle3")
    assert prefill.argv == (
        "python", "-m", "vllm.entrypoints.openai.api_server",
        "--model", "model", "--host", "127.0.0.1", "--port", "1001",
        "--tensor-parallel-size", "1", "--data-parallel-size", "1",
        "--speculative-config", '{"method":"eagle3","model":"drafter","num_speculative_tokens":3}',
        "--kv-transfer-config",
        KV_TRANSFER.replace("ROLE", "kv_producer"),
        "--block-size", "32", "--dtype", "bfloat16", "--no-enable-prefix-caching", "--enforce-eager",
        "--max-model-len", "1024",
    )  # fmt: skip
    assert flags(decode)["kv-transfer-config"] == KV_TRANSFER.replace("ROLE", "kv_consumer")
    # NIXL compares the model's name between the sides: the same name, each with its own checkpoint behind it.
    assert flags(prefill)["model"] == flags(decode)["model"]
    assert prefill.links == {"model": "/checkpoints/twin_prefill", "drafter": "/checkpoints/eagle3"}
    assert decode.links == {"model": "/checkpoints/twin_decode", "drafter": "/checkpoints/eagle3"}
    assert router.argv == (
        "python", "-m", "vllm_router.launch_router",
        "--vllm-pd-disaggregation", "--policy", "round_robin", "--host", "127.0.0.1", "--port", "1005",
        "--prometheus-port", "1006", "--worker-startup-check-interval", "1", "--disable-retries",
        "--disable-circuit-breaker", "--prefill", "http://127.0.0.1:1001", "--decode", "http://127.0.0.1:1003",
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


def test_a_multi_connector_names_its_parts_and_what_each_is_told() -> None:
    prefill, decode, _ = servers(BASELINES, "disagg/known_answer_multi")
    config = json.loads(flags(decode)["kv-transfer-config"])
    every = {"kv_role": "kv_both", "kv_buffer_device": "cpu", "kv_load_failure_policy": "fail"}
    store = {"kv_connector": "ExampleConnector", "kv_connector_extra_config": {"shared_storage_path": "kv_store"}}
    parts = [{"kv_connector": "NixlConnector"} | every, store | every]
    assert config == every | {"kv_connector": "MultiConnector", "kv_connector_extra_config": {"connectors": parts}}
    assert flags(prefill)["kv-transfer-config"] == flags(decode)["kv-transfer-config"]
    assert decode.env["VLLM_NIXL_SIDE_CHANNEL_PORT"] == str(decode.ports["side_channel"])


def test_several_servers_of_a_role(tmp_path: Path) -> None:
    case = "disagg/known_answer_eagle3"
    started = servers(edited(tmp_path, case, {"topology/decode": 2}, generate=False), case)
    assert [server.name for server in started] == ["prefill", "decode-0", "decode-1", "router"]
    assert started[-1].argv.count("--decode") == 2


def test_mtp_needs_no_drafter(tmp_path: Path) -> None:
    case = "eagle3/known_answer"
    changes = {
        "serve/model/known_answer": "mimo",
        "serve/speculation": {"method": "mtp", "num_speculative_tokens": 3},
    }
    (server,) = servers(edited(tmp_path, case, changes), case)
    assert flags(server)["speculative-config"] == '{"method":"mtp","num_speculative_tokens":3}'
    assert server.links == {"model": "/checkpoints/mimo"}


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
