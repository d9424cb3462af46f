"""SGLang: command lines, what its case files may say, and its counters to a measurement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.base.domain import Outcome, Platform, Server
from harness.base.errors import UsageError
from harness.base.evidence import Evidence, KvTransfers, Measurement, Unmeasured, Verifications
from harness.cases.load import load
from harness.cases.matrix import Variant
from harness.cases.model import Case
from harness.checks import acceptance, kv_transfer
from harness.engines import metrics
from harness.engines.sglang import METRICS
from harness.plan import show
from harness.run.measure import measure
from tests.helpers import BASELINES, edited

KNOWN, PD = "sglang_eagle3/known_answer", "sglang_pd/known_answer_eagle3"
NIXL: Variant = (("connector", "nixl"),)
VLLM, VLLM_PD = "eagle3/known_answer", "disagg/known_answer"
ORIGIN = "a test of the harness"
ASKED = {"equal": {"a": 1}, "origin": ORIGIN}


def resolved(case: str, platform: Platform = "cuda", variant: Variant = (), folder: Path = BASELINES) -> Case:
    return next(each for each in load(folder) if each.id == case).resolve(platform, variant)


def servers(case: Case) -> list[Server]:
    """Ports from 8000 on."""
    return show.servers(case, "CUDA_VISIBLE_DEVICES")


def test_prefill_decode_and_router() -> None:
    prefill, decode, router = servers(resolved(PD, variant=NIXL))
    flags = ("--attention-backend", "triton", "--context-length", "1024", "--dtype", "bfloat16",
             "--max-running-requests", "16", "--max-total-tokens", "32768", "--page-size", "1")  # fmt: skip
    drafts = ("--speculative-algorithm", "EAGLE3", "--speculative-draft-model-path", "drafter",
              "--speculative-num-steps", "3", "--speculative-eagle-topk", "1",
              "--speculative-num-draft-tokens", "4")  # fmt: skip
    model = ("sglang", "serve", "--model-path", "model", "--served-model-name", "model")
    assert prefill.argv == (
        *model, "--host", "127.0.0.1", "--port", "8000", "--nccl-port", "8001", "--tp-size", "1", "--dp-size", "1",
        "--enable-metrics", *drafts, "--disaggregation-mode", "prefill", "--disaggregation-transfer-backend", "nixl",
        "--disaggregation-bootstrap-port", "8002", *flags,
    )  # fmt: skip
    assert decode.argv == (
        *model, "--host", "127.0.0.1", "--port", "8003", "--nccl-port", "8004", "--tp-size", "1", "--dp-size", "1",
        "--enable-metrics", *drafts, "--disaggregation-mode", "decode", "--disaggregation-transfer-backend", "nixl",
        *flags,
    )  # fmt: skip
    assert router.argv == (
        "python", "-m", "sglang_router.launch_router", "--pd-disaggregation", "--mini-lb", "--host", "127.0.0.1",
        "--port", "8005", "--prefill", "http://127.0.0.1:8000", "8002", "--decode", "http://127.0.0.1:8003",
    )  # fmt: skip
    assert prefill.links == {"model": "$CHECKPOINTS/twin_prefill", "drafter": "$CHECKPOINTS/eagle3"}
    assert [probe.what for probe in prefill.probes] == ["/health", "KV bootstrap"]
    assert [server.env.get("SGLANG_HOST_IP") for server in (prefill, decode)] == ["127.0.0.1", "127.0.0.1"]


def test_every_server_has_ports_of_its_own() -> None:
    ports = [port for server in servers(resolved(PD, variant=NIXL)) for port in server.ports.values()]
    assert len(ports) == len(set(ports)) == 6


@pytest.mark.parametrize(("platform", "kernels"), [("cuda", None), ("rocm", "1")])
def test_an_assistant_drafts_for_mtp(platform: Platform, kernels: str | None) -> None:
    (server,) = servers(resolved("gemma4_mtp/e4b", platform, (("topk", "3"),)))
    text = " ".join(server.argv)
    assert "--speculative-algorithm NEXTN --speculative-draft-model-path drafter" in text
    assert "--speculative-num-steps 5 --speculative-eagle-topk 3 --speculative-num-draft-tokens 12" in text
    assert "--skip-server-warmup" in server.argv
    assert server.env.get("SGLANG_USE_AITER") == kernels
    assert server.links["drafter"] == "$CHECKPOINTS/google/gemma-4-E4B-it-assistant"


def test_sizes_and_flags_of_one_role() -> None:
    prefill, decode, _ = servers(resolved("sglang_pd/different_tp", variant=(("tp", "4to2"),)))
    assert [server.argv[server.argv.index("--tp-size") + 1] for server in (prefill, decode)] == ["4", "2"]
    prefill, decode, _ = servers(resolved("sglang_pd/accuracy_nixl", "rocm"))
    assert "aiter" in prefill.argv
    assert "--mem-fraction-static" not in prefill.argv
    assert "--mem-fraction-static" in decode.argv


@pytest.mark.parametrize(
    ("case", "changes", "words"),
    [
        (
            KNOWN,
            {"serve/speculation/num_speculative_tokens": 3},
            "speculation.num_speculative_tokens: eagle3 on sglang",
        ),
        (KNOWN, {"serve/speculation/topk": None}, "serve.speculation.topk: eagle3 on sglang needs it; add it to the"),
        (
            KNOWN,
            {"serve/speculation/method": "ngram"},
            "serve.speculation.method: sglang has no 'ngram'; it has eagle3",
        ),
        (
            PD,
            {"serve/kv_transfer": {"buffer_device": "cpu"}},
            "serve.kv_transfer.buffer_device: mooncake on sglang does",
        ),
        (
            PD,
            {"roles/decode/kv_transfer": {"buffer_device": "cpu"}},
            "roles.decode.kv_transfer.buffer_device: mooncake",
        ),
        (
            PD,
            {"checks/kv_transfer/local_tokens_per_request": 0},
            "checks.kv_transfer: the engine does not count prompt tokens by source",
        ),
        (
            PD,
            {"checks/cuda_graphs": {"origin": "nobody knows"}},
            "checks.cuda_graphs: the engine says it of its configuration: use checks.server_config",
        ),
        (VLLM, {"serve/speculation/topk": 1}, "serve.speculation.topk: eagle3 on vllm does not know it; known: model"),
        (
            VLLM_PD,
            {"serve/kv_transfer/connector": "nixl"},
            "serve.kv_transfer.connector: vllm has no 'nixl'; it has Nixl",
        ),
        (
            VLLM_PD,
            {"checks/kv_transfer/local_tokens_per_request": None},
            "local_tokens_per_request: the engine counts prompt",
        ),
        (
            VLLM_PD,
            {"checks/server_config": ASKED},
            "checks.server_config: the engine does not say what configuration is in",
        ),
    ],
)
def test_a_case_is_of_its_engine(tmp_path: Path, case: str, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(edited(tmp_path, case, changes, generate=False))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/{case}.toml: ")
    assert words in message
    assert "\n" not in message


EXPOSITION = """
# TYPE sglang:spec_verify_calls_total counter
sglang:spec_verify_calls_total{model_name="m"} 100.0
# TYPE sglang:generation_tokens_total counter
sglang:generation_tokens_total{is_streaming="false",model_name="m"} 330.0
# TYPE sglang:num_requests_total counter
sglang:num_requests_total{is_streaming="false",model_name="m"} 24.0
# TYPE sglang:num_requests_created gauge
sglang:num_requests_created{is_streaming="false",model_name="m"} 1.7e+09
# TYPE sglang:kv_transfer_total_mb histogram
sglang:kv_transfer_total_mb_bucket{le="+Inf",tp_rank="0"} 24.0
sglang:kv_transfer_total_mb_count{tp_rank="0"} 24.0
sglang:kv_transfer_total_mb_sum{tp_rank="0"} 34.171875
# TYPE sglang:num_transfer_failed_reqs_total counter
sglang:num_transfer_failed_reqs_total{tp_rank="0"} 1.0
"""


def test_counters_in_units_of_ours() -> None:
    assert metrics.read(EXPOSITION, METRICS) == {
        "verifications": 100.0,
        "generated_tokens": 330.0,
        "finished_requests": 24.0,
        "transfers": 24.0,
        "transfer_bytes": 35831808.0,
        "failed_transfers": 1.0,
    }


def taken(prefill: dict[str, float], decode: dict[str, float], info: dict[str, Any] | None = None) -> Measurement:
    before: dict[str, metrics.Counters] = {"prefill": {}, "decode": {}}
    after: dict[str, metrics.Counters] = {"prefill": prefill, "decode": decode}
    roles = {"prefill": "prefill", "decode": "decode"}
    return measure(resolved(PD, variant=NIXL), [], before, after, roles, info or {})


DECODE = {"verifications": 100.0, "generated_tokens": 324.0, "finished_requests": 24.0}


def test_the_first_token_of_an_answer_is_the_prefills() -> None:
    found = taken({}, DECODE)
    assert found.acceptance == Verifications(drafts=100, emitted=300)
    assert found.finished == 24


@pytest.mark.parametrize("name", sorted(DECODE))
def test_a_missing_counter_is_not_measured(name: str) -> None:
    found = taken({}, {key: value for key, value in DECODE.items() if key != name})
    assert found.acceptance == Unmeasured(f"the engine exports no counter for {name}")


def test_transfers_are_counted_by_the_sender_and_failures_by_both() -> None:
    prefill = {"transfers": 24.0, "transfer_bytes": 5000.0, "failed_bootstraps": 1.0, "finished_requests": 24.0}
    assert taken(prefill, DECODE | {"failed_transfers": 2.0}).kv == KvTransfers(
        24, 5000, {"prefill: failed_bootstraps": 1, "decode: failed_transfers": 2}
    )
    assert taken({}, DECODE).kv == KvTransfers(0, 0, {})


def test_an_acceptance_length_without_positions() -> None:
    fields = {"direction": "two-sided", "absolute_tolerance": 0.0, "n": 100, "origin": ORIGIN}
    found = taken({}, DECODE)
    (result,) = acceptance.judge_length(
        acceptance.AcceptanceLengthSettings.model_validate({"expected": 3.0, **fields}), Evidence(found)
    )
    assert (result.outcome, result.measured, result.n) == (Outcome.PASS, 3.0, 100)
    positions = acceptance.AcceptancePerPositionSettings.model_validate({"expected": [0.5], **fields})
    (result,) = acceptance.judge_positions(positions, Evidence(found))
    assert (result.outcome, result.message) == (
        Outcome.ERROR,
        "could not be judged: the engine counts no accepted tokens",
    )


@pytest.mark.parametrize(
    ("found", "outcome", "words"),
    [
        (KvTransfers(24, 5000, {}), Outcome.PASS, ""),
        (KvTransfers(23, 5000, {}), Outcome.FAIL, "23 transfers for 24 requests"),
        (KvTransfers(24, 4999, {}), Outcome.FAIL, "4999 bytes moved, 5000 expected"),
        (
            KvTransfers(24, 5000, {"decode: failed_transfers": 1}),
            Outcome.FAIL,
            "decode: failed_transfers is 1",
        ),
        (KvTransfers(0, 0, {}), Outcome.FAIL, "0 transfers for 24 requests"),
    ],
)
def test_transfers_without_sources(found: KvTransfers, outcome: Outcome, words: str) -> None:
    measured = taken({}, DECODE)
    main = {"main": type(measured.answers["main"])(24, 24, 0, 0, 24, 15, 0, 24, 24, 1944, 0)}
    config = kv_transfer.KvTransferSettings(local_tokens_per_request=None, bytes=5000, origin=ORIGIN)
    (result,) = kv_transfer.judge(config, Evidence(Measurement(main, None, found, 24)))
    assert result.outcome is outcome
    assert words in result.message
