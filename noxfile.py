"""The menu: `nox -l`. What follows `--` goes to the harness, or to pytest in the session `tests`.

A failed session makes Nox end with 1. Here it ends with the harness's own code instead: 1 a check failed, 2 wrong
input, 3 nothing selected, 4 could not judge, 130 interrupted; of several, the highest.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP]


def on_signals(handler: Callable[[int, object], None] | signal.Handlers) -> None:
    """Call ``handler`` for whatever asks Nox to end. A CI system sends SIGTERM, of which Nox itself knows nothing."""
    for number in SIGNALS:
        # Below nohup a terminal may go away, and is ignored.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


if __name__ == "__main__":  # ./nox calls it as a program: a signal is to be answered before Nox is imported
    on_signals(lambda *_: os._exit(130))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    from nox.__main__ import main

    sys.argv[:1] = ["nox", "--noxfile", __file__]
    sys.exit(main())

import atexit
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import nox
import nox.command
import nox.popen
from nox.command import CommandFailed

nox.needs_version = ">=2026.10"
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "tests"]

# (folder whose pyproject.toml is locked, lock file in it, further arguments). The order matters: dev follows harness.
LOCKS = [
    (".", "requirements/harness.txt", ["pyproject.toml", "--group", "build"]),
    (".", "requirements/dev.txt", ["pyproject.toml", "--group", "dev", "--constraint", "requirements/harness.txt"]),
    (".", "requirements/nox.txt", ["--group", "nox"]),
    ("docker/requirements/vllm-cpu", "engine.txt", ["pyproject.toml"]),
    ("docker/requirements/vllm-cuda", "engine.txt", ["pyproject.toml", "--only-binary", ":all:"]),
    ("docker/requirements/sglang-cuda", "engine.txt", ["pyproject.toml", "--only-binary", ":all:"]),
    *[
        ("docker/requirements", f"{name}.txt", ["--group", name, "--python-version", "3.10", "--only-binary", ":all:"])
        for name in ("pip", "nixl", "vllm-router", "sglang-router")
    ],
]
# Of pytest-xdist. tests/conftest.py says how many workers there are.
WORKERS = ("--numprocesses", "logical", "--dist", "loadscope", "--no-loadscope-reorder")

codes: list[int] = []
begun: list[Path] = []
received: list[int] = []
children: list[subprocess.Popen[bytes] | None] = []
PATIENCE = 600  # seconds for what runs to end after a signal: stopping the servers of a large case takes minutes


def end(number: int, _frame: object) -> None:
    """Of the signals only the first counts: what runs is told, and nothing is started any more."""
    received.append(number)
    if not children:
        leave(130)
    if len(received) == 1:
        signal.alarm(PATIENCE)
        tell(signal.SIGTERM)


def tell(number: int) -> None:
    """Signal what runs; where it leads a process group, all of that."""
    for child in filter(None, children):
        with suppress(ProcessLookupError):
            if os.getpgid(child.pid) == child.pid:
                os.killpg(child.pid, number)
            else:
                child.send_signal(number)


def popen(
    args: list[str], *, env: Any = None, silent: bool = False, stdout: Any = None, stderr: Any = None, **_limits: Any
) -> tuple[int, str]:
    """Run a command to its end, in place of Nox's own function.

    That one takes an interrupted command which ended well for a success, and the next one is started; and it leaves a
    child to itself if the signal comes while it is being started.
    """
    children.append(None)
    try:
        if received:
            raise KeyboardInterrupt
        # Installers start programs of their own. Other commands stay in the terminal's group, to be typed at.
        options: dict[str, Any] = {"stdout": subprocess.PIPE, "process_group": 0} if silent else {"stdout": stdout}
        child = children[-1] = subprocess.Popen(args, env=env, stderr=stderr, **options)
        if received:
            tell(signal.SIGTERM)
        output, _ = child.communicate()
    finally:
        children.pop()
    if received:
        raise KeyboardInterrupt
    return child.returncode, nox.popen.decode_output(output) if output else ""


nox.command.popen = popen
on_signals(end)
signal.signal(signal.SIGALRM, lambda *_: tell(signal.SIGKILL))


@atexit.register
def exit_with_highest_code() -> None:
    """Replace Nox's 1 by what the harness said."""
    # What follows is Python's own end, which sets handlers back, and leaves alone what is ignored.
    on_signals(signal.SIG_IGN)
    if received or codes:
        leave(130 if received else max(codes))


