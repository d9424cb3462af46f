"""Every option and argument that several commands have: its name, its meaning and its default, once.

What always comes together is a group: a dataclass, which a command takes as one parameter
(:func:`harness.cli.assembling.expanded`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.base.errors import UsageError
from harness.base.settings import cut

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from harness.images.engine_image import Build
    from harness.run.attachment import Attachment
    from harness.run.prepare import Options

CASES = Path("baselines")
ENVIRONMENTS = Path(".nox")
RUNS = Path("runs")
_WEEK = 7 * 24 * 3600.0

CaseArguments = Annotated[
    list[str] | None,
    typer.Argument(metavar="CASE", help="Case ids, patterns ('eagle3/*') or case files; all if none."),
]
CaseArgument = Annotated[
    str,
    typer.Argument(
        metavar="CASE", help="Case id, with or without the point of its matrix: disagg/known_answer_eagle3."
    ),
]
Suite = Annotated[str | None, typer.Option("--suite", help="Only cases of this suite.")]
Platform = Annotated[str | None, typer.Option("--platform", help="cpu, cuda or rocm; all if not given.")]
PlatformHere = Annotated[
    str | None, typer.Option("--platform", help="cpu, cuda or rocm; what this machine is, if not given.")
]
Devices = Annotated[
    int | None,
    typer.Option("--devices", min=0, help="Accelerators that may be used; what needs more is skipped, and said to be."),
]
Jobs = Annotated[
    str | None,
    typer.Option(
        "--jobs",
        metavar="auto|N",
        help="Points at a time: auto counts accelerators, processors and memory, and is the default where there are "
        "several accelerators; a number is for accelerators to allow; 1: one after the other.",
    ),
]
Ray = Annotated[
    str | None,
    typer.Option("--ray", metavar="HOST:PORT", help="Run the points on the hosts of this Ray cluster, side by side."),
]
Checkpoints = Annotated[
    str,
    typer.Option("--checkpoints", help="Run with the checkpoint set of this name instead of the cases' models: tiny."),
]
EngineVersion = Annotated[
    str | None,
    typer.Option(
        "--engine-version",
        metavar="VERSION",
        help="As it is on this version of the engine; that of the pinned image, or of the lock, if not given.",
    ),
]
Cases = Annotated[Path, typer.Option("--cases", help="Folder of the case files.")]
Runs = Annotated[Path, typer.Option("--runs", help="Folder of the run directories.")]
RunDirectory = Annotated[
    Path, typer.Argument(metavar="RUN_DIRECTORY", help="Made by `harness serve` or `harness run`.")
]

Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="NAME=FOLDER",
        help="Folder of yours instead of a model: verifier, drafter, or what the case calls it. May be repeated.",
    ),
]
EngineName = Annotated[str, typer.Option("--engine", help="vllm or sglang.")]
EnginePlatform = Annotated[str, typer.Option("--platform", help="cpu, cuda or rocm.")]
EnginePython = Annotated[
    Path | None,
    typer.Option(
        "--engine-python",
        help="Interpreter of your own engine, instead of that of the image or of the locked environment.",
    ),
]
Environments = Annotated[Path, typer.Option("--environments", help="Folder of the locked engine environments.")]

NewRuns = Annotated[
    Path | None, typer.Option("--runs", help="New folder for the run directories; default below runs/.")
]
Registry = Annotated[
    str | None,
    typer.Option("--registry", metavar="HOST[/PREFIX]", help="Registry that stands for those of the base images."),
]
CheckOnly = Annotated[bool, typer.Option("--check", help="Change nothing; fail if something is not current.")]


@dataclass(frozen=True)
class RuntimeOptions:
    """Where an engine runs."""

    runtime: Annotated[
        Literal["auto", "local", "docker"],
        typer.Option(
            "--runtime", help="Where the engine runs; auto: wherever it can, docker where a container engine answers."
        ),
    ] = "auto"
    engine_python: EnginePython = None
    environments: Environments = ENVIRONMENTS
    assume_free: Annotated[
        bool,
        typer.Option("--assume-free", help="Take accelerators too of which nobody can tell whether they are free."),
    ] = False

    def options(self, build: Build) -> Options:
        """What the options say about a run."""
        from harness.run.prepare import Options

        if self.engine_python and self.runtime == "docker":
            raise UsageError("--engine-python names an interpreter of this machine: not with --runtime docker")
        return Options(self.runtime, self.engine_python, self.environments, build, assume_free=self.assume_free)


@dataclass(frozen=True)
class BaseImageOptions:
    """What an image of an engine is built on."""

    base_image: Annotated[
        str | None,
        typer.Option(
            "--base-image", help="Base image instead of the pinned one: any that holds the engine, or Python 3.11."
        ),
    ] = None
    engine_from: Annotated[
        Literal["base", "wheels"] | None,
        typer.Option(
            "--engine-from",
            help="base: the base image holds the engine; wheels: install the locked one. For cpu wheels.",
        ),
    ] = None
    allow_unpinned: Annotated[
        bool,
        typer.Option(
            "--allow-unpinned",
            help="Of what nobody has pinned take what branch and tag are today, not what this machine took first.",
        ),
    ] = False
    registry: Registry = None

    def build(self) -> Build:
        """What the options say about a build."""
        from harness.images.base_images import mirror
        from harness.images.engine_image import Build

        return Build(
            base_image=self.base_image,
            engine_from=self.engine_from,
            allow_unpinned=self.allow_unpinned,
            registry=mirror(self.registry) if self.registry else None,
        )


@dataclass(frozen=True)
class BuildOptions(BaseImageOptions):
    """How an image of an engine is built."""

    engine_wheel: Annotated[
        Path | None, typer.Option("--engine-wheel", help="Wheel of your own build of the engine, put on top.")
    ] = None
    ca_bundle: Annotated[
        Path | None,
        typer.Option("--ca-bundle", help="CA bundle for image builds; the one Python trusts by default."),
    ] = None
    build_network: Annotated[str, typer.Option("--build-network", help="Network of image build steps.")] = "default"

    def build(self) -> Build:
        """What the options say about a build."""
        return replace(
            super().build(), engine_wheel=self.engine_wheel, ca_bundle=self.ca_bundle, network=self.build_network
        )


@dataclass(frozen=True)
class RunOptions(RuntimeOptions):
    """Where an engine is run, and how long one waits for a place."""

    wait_for_devices: Annotated[
        float,
        typer.Option(
            "--wait-for-devices", min=0, max=_WEEK, help="Seconds to wait until enough accelerators are free."
        ),
    ] = 0.0

    def options(self, build: Build) -> Options:
        """What the options say about a run."""
        found = super().options(build)
        if self.engine_python:
            require_program("--engine-python", self.engine_python)
        return replace(found, wait_for_devices=self.wait_for_devices)


def own_models(given: list[str] | None) -> tuple[tuple[str, str], ...]:
    """Names and folders that ``--model`` gives.

    Raises:
        UsageError: One is not like NAME=FOLDER, is given twice, or no folder.
    """
    found: dict[str, str] = {}
    for each in given or []:
        name, equals, text = each.partition("=")
        if not (name and equals and text):
            raise UsageError(f"--model {cut(each)}: must be like verifier=FOLDER")
        if name in found:
            raise UsageError(f"--model {cut(name)}: given twice; one folder stands for a model")
        try:
            folder = Path(text).expanduser().absolute()
            fine = folder.is_dir()
        except (OSError, ValueError, RuntimeError):
            fine = False
        if not fine:
            raise UsageError(f"--model {cut(each)}: no folder there; give the one that holds config.json")
        found[name] = str(folder)
    return tuple(found.items())


@dataclass(frozen=True)
class AttachOptions:
    """Servers that run already, and whether anything is judged."""

    url: Annotated[
        str, typer.Option("--url", metavar="URL", help="A server that runs already, instead of one to start.")
    ] = ""
    attach: Annotated[
        list[str] | None,
        typer.Option(
            "--attach",
            metavar="NAME=URL,...",
            help="The same of several: prefill=URL,decode=URL,router=URL, or prefill-0=URL,prefill-1=URL,...",
        ),
    ] = None
    model_name: Annotated[
        str, typer.Option("--model-name", help="Model to ask for, of several that such a server serves.")
    ] = ""
    api_key_env: Annotated[
        str, typer.Option("--api-key-env", metavar="VARIABLE", help="Environment variable with its API key.")
    ] = ""
    api_key_file: Annotated[
        Path | None, typer.Option("--api-key-file", metavar="FILE", help="File with its API key.")
    ] = None
    measure_only: Annotated[
        bool, typer.Option("--measure-only", help="Record everything and judge nothing; no case needs a baseline.")
    ] = False

    def attachment(self) -> Attachment | None:
        """What the options say about servers that run already; None without one."""
        from harness.run.attachment import attachment

        given = [each for each in self.attach or [] if each]
        return attachment(given, self.url, key_env=self.api_key_env, key_file=self.api_key_file, model=self.model_name)


def given_options(group: DataclassInstance) -> list[tuple[str, object]]:
    """Names and values of the options of a group that are not as they are by default."""
    values = ((each, getattr(group, each.name)) for each in fields(group))
    return [(f"--{each.name.replace('_', '-')}", value) for each, value in values if value != each.default]


def first_given(group: DataclassInstance) -> str:
    """The first option of a group that is not as it is by default; empty if all are."""
    return next((name for name, _ in given_options(group)), "")


def require_program(option: str, path: Path) -> None:
    """Raise if an option names something that cannot be run.

    Raises:
        UsageError: It is not there, no file, or nobody may run it.
    """
    try:
        fine = path.is_file() and os.access(path, os.X_OK)
    except OSError:
        fine = False
    if not fine:
        raise UsageError(f"{option} {path}: no program there; name the interpreter itself, as in ~/vllm/bin/python")
