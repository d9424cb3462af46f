"""The root cause in logs of engines, as they really look."""

from __future__ import annotations

import pytest

from harness.policy.diagnosis import last_words, root_cause, tail
from harness.policy.engines.vllm import SPEC

WORKER_FAILED = """\
(EngineCore pid=48) INFO 11-20 20:22:52 [core.py:100] Initializing
(EngineCore pid=48) ERROR 11-20 20:22:53 [core.py:1510] EngineCore failed to start.
(EngineCore pid=48) ERROR 11-20 20:22:53 [core.py:1510] Traceback (most recent call last):
(EngineCore pid=48) ERROR 11-20 20:22:53 [core.py:1510]     raise AttributeError(
(EngineCore pid=48) ERROR 11-20 20:22:53 [core.py:1510] AttributeError: '_C' object has no attribute 'init'
Process EngineCore:
Traceback (most recent call last):
AttributeError: '_C' object has no attribute 'init'
(APIServer pid=15) Traceback (most recent call last):
(APIServer pid=15) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
/usr/lib/python3.11/multiprocessing/resource_tracker.py:254: UserWarning: resource_tracker: 1 leaked semaphore
  warnings.warn('resource_tracker: There appear to be %d '
"""

BAD_FLAG = """\
INFO: starting
usage: api_server.py [-h] [--model MODEL]
api_server.py: error: unrecognized arguments: --no-such-flag
"""

WORKER_KILLED = """\
(APIServer pid=9) INFO:     127.0.0.1:1 - "POST /v1/completions HTTP/1.1" 200 OK
(APIServer pid=9) ERROR 11-20 21:37:24 [async_llm.py:906] Traceback (most recent call last):
(APIServer pid=9) ERROR 11-20 21:37:24 [async_llm.py:906]     raise self._format_exception(outputs) from None
(APIServer pid=9) ERROR 11-20 21:37:24 [async_llm.py:906] vllm.v1.engine.exceptions.EngineDeadError: EngineCore \
encountered an issue. See stack trace (above) for the root cause.
INFO:     Application shutdown complete.
"""

INVALID = """\
Traceback (most recent call last):
    s.__pydantic_validator__.validate_python(ArgsKwargs(args, kwargs), self_instance=s)
pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig
  Value error, User-specified max_model_len (100000) is greater than the derived max_model_len (2048).
    For further information visit https://errors.pydantic.dev/2.14/v/value_error
"""

ROUTER = "\x1b[2m2026-11-20\x1b[0m \x1b[31mERROR\x1b[0m router: address already in use\nDEBUG: bye\n"


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        (WORKER_FAILED, "AttributeError: '_C' object has no attribute 'init'"),
        (BAD_FLAG, "api_server.py: error: unrecognized arguments: --no-such-flag"),
        (WORKER_KILLED, "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue."),
        (
            INVALID,
            (
                "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig Value error, "
                "User-specified max_model_len (100000) is greater"
            ),
        ),
        (ROUTER, "2026-11-20 ERROR router: address already in use"),
        ("just a line\nSegmentation fault (core dumped)\nbye\n", "Segmentation fault (core dumped)"),
        ("/opt/engine/bin/python: No module named vllm\n", "/opt/engine/bin/python: No module named vllm"),
        ("", ""),
        ("ValueError: first\nKeyError: 'second'\n", "KeyError: 'second'"),
        ("text with Error inside a sentence: no exception\n", "text with Error inside a sentence: no exception"),
    ],
    ids=[
        "worker failed",
        "bad flag",
        "worker killed",
        "two lines",
        "router",
        "no exception",
        "no module",
        "empty",
        "two errors",
        "a sentence",
    ],
)
def test_root_cause(log: str, cause: str) -> None:
    assert root_cause(log, SPEC.echoes).startswith(cause)


HEALTHY = """\
/opt/site-packages/vllm/api_server.py:24: DeprecationWarning: `vllm.x` is deprecated and may fail.
(APIServer pid=9) INFO 11-20 21:37:20 [core.py:71] Initializing a V1 engine; no error so far
(APIServer pid=9) WARNING 11-20 21:37:20 [cpu.py:71] unknown CPU, failed to bind threads
[2026-11-20 10:00:01] INFO model_runner.py:12: Load weight begin, missing keys ignored
[2026-11-20 10:00:02] Decode batch. #running-req: 1, accept len: 3.10, gen throughput (token/s): 31.2, #queue-req: 0
[rank0]:[W1120 10:00:00 ProcessGroupNCCL.cpp:1479] Warning: destroy_process_group() was not called, resources may fail
2026-11-20T10:00:00.123Z  INFO router: worker refused nothing
Loading safetensors checkpoint shards: 50% Completed | 1/2 [00:01<00:01, failed 0]
(APIServer pid=9) INFO:     127.0.0.1:1 - "POST /v1/completions HTTP/1.1" 500 Internal Server Error
INFO:     127.0.0.1:43604 - "GET /health HTTP/1.1" 200 OK
[2026-11-20 10:00:03] INFO:     127.0.0.1:43604 - "POST /error HTTP/1.1" 200 OK
127.0.0.1 - - [20/Nov/2026 10:00:00] "GET /metrics HTTP/1.1" 200 -
"""


@pytest.mark.parametrize("length", range(1, len(HEALTHY.splitlines()) + 1))
def test_neither_requests_nor_progress_are_a_cause(length: int) -> None:
    lines = HEALTHY.splitlines()
    assert root_cause("\n".join(lines[:length]), SPEC.echoes) == ""
    assert root_cause(lines[length - 1], SPEC.echoes) == ""


def test_last_words_are_no_requests() -> None:
    assert last_words(HEALTHY).startswith("Loading safetensors checkpoint shards: 50%")
    assert last_words("") == ""


def test_tail() -> None:
    assert tail("\n".join(map(str, range(100))), 3) == "97\n98\n99"