def leave(code: int) -> None:
    """End at once with ``code``."""
    leave_behind(code)
    with suppress(OSError, RuntimeError):  # nobody reads it; or the signal came in the middle of a line
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def leave_behind(code: int) -> None:
    """Write ``code`` where the next step of a CI job finds it: a step that gave way to Nox cannot look at it itself."""
    for folder in begun:
        with suppress(OSError):
            (folder / "exit_code").write_text(f"{code}\n")


def install(session: nox.Session, lock: str) -> None:
    """Install a lock file and the harness itself."""
    begun.append(Path(session.virtualenv.location).absolute())
    (begun[-1] / "exit_code").unlink(missing_ok=True)
    # Python compiles what it imports, and most of what is installed no command ever does.
    quiet = ["--quiet", "--disable-pip-version-check", "--no-compile"]
    try:
        session.install(*quiet, "--require-hashes", "--requirement", f"requirements/{lock}.txt", silent=True)
        session.install(*quiet, "--no-deps", "--no-build-isolation", "--editable", ".", silent=True)
    except CommandFailed:
        codes.append(4)  # nothing was judged
        raise


def run(session: nox.Session, *command: str) -> None:
    """Run something whose exit code is that of the whole."""
    try:
        session.run(*command)
    except CommandFailed as failed:
        code = failed.return_code or 1
        # Killed: by a signal that asks, before it could answer it, or by another one, and nothing was judged.
        codes.append(code if code > 0 else 130 if -code in SIGNALS else 4)
        raise
    leave_behind(0)


def command(session: nox.Session, *words: str) -> None:
    """A command of the harness; what follows ``--`` goes to it."""
    install(session, "harness")
    run(session, "python", "-m", "harness", *words, *session.posargs)


def suites() -> Iterator[tuple[str, str, str]]:
    """Suite, platform and title of every session that runs cases: whatever has a file below baselines/.

    But for suites that say `menu = false`: their cases need a server that runs already.
    """
    for folder in sorted({path.parent for path in Path("baselines").glob("*/[!_]*.toml")}):
        suite = read(folder / "_suite.toml")
        if suite.get("menu") is False:
            continue
        title = suite.get("title", folder.name)
        named = [read(path).get("platforms") for path in folder.glob("[!_]*.toml")]
        lists = [each for each in named if isinstance(each, list)]
        for platform in sorted({platform for each in lists for platform in each if isinstance(platform, str)}):
            yield folder.name, platform, f"{title} ({platform})."


