"""``serve``: start every server of the case, each recorded before the next one starts."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from harness.base.domain import Platform, Server
from harness.base.errors import CannotJudge
from harness.containers import passthrough
from harness.devices import accelerators, device_shares
from harness.engines.engine import Place, shell_line
from harness.host import files, ports, processes, signals
from harness.run import ask_flags, occupancy, server_environment, spread
from harness.run.context import Context
from harness.run.rundir import Prepared, RunningServer, Runtime, Servers


def run(context: Context) -> None:
    """Start the servers and write ``servers.json`` and ``commands.sh``.

    Raises:
        CannotJudge: The engine does not know what the case sets, a server could not be started, or the system allows
            too few open files for the requests.
    """
    context.require_open_files()
    prepared, rundir = context.prepared, context.rundir
    python = context.runtime.engine_python
    checkpoints = {name: checkpoint.path for name, checkpoint in prepared.checkpoints.items()}
    apart = _Apart(prepared.platform, _names(context.runtime))
    known = ask_flags.known(context)
    place = Place(
        python,
        checkpoints,
        ports.Ports().take,
        apart,
        known.command if known else (),
        share=_share(prepared, context.runtime),
    )
    with spread.places(rundir, place) as others:
        servers = context.engine.servers(prepared.case, place, others)
    if known:
        servers = ask_flags.fitted(context, known, servers)
    files.write(rundir.path / "commands.sh", _commands(servers, rundir.cwd))
    started: list[RunningServer] = []
    rundir.write("servers", Servers, Servers(servers=started))
    for server in servers:
        context.progress.tick(f"starting {server.name}", len(started), len(servers))
        folder = _working_folder(rundir.cwd, server)
        argv, extra = spread.command(rundir, server)
        with signals.deferred():
            try:
                process = processes.start(
                    server.name,
                    argv,
                    env={**extra, **server.env, **server_environment.values(server.pass_env)},
                    folder=folder,
                    log=rundir.log(server.name),
                    label=prepared.label(rundir.path),
                )
            except OSError as error:
                raise CannotJudge(f"{server.name} could not be started", cause=str(error)) from error
            started.append(RunningServer(server=server, process=process, folder=str(folder)))
            rundir.write("servers", Servers, Servers(servers=started))


def _names(runtime: Runtime) -> list[str]:
    """What the devices of the run are called where the servers run, server by server."""
    own = device_shares.distinct(runtime.devices)
    names = dict(zip(own, passthrough.names_inside(own), strict=True)) if runtime.container else {}
    return [names.get(each, each.name) for each in runtime.devices]


def _share(prepared: Prepared, runtime: Runtime) -> float:
    """Part of the memory of its device that a server may use: of the smallest one, so that all servers get the same."""
    share = occupancy.share_of(prepared.case, prepared.platform, runtime.devices)
    return share / min(each.memory_bytes for each in runtime.devices) if share else 0.0


class _Apart:
    """Sets devices apart, in the order in which they are listed."""

    def __init__(self, platform: Platform, names: Sequence[str]) -> None:
        self._platform, self._left = platform, list(names)

    def __call__(self, count: int) -> dict[str, str]:
        if not self._left:
            return {}  # of a platform without devices
        mine, self._left = self._left[:count], self._left[count:]
        return accelerators.environment(self._platform, mine)


def _working_folder(cwd: Path, server: Server) -> Path:
    folder = cwd / server.name
    folder.mkdir(parents=True, exist_ok=True)
    for name, target in server.links.items():
        link = folder / name
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    return folder


def _commands(servers: list[Server], cwd: Path) -> str:
    """One shell line a server, to paste."""
    lines = ["# One line a server; each runs in the foreground."]
    for server in servers:
        where = f", on {server.host}" if server.is_elsewhere else ""
        lines += [f"# {server.name}{where}", f"cd {shlex.quote(str(cwd / server.name))} && {shell_line(server)}"]
    return "\n".join(lines) + "\n"
