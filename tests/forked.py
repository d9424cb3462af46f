"""Commands of the harness in forks of a process that has imported it already.

Imports are most of what a command on the scripted engine costs, and the tests start some thousand. What a fork begins
with is what the interpreter has after its imports, so it is used where that is all the same: not where a test sets a
variable that a library reads while it is imported.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from harness.__main__ import main

_READ_WHEN_USED = ("DOCKER_HOST", "HARNESS_", "XDG_CACHE_HOME", "PYTEST_CURRENT_TEST")
"""Variables, by how they begin, that no library reads while it is imported."""


def _lasting(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if not name.startswith(_READ_WHEN_USED)}


@dataclass(frozen=True)
class _Server:
    """The process that forks: where it is asked, and the environment that it was started in."""

    path: Path
    env: Mapping[str, str]
    process: subprocess.Popen[bytes]


@cache
def _server(_process: int) -> _Server:
    """The server of this process. It ends with this process, which alone holds the other end of its standard input."""
    path = Path(tempfile.mkdtemp(prefix="inference-harness-forks-")) / "socket"
    ready, says = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.forked", str(path), str(says)],
        stdin=subprocess.PIPE,
        pass_fds=[says],
        cwd=Path(__file__).parents[1],
    )
    os.close(says)
    assert os.read(ready, 1), "the server of forks did not start"
    os.close(ready)
    return _Server(path, dict(os.environ), process)


def perform(argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> subprocess.CompletedProcess[str] | None:
    """Run a command of the harness to its end in a fork; None where only an interpreter of its own will do.

    Args:
        argv: What follows the program's name.
        env: The whole environment.
        cwd: Working directory.
    """
    server = _server(os.getpid())
    if _lasting(env) != _lasting(server.env):
        return None
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, socket.socket(socket.AF_UNIX) as asked:
        asked.connect(str(server.path))
        document = json.dumps({"argv": list(argv), "env": dict(env), "cwd": str(cwd)}).encode()
        socket.send_fds(asked, [len(document).to_bytes(4, "big")], [out.fileno(), err.fileno()])
        asked.sendall(document)
        status = int(asked.makefile().read())
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    return subprocess.CompletedProcess([sys.executable, "-m", "harness", *argv], status, *texts)


def _serve(path: str, ready: int) -> None:
    """Import what commands import, then fork for each request until nobody is there to ask."""
    import harness.cli.run_commands
    import harness.program
    import harness.run.prepare
    import harness.run.supervise  # noqa: F401 # what is imported here, forks have

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listening, selectors.DefaultSelector() as selector:
        listening.bind(path)
        listening.listen(64)
        os.write(ready, b"ready")
        os.close(ready)
        selector.register(sys.stdin, selectors.EVENT_READ)
        selector.register(listening, selectors.EVENT_READ)
        while all(key.fileobj is listening for key, _ in selector.select()):
            connection, _ = listening.accept()
            with connection:
                if not os.fork():
                    listening.close()
                    selector.close()
                    _attend(connection)
    Path(path).unlink()
    Path(path).parent.rmdir()


def _attend(connection: socket.socket) -> NoReturn:
    """Run one command in a fork of this fork, and tell its exit status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, (out, err), _, _ = socket.recv_fds(connection, 4, 2)
    with connection.makefile("rb") as file:
        document = file.read(int.from_bytes(size, "big"))
    child = os.fork()
    if not child:
        connection.close()
        _become(json.loads(document), out, err)
    _, status = os.waitpid(child, 0)
    connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(request: Mapping[str, Any], out: int, err: int) -> NoReturn:
    """Be what ``python -m harness`` would be: its arguments, environment, folder and files."""
    status: Any = 1
    try:
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (out, 1), (err, 2)):
            os.dup2(source, target)
            os.close(source)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        sys.argv[:] = [str(Path(__file__).parents[1] / "harness" / "__main__.py"), *request["argv"]]
        main()
    except SystemExit as ended:
        status = ended.code
    except BaseException:  # noqa: BLE001 # a fork never goes on where its server was
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
