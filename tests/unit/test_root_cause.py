"""The root cause in logs of engines, as they really look."""

from __future__ import annotations

import pytest

from harness.engines.vllm import ENGINE
from harness.logs.build_output import build_cause
from harness.logs.root_cause import last_words, root_cause, tail

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
    assert root_cause(log, ENGINE.echoes).startswith(cause)


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
    assert root_cause("\n".join(lines[:length]), ENGINE.echoes) == ""
    assert root_cause(lines[length - 1], ENGINE.echoes) == ""


def test_last_words_are_no_requests() -> None:
    assert last_words(HEALTHY).startswith("Loading safetensors checkpoint shards: 50%")
    assert last_words("") == ""


def test_tail() -> None:
    assert tail("\n".join(map(str, range(100))), 3) == "97\n98\n99"


SHA256SUM = "sha256sum: SHA256SUMS: no properly formatted checksum lines found"
DOCKER_20 = f"""\
#6 [1/3] FROM docker.io/library/base:local
#6 sha256:75754fece680f63b8a6e6f3e1bc2375ff82cacd2c1ab43f8dd782c1ee1ba238d
#6 CACHED

#4 [2/3] RUN echo fine
#4 sha256:8db8e46ad5666acf2e87da6eedee892c9a489796534347ac5fc094347893854f
#4 0.481 fine
#4 DONE 0.8s

#5 [3/3] RUN sh /mnt/add-source.sh
#5 sha256:42422da15d02a81353af9491536075e27e57d83ec5224715725901d878ec37cf
#5 0.333 hello
#5 0.334 {SHA256SUM}
#5 ERROR: executor failed running [/bin/sh -c sh /mnt/add-source.sh]: exit code: 1
------
 > [3/3] RUN sh /mnt/add-source.sh:
------
executor failed running [/bin/sh -c sh /mnt/add-source.sh]: exit code: 1
"""
BUILDX = """\
#0 building with "default" instance using docker driver

#7 [engine 2/4] RUN --mount=type=bind,source=engine,target=/mnt     sh /mnt/step.sh engine
#7 0.310 Collecting nixl==1.5.1
#8 [tools 1/2] RUN echo aside
#8 0.2 error: of no importance, and this step goes on
#7 1.201 \x1b[31mERROR: Could not find a version that satisfies the requirement nixl==1.5.1 (from versions: none)\x1b[0m
#7 1.201 ERROR: No matching distribution found for nixl==1.5.1
#7 1.300
#7 1.300 [notice] A new release of pip is available: 24.0 -> 25.3
#7 ERROR: process "/bin/sh -c sh /mnt/step.sh engine" did not complete successfully: exit code: 1
#8 CANCELED
------
 > [engine 2/4] RUN --mount=type=bind,source=engine,target=/mnt     sh /mnt/step.sh engine:
1.201 ERROR: No matching distribution found for nixl==1.5.1
------
Dockerfile:12
--------------------
  11 |     FROM base
  12 | >>> RUN --mount=type=bind,source=engine,target=/mnt \\
  13 | >>>     sh /mnt/step.sh engine
--------------------
ERROR: target image: failed to solve: process "/bin/sh -c sh /mnt/step.sh engine" did not complete \
successfully: exit code: 1
"""
NO_BASE = """\
#2 [internal] load metadata for docker.io/library/nowhere:1
#2 ERROR: docker.io/library/nowhere:1: not found
------
 > [internal] load metadata for docker.io/library/nowhere:1:
------
ERROR: failed to solve: nowhere:1: docker.io/library/nowhere:1: not found
"""
SILENT = """\
#5 [2/2] RUN exit 3
#5 ERROR: process "/bin/sh -c exit 3" did not complete successfully: exit code: 3
"""
PYTHON = """\
#5 [2/2] RUN python3 /mnt/x.py
#5 0.1 Traceback (most recent call last):
#5 0.1   File "/mnt/x.py", line 1, in <module>
#5 0.1 FileNotFoundError: [Errno 2] No such file or directory: '/data'
#5 ERROR: executor failed running [/bin/sh -c python3 /mnt/x.py]: exit code: 1
"""


NIXL = "ERROR: No matching distribution found for nixl==1.5.1"
STEP = "[engine 2/4] RUN --mount=type=bind,source=engine,target=/mnt sh /mnt/step.sh engine ended with status 1"
MISSING = "FileNotFoundError: [Errno 2] No such file or directory: '/data'"


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        (DOCKER_20, f"hello; {SHA256SUM} ([3/3] RUN sh /mnt/add-source.sh ended with status 1)"),
        (BUILDX, f"{NIXL} ({STEP})"),
        (NO_BASE, "docker.io/library/nowhere:1: not found"),
        (SILENT, "[2/2] RUN exit 3 ended with status 3"),
        (PYTHON, f"{MISSING} ([2/2] RUN python3 /mnt/x.py ended with status 1)"),
        ("", ""),
        ("no builder here\n", ""),
    ],
)
def test_a_failed_build_says_what_its_step_said(output: str, cause: str) -> None:
    assert build_cause(output) == cause
