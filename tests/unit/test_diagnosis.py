"""The root cause in logs of engines, as they really look."""

from __future__ import annotations

import pytest

from harness.policy.diagnosis import root_cause, tail
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
        ("just a line\nthe last one\n", "the last one"),
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
        "no error",
        "empty",
        "two errors",
        "a sentence",
    ],
)
def test_root_cause(log: str, cause: str) -> None:
    assert root_cause(log, SPEC.echoes).startswith(cause)


def test_tail() -> None:
    assert tail("\n".join(map(str, range(100))), 3) == "97\n98\n99"
