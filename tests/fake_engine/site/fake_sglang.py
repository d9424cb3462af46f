"""The scripted engine as SGLang: its arguments, its counters, /flush_cache and /server_info. One server, no PD."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from fake_engine import Engine, Server, handler, script_for

PREFIX, LABELS = "sglang:", '{model_name="model"}'


class SGLang(Engine):
    def count_drafts(self, counts: Any) -> None:
        if counts.drafts:
            self.counters[f"{PREFIX}spec_verify_calls_total{LABELS}"] += counts.drafts

    def count_prompt(self, tokens: int, *, arrived: bool) -> None:
        self.counters[f"{PREFIX}prompt_tokens_total{LABELS}"] += tokens

    def gauges(self) -> dict[str, float]:
        return {
            f"{PREFIX}num_running_reqs{LABELS}": self.running + self.script.stuck,
            f"{PREFIX}num_queue_reqs{LABELS}": 0,
            f"{PREFIX}token_usage{LABELS}": self.usage,
        }

    def count_finished(self, tokens: int, reason: str) -> None:
        if reason == "abort":
            self.counters[f"{PREFIX}num_aborted_requests_total{LABELS}"] += 1
            return
        self.counters[f"{PREFIX}generation_tokens_total{LABELS}"] += tokens
        self.counters[f"{PREFIX}num_requests_total{LABELS}"] += 1

    def fixed(self) -> dict[str, float]:
        return {}


def add_cli_args(parser: argparse.ArgumentParser) -> None:
    for name in ("model-path", "served-model-name", "host", "dtype", "attention-backend"):
        parser.add_argument(f"--{name}")
    numbers = ("tp-size", "dp-size", "page-size", "context-length", "max-running-requests", "max-total-tokens")
    for name in ("port", "nccl-port", *numbers):
        parser.add_argument(f"--{name}", type=int)
    for name in ("num-steps", "eagle-topk", "num-draft-tokens"):
        parser.add_argument(f"--speculative-{name}", type=int)
    for name in ("algorithm", "draft-model-path"):
        parser.add_argument(f"--speculative-{name}")
    for name in ("enable-metrics", "disable-radix-cache"):
        parser.add_argument(f"--{name}", action="store_true")


def serve(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="launch_server.py")
    add_cli_args(parser)
    arguments = parser.parse_args(words)
    script = script_for("server")
    drafted = (arguments.speculative_num_draft_tokens or 1) - 1
    checkpoint = Path(arguments.model_path).resolve().name
    engine = SGLang("server", script, drafted, connected=False, twin=checkpoint.startswith("twin_"))
    info = {**vars(arguments), "disable_cuda_graph": False, "cuda_graph_config": {"decode": {"backend": "full"}}}
    said = {key: value for key, value in (info | script.info).items() if value is not None}
    get = {
        "/health": lambda: (503 if script.unhealthy else 200, ""),
        "/metrics": lambda: (200, engine.metrics(), "text/plain"),
        "/v1/models": lambda: (200, json.dumps({"data": [{"id": arguments.served_model_name}]})),
        "/server_info": lambda: (200, json.dumps(said)),
    }
    post = {
        "/v1/completions": engine.respond,
        "/flush_cache?timeout=10": lambda _: (script.reset_status, "Flush cache failed."),
    }
    Server((arguments.host, arguments.port), handler(get, post, script)).serve_forever()
