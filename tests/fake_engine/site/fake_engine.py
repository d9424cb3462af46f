"""The scripted engine: OpenAI-shaped completions, /health, /metrics, a KV side channel, prefill and decode roles.

It answers from the known-answer tables and counts as the simulator says, so that everything is green unless the
script says otherwise. It takes vLLM's arguments and exports vLLM's metric names.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from known_answer import vocabulary as v
from known_answer.simulate import Request, simulate
from known_answer.table import TABLE

with (
    contextlib.suppress(OSError, KeyError),  # where there is none, nobody counts
    Path(os.environ["FAKE_ENGINE_SCRIPT"]).with_name("imports.txt").open("r+") as imports,
):
    imports.seek(0, os.SEEK_END)
    imports.write(f"{os.getpid()}\n")

GREETING = b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f"
GARBAGE = "garbage \x00\x08\x1b[31m \ufffe ]]> <tag> & \udce4"
BLOCK, KV_BYTES = 32, 18432


@dataclass
class Script:
    """What goes wrong. Nothing unless said.

    Attributes:
        start_after: Seconds before the port opens.
        fail_at_start: Print this as the last line of a traceback and exit with 1 before the port opens.
        unhealthy: /health answers 503 for ever.
        die_at: Exit with 1 this many seconds after the start.
        die_at_request: Exit on this request (1 is the readiness request).
        deaf_for: Seconds between closing its port and being gone, as of a process that holds memory of a device.
        hang_at_request: Never answer this request.
        hang_from_request: Nor any from this one on.
        steps: Seconds that each answer takes instead of ``latency``, while the counters go on.
        odd: What is answered on a path instead, by its name in ``odd.py``.
        odd_from: First request of that path that is answered so.
        die_on: Kill itself when this path is asked for.
        fail_at_request: Answer this request with 500.
        empty_from_request: 200 without a token, from this request on.
        abort_at: Give up these requests: what there is by then is the answer, and the finish reason is abort.
        no_text_at_request: Answer this request with null for the text.
        expired: Requests whose KV cache expired while it waited to be fetched, counted with the second request.
        wrong_bos: Count one prompt token too many, as with a second BOS.
        reset_at_request: Forget all counters at this request.
        renamed: What is called otherwise on /metrics.
        drop_metric: Do not export series whose name contains this.
        no_transfer: Ignore what the prefill side sent and compute the prompt.
        no_drafts: Never draft.
    held: Share of the KV cache that each finished request goes on holding.
    hoarded: Bytes that each request leaves in memory.
    stuck: Requests that go on running, by the gauge.
    other_end: Say this for every finish reason.
    says: Lines that the log has with the second request.
        ignore_sigterm: Go on after SIGTERM.
        leave_child: Start a child that outlives us: "group", or "session" for one that leaves the group too.
        garbage: Print bytes that no XML may hold, at the start and on dying.
        indiscreet: Print the whole environment at the start and on dying, with a file of the hub's if there is one.
        latency: Seconds per request.
        access_log: Print a line for each request.
        reset_status: What a reset answers (SGLang).
        lacks: Paths that answer 404, as of a server that is another one.
        info: Laid over what the engine says about its configuration (SGLang); None takes a key away.
        ignores: Flags that it takes and does not heed: what it shows of them is what it has without.
        chain_faults: What it does wrong where it serves the chain, by the names of ``chain_server.py``.
        loses_every: One answer of so many is counted with an accepted token less, and a draft more instead.
        silent: Show nothing of the configuration that is in force, as a build does whose wording moved.
    """

    start_after: float = 0.0
    fail_at_start: str = ""
    unhealthy: bool = False
    die_at: float = 0.0
    die_at_request: int = 0
    deaf_for: float = 0.0
    hang_at_request: int = 0
    hang_from_request: int = 0
    steps: float = 0.0
    odd: dict[str, str] = field(default_factory=dict)
    odd_from: int = 1
    die_on: str = ""
    fail_at_request: int = 0
    empty_from_request: int = 0
    abort_at: list[int] = field(default_factory=list)
    no_text_at_request: int = 0
    expired: int = 0
    wrong_bos: bool = False
    reset_at_request: int = 0
    renamed: dict[str, str] = field(default_factory=dict)
    drop_metric: str = ""
    no_transfer: bool = False
    no_drafts: bool = False
    held: float = 0.0
    hoarded: int = 0
    stuck: int = 0
    other_end: str = ""
    says: list[str] = field(default_factory=list)
    ignore_sigterm: bool = False
    leave_child: str = ""
    garbage: bool = False
    indiscreet: bool = False
    latency: float = 0.01
    access_log: bool = False
    reset_status: int = 200
    lacks: list[str] = field(default_factory=list)
    info: dict[str, Any] = field(default_factory=dict)
    ignores: list[str] = field(default_factory=list)
    chain_faults: list[str] = field(default_factory=list)
    loses_every: int = 0
    silent: bool = False


@dataclass
class Build:
    """What kind of build is asked for its flags.

    Attributes:
        options: It has on top of those that are always there.
        variables: Of the environment that it knows.
        choices: What some of them may be.
        broken: Being asked, print this as the last line of a traceback and exit with 1.
        asked_for: Seconds that asking takes.
        unimportable: What the module that serves raises as an ImportError.
        help: What becomes of the command's help: "dies", "says ERROR" and ends with 1, "other" format, "endless",
            "waits" for ever.
        module_help: The same of the module's.
        help_waits: Seconds before both.
        help_padding: Characters that are printed before the help.
    """

    options: list[str] = field(default_factory=lambda: ["--attention-backend"])
    variables: list[str] = field(
        default_factory=lambda: [
            "VLLM_CPU_KVCACHE_SPACE",
            "VLLM_CPU_OMP_THREADS_BIND",
            "VLLM_ENABLE_V1_MULTIPROCESSING",
            "VLLM_FLASHINFER_ALLREDUCE_BACKEND",
            "VLLM_HOST_IP",
            "VLLM_KV_CACHE_LAYOUT",
            "VLLM_NIXL_SIDE_CHANNEL_HOST",
            "VLLM_NIXL_SIDE_CHANNEL_PORT",
            "VLLM_NO_USAGE_STATS",
        ]
    )
    choices: dict[str, list[str]] = field(default_factory=dict)
    broken: str = ""
    asked_for: float = 0.0
    unimportable: str = ""
    help: str = ""
    module_help: str = ""
    help_waits: float = 0.0
    help_padding: int = 0


def build() -> Build:
    return Build(**json.loads(Path(os.environ["FAKE_ENGINE_SCRIPT"]).read_text()).get("build", {}))


def script_for(role: str) -> Script:
    script = Script(**json.loads(Path(os.environ["FAKE_ENGINE_SCRIPT"]).read_text()).get(role, {}))
    if script.garbage:
        say(GARBAGE)
    if script.indiscreet:
        say(environment())
    if script.ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if script.leave_child:
        alone = script.leave_child == "session"
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=alone)
    if script.die_at:
        threading.Timer(script.die_at, die, [script, f"RuntimeError: scripted death at {script.die_at} s"]).start()
    time.sleep(script.start_after)
    if script.fail_at_start:
        die(script, script.fail_at_start)
    return script


def say(text: str) -> None:
    sys.stderr.buffer.write(text.encode(errors="surrogateescape") + b"\n")
    sys.stderr.flush()


def environment() -> str:
    """As programs that are debugged print it: as lines, as Python, as JSON, and as a header."""
    token = os.environ.get("PLANTED_TOKEN", "")
    lines = [f"{name}={value}" for name, value in os.environ.items()]
    return "\n".join([*lines, repr(dict(os.environ)), json.dumps(dict(os.environ)), f"Authorization: Bearer {token}"])


def die(script: Script, last_words: str) -> None:
    if script.indiscreet:
        last_words += f" with PLANTED_TOKEN={os.environ.get('PLANTED_TOKEN')} and {os.environ.get('OTHER_ONE')}"
    say(f'Traceback (most recent call last):\n  File "engine.py", line 1, in <module>\n{last_words}')
    if script.garbage:
        say(GARBAGE)
    say("RuntimeError: Engine core initialization failed. See root cause above.")
    if script.deaf_for:
        for each in Server.sockets:
            with contextlib.suppress(OSError):  # closed already
                each.shutdown(socket.SHUT_RDWR)
        time.sleep(script.deaf_for)
    os._exit(1)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    sockets: ClassVar[list[socket.socket]] = []

    def server_activate(self) -> None:
        super().server_activate()
        self.sockets.append(self.socket)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.sockets.append(connection)
        return connection, address


@dataclass
class Engine:
    role: str
    script: Script
    k: int
    connected: bool
    twin: bool
    shown: str = ""
    chain: Any = None
    counters: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    running: int = 0
    usage: float = 0.0
    hoard: list[bytes] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def walk(self, path: str, body: Any) -> tuple[int, str, str]:
        """The answer of a server of the chain: a document or, of a stream, its events."""
        with self.lock:
            status, document, pieces = self.chain.respond(path, body)
            if status == 200:
                usage = (document or pieces[-1])["usage"]
                self.count_prompt(usage["prompt_tokens"], arrived=False)
                self.count_finished(usage["completion_tokens"], "length")
        if not pieces:
            return status, json.dumps(document), "application/json"
        events = [*map(json.dumps, pieces), "[DONE]"]
        return status, "".join(f"data: {event}\n\n" for event in events), "text/event-stream"

    def respond(self, body: dict[str, Any]) -> tuple[int, str]:
        response = self.complete(body)
        return (200, json.dumps(response)) if response else (500, '{"error": "scripted"}')

    def complete(self, body: dict[str, Any]) -> dict[str, Any] | None:
        """The response, None for a status 500."""
        with self.lock:
            self.requests += 1
            self.running += 1
            number = self.requests
            if number == self.script.reset_at_request:
                self.counters.clear()
        if number == self.script.die_at_request:
            die(self.script, f"RuntimeError: scripted death at request {number}")
        if number == self.script.hang_at_request or 0 < self.script.hang_from_request <= number:
            time.sleep(3600)
        self.work(self.script.steps)
        time.sleep(self.script.latency)
        response = None if number == self.script.fail_at_request else self.answer(body, number)
        with self.lock:
            self.running -= 1
            self.usage += self.script.held
            self.hoard += [b"x" * self.script.hoarded] if self.script.hoarded else []
        if number == 2:
            for line in self.script.says:
                say(line)
        return response

    def work(self, seconds: float) -> None:
        """Take long, and count tokens all the while."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(0.1)
            with self.lock:
                self.counters['vllm:iteration_tokens_total_count{engine="0"}'] += 1

    def answer(self, body: dict[str, Any], number: int) -> dict[str, Any]:
        prompt = v.encode(body["prompt"])
        received = bool((body.get("kv_transfer_params") or {}).get("do_remote_prefill"))
        arrived = self.connected and received and not self.script.no_transfer
        keys = [token - v.KEY for token in prompt if v.KEY <= token < v.KEY + v.KEYS]
        # Twins answer only with what travelled; here a wrong key stands for "no key found".
        key = keys[0] if keys and (arrived or not self.twin) else (keys[0] + 1) % v.KEYS if keys else None
        request = Request(prompt[-1], body["max_tokens"], key, bool(body.get("ignore_eos")))
        tokens, counts = simulate(request, self.k, disaggregated=arrived)
        if self.twin and not arrived:
            tokens = [TABLE.successor[v.byte(":")]] * len(tokens)
        if 0 < self.script.empty_from_request <= self.requests:
            tokens = []
        reason = "stop" if v.EOS in tokens and not request.ignore_eos else "length"
        if number in self.script.abort_at:
            tokens, reason = [], "abort"
        with self.lock:
            if not self.script.no_drafts:
                self.count_drafts(counts)
                if self.script.loses_every and number % self.script.loses_every == 0:
                    self.lose_token(counts)
            self.count_prompt(len(prompt), arrived=arrived)
            self.count_finished(len(tokens), reason)
            self.count_times(len(tokens))
            if self.connected and number == 2:
                self.counters['vllm:nixl_num_kv_expired_reqs_total{engine="0"}'] += self.script.expired
        text = None if number == self.script.no_text_at_request else v.decode(tokens)
        params = None
        if (body.get("kv_transfer_params") or {}).get("do_remote_decode"):
            params = {"do_remote_prefill": True, "do_remote_decode": False, "remote_engine_id": "fake"}
        return {
            "choices": [{"index": 0, "text": text, "finish_reason": self.script.other_end or reason}],
            "usage": {"prompt_tokens": len(prompt) + self.script.wrong_bos, "completion_tokens": len(tokens)},
            "kv_transfer_params": params,
        }

    def count_drafts(self, counts: Any) -> None:
        self.counters['vllm:spec_decode_num_drafts_total{engine="0"}'] += counts.drafts
        self.counters['vllm:spec_decode_num_draft_tokens_total{engine="0"}'] += counts.draft_tokens
        self.counters['vllm:spec_decode_num_accepted_tokens_total{engine="0"}'] += counts.accepted
        for position, accepted in enumerate(counts.accepted_per_position):
            name = "vllm:spec_decode_num_accepted_tokens_per_pos_total"
            self.counters[f'{name}{{engine="0",position="{position}"}}'] += accepted

    def lose_token(self, counts: Any) -> None:
        """As if the last token that was accepted had not been, and another draft had followed."""
        accepted = [position for position, each in enumerate(counts.accepted_per_position) if each]
        if accepted:
            name = f'accepted_tokens_per_pos_total{{engine="0",position="{accepted[-1]}"}}'
            changes = {name: -1, 'accepted_tokens_total{engine="0"}': -1}
            changes |= {'drafts_total{engine="0"}': 1, 'draft_tokens_total{engine="0"}': self.k}
            for name, change in changes.items():
                self.counters[f"vllm:spec_decode_num_{name}"] += change

    def count_prompt(self, tokens: int, *, arrived: bool) -> None:
        source = "external_kv_transfer" if arrived else "local_compute"
        self.counters[f'vllm:prompt_tokens_by_source_total{{engine="0",source="{source}"}}'] += tokens
        self.counters['vllm:prompt_tokens_total{engine="0"}'] += tokens
        if arrived:
            self.counters['vllm:nixl_xfer_time_seconds_count{engine="0"}'] += 1
            self.counters['vllm:nixl_bytes_transferred_count{engine="0"}'] += 1
            self.counters['vllm:nixl_bytes_transferred_sum{engine="0"}'] += -(-tokens // BLOCK) * BLOCK * KV_BYTES

    def count_finished(self, tokens: int, reason: str) -> None:
        self.counters['vllm:generation_tokens_total{engine="0"}'] += tokens
        self.counters[f'vllm:request_success_total{{engine="0",finished_reason="{reason}"}}'] += 1

    def count_times(self, tokens: int) -> None:
        """A quarter of the latency until the first token, and the rest of it between the others."""
        shares = {"time_to_first_token": (0.25, 1), "inter_token_latency": (0.75, max(tokens - 1, 0))}
        for name, (share, number) in shares.items():
            self.counters[f'vllm:{name}_seconds_sum{{engine="0"}}'] += self.script.latency * share
            self.counters[f'vllm:{name}_seconds_count{{engine="0"}}'] += number

    def fixed(self) -> dict[str, float]:
        """Series that are there before anything was counted."""
        fixed: dict[str, float] = {
            'vllm:prompt_tokens_total{engine="0"}': 0,
            'vllm:generation_tokens_total{engine="0"}': 0,
            'vllm:num_preemptions_total{engine="0"}': 0,
        }
        for reason in ("stop", "length", "abort", "error", "repetition"):
            fixed[f'vllm:request_success_total{{engine="0",finished_reason="{reason}"}}'] = 0
        fixed |= {
            f'vllm:prompt_tokens_by_source_total{{engine="0",source="{source}"}}': 0
            for source in ("local_compute", "local_cache_hit", "external_kv_transfer")
        }
        if self.k:
            for name in ("drafts", "draft_tokens", "accepted_tokens"):
                fixed[f'vllm:spec_decode_num_{name}_total{{engine="0"}}'] = 0
            for position in range(self.k):
                name = "vllm:spec_decode_num_accepted_tokens_per_pos_total"
                fixed[f'{name}{{engine="0",position="{position}"}}'] = 0
        if self.chain:
            fixed |= {f'vllm:num_requests_{name}{{engine="0"}}': 0 for name in ("running", "waiting")}
            fixed['vllm:kv_cache_usage_perc{engine="0"}'] = 0
        if self.connected:
            for name in ("failed_transfers", "failed_notifications", "kv_expired_reqs"):
                fixed[f'vllm:nixl_num_{name}_total{{engine="0"}}'] = 0
            fixed['vllm:nixl_xfer_time_seconds_count{engine="0"}'] = 0
            fixed['vllm:nixl_bytes_transferred_count{engine="0"}'] = 0
            fixed['vllm:nixl_bytes_transferred_sum{engine="0"}'] = 0
        return fixed

    def gauges(self) -> dict[str, float]:
        """What it holds at the moment."""
        memory = Path("/proc/self/statm").read_text().split()[1]
        return {
            'vllm:num_requests_running{engine="0"}': self.running + self.script.stuck,
            'vllm:num_requests_waiting{engine="0"}': 0,
            'vllm:kv_cache_usage_perc{engine="0"}': self.usage,
            "process_resident_memory_bytes": int(memory) * os.sysconf("SC_PAGE_SIZE"),
        }

    def metrics(self) -> str:
        with self.lock:
            series = self.fixed() | dict(self.counters) | self.gauges()
        if self.shown:
            series[f'vllm:cache_config_info{{engine="0",num_gpu_blocks="2048",{self.shown}}}'] = 1
        dropped = self.script.drop_metric
        text = "".join(
            f"{name} {float(value)}\n" for name, value in sorted(series.items()) if not dropped or dropped not in name
        )
        for old, new in self.script.renamed.items():
            text = text.replace(old, new)
        return text


def handler(get: dict[str, Any], post: dict[str, Any], script: Script) -> type[BaseHTTPRequestHandler]:
    asked: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def reply(self, status: int, content: str, kind: str = "application/json") -> None:
            data = content.encode(errors="surrogateescape")
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def odd(self) -> bool:
            """Whether the answer was one that no server should give."""
            asked[self.path] += 1
            if self.path == script.die_on:
                os.kill(os.getpid(), signal.SIGKILL)
            kind = script.odd.get(self.path)
            if kind is None or asked[self.path] < script.odd_from:
                return False
            from odd import ODD  # lies beside it where it serves; tests that only import it have no such path

            self.close_connection = True
            with contextlib.suppress(OSError):  # the other side had enough
                ODD[kind](self.connection)
            return True

        def do_GET(self) -> None:
            if self.odd():
                return
            action = get.get(self.path) if self.path not in script.lacks else None
            self.reply(*(action() if action else (404, "no such path")))

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                body = json.loads(content)
            except ValueError:
                body = None
            if self.odd():
                return
            self.reply(*(post[self.path](body) if self.path in post else (404, "no such path")))

        def log_message(self, _form: str, *said: Any) -> None:
            if script.access_log:
                print(f'INFO:     127.0.0.1:1 - "{said[0]}" 200 OK', flush=True)

    return Handler


def side_channel(port: int) -> None:
    listener = socket.create_server((os.environ["VLLM_NIXL_SIDE_CHANNEL_HOST"], port))
    while True:
        connection, _ = listener.accept()
        connection.sendall(GREETING)
        connection.close()


def make_arg_parser(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    sizes = (
        "--max-model-len", "--block-size", "--tensor-parallel-size", "--data-parallel-size", "--max-num-batched-tokens",
        "--max-num-seqs", "--gpu-memory-utilization", "--kv-cache-memory-bytes",
    )  # fmt: skip
    for name in ("--model", "--host", "--dtype", "--chat-template", *sizes, *build().options):
        parser.add_argument(name)
    parser.add_argument("--port", type=int)
    parser.add_argument("--speculative-config", type=json.loads, default={})
    parser.add_argument("--kv-transfer-config", type=json.loads, default={})
    parser.add_argument("--enforce-eager", action="store_true")
    parser.add_argument("--enable-prefix-caching", action=argparse.BooleanOptionalAction)
    return parser


def in_force(arguments: argparse.Namespace, script: Script) -> str:
    """Print what is in force as vLLM does, and return the labels of the metric that shows the rest."""
    without = make_arg_parser(argparse.ArgumentParser()).parse_args([])
    for name in script.ignores:
        setattr(arguments, name.replace("-", "_"), getattr(without, name.replace("-", "_")))
    if script.silent:
        return ""
    speculation, transfer = arguments.speculative_config, arguments.kv_transfer_config
    drafter = repr(speculation.get("model", arguments.model)) if speculation.get("method") != "ngram" else None
    method, count = speculation.get("method"), speculation.get("num_speculative_tokens")
    config = f"SpeculativeConfig(method={method!r}, model={drafter}, num_spec_tokens={count})" if speculation else None
    caching = arguments.enable_prefix_caching is not False
    print(
        f"(EngineCore pid=1) INFO 11-27 10:00:00 [core.py:133] Initializing a V1 LLM engine (v0.0.1) with config: "
        f"model={arguments.model!r}, speculative_config={config}, tokenizer={arguments.model!r}, revision=None, "
        f"dtype=torch.{arguments.dtype or 'float32'}, max_seq_len={arguments.max_model_len or 2048}, "
        f"tensor_parallel_size={arguments.tensor_parallel_size or 1}, "
        f"data_parallel_size={arguments.data_parallel_size or 1}, enforce_eager={arguments.enforce_eager}, "
        f"kv_cache_dtype=auto, enable_prefix_caching={caching}, "
        "compilation_config={'mode': <CompilationMode.NONE: 0>, 'custom_ops': ['all'], 'inductor_passes': {}}, "
        "kernel_config=KernelConfig(priority=Priority(rms_norm=['native']), moe_backend='auto')",
        flush=True,
    )
    parts = transfer.get("kv_connector_extra_config", {}).get("connectors", [])
    for each in [transfer, *parts] if transfer else []:
        print(f"Creating v1 connector with name: {each['kv_connector']} and engine_id: fake", flush=True)
        device = each.get("kv_buffer_device", "cpu")
        print(f"Registering KV_Caches. use_mla: False, kv_buffer_device: {device}, use_host_buffer: True", flush=True)
    return f'block_size="{arguments.block_size or 16}",cache_dtype="auto",enable_prefix_caching="{caching}"'


def helped(words: list[str], kind: str) -> list[str]:
    """The words, if no help is asked for or it is as ever."""
    if not any(word.startswith("--help") for word in words):
        return words
    time.sleep(3600 if kind == "waits" else build().help_waits)
    if kind == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind.startswith("says "):
        die(Script(), kind.removeprefix("says "))
    if kind == "other":
        print("OPTIONS\n  host: where to listen")
        sys.exit()
    while kind == "endless":
        print("megabytes " * 1000)
    print("INFO 11-27 10:00:00 [importing.py:17] a log line", "x" * build().help_padding, sep="\n")
    return ["--help" if word.startswith("--help") else word for word in words]


def command(words: list[str]) -> None:
    """``vllm serve MODEL ...``, and its help."""
    if words[:1] != ["serve"]:
        sys.exit(f"vllm: error: invalid choice: {words[:1]}")
    parser = make_arg_parser(argparse.ArgumentParser(prog="vllm serve"))
    parser.add_argument("model_tag", nargs="?")
    arguments = parser.parse_args(helped(words[1:], build().help))
    arguments.model = arguments.model_tag or arguments.model
    serve_engine(arguments)


def serve_engine(arguments: argparse.Namespace | None = None) -> None:
    if arguments is None:
        words = helped(sys.argv[1:], build().module_help)
        arguments = make_arg_parser(argparse.ArgumentParser(prog="api_server.py")).parse_args(words)
    role = {"kv_producer": "prefill", "kv_consumer": "decode"}.get(arguments.kv_transfer_config.get("kv_role"), "")
    role = role or ("server" if Path.cwd().name == "server" else Path.cwd().name.split("-")[0])
    script = script_for(role)
    checkpoint = Path(arguments.model).resolve().name
    shown = in_force(arguments, script)
    if script.garbage:
        say(GARBAGE)
    engine = Engine(
        role=role,
        script=script,
        k=arguments.speculative_config.get("num_speculative_tokens", 0),
        connected=bool(arguments.kv_transfer_config),
        twin=checkpoint.startswith("twin_"),
        shown=shown,
    )
    if "VLLM_NIXL_SIDE_CHANNEL_PORT" in os.environ:
        port = int(os.environ["VLLM_NIXL_SIDE_CHANNEL_PORT"])
        threading.Thread(target=side_channel, args=[port], daemon=True).start()

    if not arguments.enforce_eager:
        print("Graph capturing finished in 1 secs, took 0.01 GiB", flush=True)
    health = 503 if script.unhealthy else 200
    get = {
        "/health": lambda: (health, ""),
        "/metrics": lambda: (200, engine.metrics(), "text/plain"),
        "/version": lambda: (200, '{"version": "0.0.1"}'),
        "/v1/models": lambda: (200, json.dumps({"data": [{"id": arguments.model}]})),
    }
    post = {"/v1/completions": engine.respond}
    if checkpoint.startswith("chain"):
        from chain_server import ChainServer  # needs numpy

        turn = ":" if "add_generation_prompt" in (arguments.chat_template or "") else ""
        engine.chain = ChainServer(frozenset(script.chain_faults), turn=turn)
        post = {path: partial(engine.walk, path) for path in ("/v1/completions", "/v1/chat/completions")}
    Server((arguments.host, arguments.port), handler(get, post, script)).serve_forever()