def read(path: Path) -> dict[str, Any]:
    """A TOML file. What else may be wrong with it, the harness says."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError, RecursionError) as error:
        print(f"{path}: not valid TOML: {error}", file=sys.stderr)
        sys.exit(2)


def accept(suite: str, platform: str, about: str) -> None:
    """Define the session that runs one suite on one platform."""

    @nox.session(name=f"{suite}_{platform}", tags=["accept", platform])
    def session_function(session: nox.Session) -> None:
        command(session, "run", "--suite", suite, "--platform", platform)

    session_function.__doc__ = about


for _suite, _platform, _about in suites():
    accept(_suite, _platform, _about)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests: units, faults on a scripted engine, and the real engine on CPU (and in Docker, where it answers).

    tests/conftest.py says how many workers there are, and what runs alone. `-- -n 0`: none, as for --pdb.
    """
    install(session, "dev")
    run(session, "python", "-m", "pytest", *WORKERS, *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """What quick tests reach of the rooms that touch no machine: less than pyproject.toml says is a failure."""
    install(session, "dev")
    run(session, "python", "-m", "pytest", "tests/unit", "-m", "quick", "--cov", *WORKERS, *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Wrong input of every kind, at length: -- --examples 3000 for each test; anything else goes to pytest too."""
    install(session, "dev")
    posargs = session.posargs if "--examples" in session.posargs else ["--examples", "1000", *session.posargs]
    run(session, "python", "-m", "pytest", "tests/fuzz", "--timeout", "0", *posargs)


@nox.session
def storm(session: nox.Session) -> None:
    """Kill runs in every way at random moments (-- --kills 1000 --kills-of-engines 20 --record FILE)."""
    install(session, "dev")
    run(session, "python", "-m", "pytest", "tests/storm", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Format, lint, types, import contracts, shell, Dockerfile, workflows, generated files, and the rules for cases."""
    install(session, "dev")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("mypy")
    session.run("lint-imports", "--no-cache")
    session.run("taplo", "fmt", "--check", env={"RUST_LOG": "warn"})
    session.run("taplo", "lint", env={"RUST_LOG": "warn"})
    session.run("shellcheck", "nox", ".ci/run", *map(str, sorted(Path("docker").glob("*.sh"))), *listed("scripts"))
    session.run("hadolint", "docker/Dockerfile")
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *listed(".github/workflows"))
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-actions", "action.yml")
    session.run("check-jsonschema", "--builtin-schema", "vendor.dependabot", ".github/dependabot.yml")
    forms = [f".github/ISSUE_TEMPLATE/{name}.yml" for name in ("bug", "case")]
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-issue-forms", *forms)
    audited = [".github/workflows", ".github/dependabot.yml", "action.yml"]
    session.run("zizmor", "--offline", "--quiet", "--persona", "auditor", *audited)
    session.run("python", "-m", "harness", "generate", "--check")
    session.run("python", "-m", "harness", "check")


@nox.session
def harness(session: nox.Session) -> None:
    """Any command of the harness, without an environment of your own: -- plan --platform cpu, -- summary runs."""
    command(session)


@nox.session
def build(session: nox.Session) -> None:
    """Build an image (-- --engine NAME --platform NAME --base-image NAME); nothing happens if it is there already."""
    command(session, "build")


@nox.session
def rebuild_check(session: nox.Session) -> None:
    """Build an image twice without cache and compare the two, file by file where they differ."""
    command(session, "rebuild-check")


@nox.session
def doctor(session: nox.Session) -> None:
    """Say what this machine can run, and of everything else why not and what to do (-- --format json, --offline)."""
    command(session, "doctor")


@nox.session
def engine_drift(session: nox.Session) -> None:
    """Say what cases ask of a build that it lacks, gives up or never reads: -- vllm==0.33.0, a wheel, a checkout."""
    command(session, "drift")


@nox.session
def power(session: nox.Session) -> None:
    """Break an engine on purpose, one published bug after the other: -- --engine-python PATH --mutants a,b."""
    command(session, "power")


@nox.session
def pins(session: nox.Session) -> None:
    """Look up the digests of the base images and write them down (-- --check: change nothing, fail on a re-tag)."""
    command(session, "pins")


@nox.session
def generate(session: nox.Session) -> None:
    """Write everything that is generated: expected values, JSON Schemas, tables in the README."""
    install(session, "harness")
    session.run("python", "-m", "harness", "generate", *session.posargs)


@nox.session
def locks(session: nox.Session) -> None:
    """Resolve the hash-locked requirements anew where their inputs changed (-- --upgrade: everything)."""
    install(session, "dev")
    common = ["--universal", "--generate-hashes", "--no-emit-index-url", "--no-annotate", "--no-header", "--quiet"]
    for folder, lock, source in LOCKS:
        where = ["--directory", folder, "--output-file", lock]
        session.run("uv", "pip", "compile", *common, *source, *where, *session.posargs)
    session.run("python", "-m", "harness", "lock-packages")


def listed(folder: str) -> list[str]:
    """Paths of the files in a folder."""
    return sorted(str(path) for path in Path(folder).iterdir())
