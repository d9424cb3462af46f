"""The scripted router: takes vllm-router's arguments, asks prefill first and decode with what that said."""

from __future__ import annotations

import argparse
import json
import urllib.error
import urllib.request
from typing import Any

from fake_engine import Server, handler, script_for


def ask(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{url}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=3600) as response:
        return dict(json.load(response))


def serve_router() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--policy", "--host", "--prometheus-port", "--worker-startup-check-interval"):
        parser.add_argument(name)
    parser.add_argument("--port", type=int)
    parser.add_argument("--prefill", action="append")
    parser.add_argument("--decode", action="append")
    for name in ("--vllm-pd-disaggregation", "--disable-retries", "--disable-circuit-breaker"):
        parser.add_argument(name, action="store_true")
    arguments = parser.parse_args()
    script = script_for("router")
    turn = [0]

    def route(body: dict[str, Any]) -> tuple[int, str]:
        turn[0] += 1
        prefill, decode = (servers[turn[0] % len(servers)] for servers in (arguments.prefill, arguments.decode))
        try:
            first = ask(prefill, body | {"max_tokens": 1, "kv_transfer_params": {"do_remote_decode": True}})
            return 200, json.dumps(ask(decode, body | {"kv_transfer_params": first["kv_transfer_params"]}))
        except (urllib.error.URLError, OSError) as error:
            return 502, json.dumps({"error": str(error)})

    ready = 503 if script.unhealthy else 200
    Server(
        (arguments.host, arguments.port),
        handler({path: lambda: (ready, "") for path in ("/readiness", "/health")}, {"/v1/completions": route}, script),
    ).serve_forever()
