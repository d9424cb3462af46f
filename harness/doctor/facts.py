"""What a machine has, as far as it says whether cases can run there: facts that `harness doctor` gathers."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.base.domain import Device, Platform
from harness.cases.serve_settings import Model
from harness.plan.points import session_of


@dataclass(frozen=True)
class Accelerators:
    """Devices of one platform.

    Attributes:
        devices: That this process may use.
        driver: Its version; empty where nobody says.
        problem: Why there are none.
        taken: Who has a device, by its name; those that nobody has are left out.
        unknown: Why nobody can tell whether a device is free, by its name.
        next_step: What to do where there are none; empty where only another host helps.
        said: What is there and cannot be used, or named by the environment and not there.
    """

    devices: tuple[Device, ...] = ()
    driver: str = ""
    problem: str = ""
    taken: Mapping[str, str] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)
    next_step: str = ""
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Problem:
    """Why something is not to be had, and what to do; nothing is wrong if there is no reason."""

    reason: str = ""
    next_step: str = ""


@dataclass(frozen=True)
class ContainerEngine:
    """What answers where containers are started.

    Attributes:
        problem: Why nothing does; the rest is empty then.
        version: With the engine's name.
        builder: The client that builds images.
        builder_problem: Why none does.
        cdi: Folders of the CDI specs that the engine reads; empty for an engine without CDI.
        nvidia: How it gets at NVIDIA devices without CDI; empty if it does not.
        refused: By platform, why it cannot give a container the devices that are here; without those that it can.
        runtimes: That it knows by name.
        cgroup: Version of control groups.
        rootless: Whether it runs without root.
        root: Folder of its images.
    """

    problem: str = ""
    version: str = ""
    builder: str = ""
    builder_problem: str = ""
    cdi: tuple[str, ...] = ()
    nvidia: str = ""
    refused: Mapping[str, Problem] = field(default_factory=dict)
    runtimes: tuple[str, ...] = ()
    cgroup: str = ""
    rootless: bool = False
    root: str = ""


@dataclass(frozen=True)
class Folder:
    """A place for files.

    Attributes:
        path: It, though it may not be there yet.
        free_bytes: For this user; None where nobody says: a container engine on another host.
        problem: Why nothing can be written there.
    """

    path: str
    free_bytes: int | None = None
    problem: str = ""


@dataclass(frozen=True)
class Folders:
    """Where things go.

    Attributes:
        runs: Run directories.
        cache: Known-answer checkpoints, data, answers of engines.
        environments: Engines that are installed from locks.
        hub: Models of the hub.
        images: Of the container engine; None without one.
    """

    runs: Folder
    cache: Folder
    environments: Folder
    hub: Folder
    images: Folder | None = None


@dataclass(frozen=True)
class Reach:
    """Whether a server answers.

    Attributes:
        host: Name and port, never more of its address: that may hold a password.
        problem: Why it cannot be used; empty if it can.
    """

    host: str
    problem: str = ""


@dataclass(frozen=True)
class DataFile:
    """A file of a data set.

    Attributes:
        problem: Why it is not at hand with the right content; empty if it is.
        fetched: Whether a run would fetch it.
    """

    problem: str = ""
    fetched: bool = False


@dataclass(frozen=True)
class Source:
    """Where an engine for a platform can come from.

    Attributes:
        given: The interpreter that the caller names; empty for none.
        given_problem: Why it cannot be used.
        environment: Interpreter of the locked environment, installed and current; empty if it is not.
        flags: Which of its flags nobody could verify when it was last asked, and why; empty if nobody knows of any.
        image: Tag of the image as it would be built now, if it is there; empty if it is not.
        locked: Whether there are locked requirements for it.
        base: Reference of the base image.
        base_problem: Why there is none.
        base_here: Whether the container engine has it.
        base_holds_engine: Whether it holds the engine.
        absent: Libraries that settings need and its interpreter does not find; None where nobody could ask one.
        registry: Key in :attr:`Facts.network` of the registry it is pulled from; empty for an image without one.
    """

    given: str = ""
    given_problem: str = ""
    environment: str = ""
    flags: str = ""
    image: str = ""
    locked: bool = False
    base: str = ""
    base_problem: Problem = Problem()
    base_here: bool = False
    base_holds_engine: bool = False
    absent: tuple[str, ...] | None = None
    registry: str = ""


def facts_of(model: Model) -> str:
    """Name of a model in :attr:`Facts.models`."""
    return model.published or model.path or f"{model.repo}@{model.revision}"


@dataclass(frozen=True)
class Facts:
    """A machine.

    Attributes:
        python: Version.
        system, kernel, processor: As the operating system calls them.
        cpus: That this process may use.
        memory_bytes: That there is, or that this process may use if that is less.
        available_bytes: Of it, what nobody uses.
        shm_bytes: Free in /dev/shm; None without one.
        accelerators: By platform.
        cdi: Number of devices in the host's CDI specs by kind: ``nvidia.com/gpu``.
        network: By what it is for: ``hub``, ``packages``, ``data``, ``registry HOST``. Empty: nobody was asked.
        token: Whether a token for the hub is set.
        models: Whether a model is here, whole: in the hub's cache, by ``REPO@COMMIT``, or a folder, by its path.
        data: Data files by name.
        engines: By ``ENGINE-PLATFORM``.
        noxfile: Whether Nox's sessions are at hand; what a bundle was loaded into has none.
    """

    python: str
    system: str
    kernel: str
    processor: str
    cpus: int
    memory_bytes: int
    available_bytes: int
    shm_bytes: int | None
    accelerators: Mapping[Platform, Accelerators]
    container: ContainerEngine
    cdi: Mapping[str, int]
    folders: Folders
    network: Mapping[str, Reach]
    token: bool
    models: Mapping[str, bool]
    data: Mapping[str, DataFile]
    engines: Mapping[str, Source]
    noxfile: bool = True

    def command(self, suite: str, platform: Platform, arguments: Sequence[str] = ()) -> str:
        """How the cases of a suite are run here, as a line for a shell."""
        if not self.noxfile:
            return shlex.join(["harness", "run", "--suite", suite, "--platform", platform, *arguments])
        return shlex.join(["nox", "-s", session_of(suite, platform), *(["--", *arguments] if arguments else [])])
