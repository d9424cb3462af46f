"""The canary: what must be in place before a device is spent on a case, and how the answers are judged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.cases.model import Case
from harness.engines.engine import EngineSpec

_TRANSPORTS = {"NixlConnector": ("nixl", "UCX"), "nixl": ("nixl", "UCX"), "mooncake": ("mooncake.engine", "")}
"""Module and plugin that a connector moves the KV cache with, by its name."""

ALL_TRANSPORTS: dict[str, tuple[tuple[str, str], ...]] = {"vllm": (("nixl", "UCX"),), "sglang": (("nixl", "UCX"),)}
"""What an image of each engine should hold, whatever the case."""


@dataclass(frozen=True)
class Needs:
    """What a case needs.

    Attributes:
        engine: Its name.
        platform: Of the case.
        modules: What is imported: the module the servers are run as, and the router's.
        transports: Module and plugin of each transport of the KV cache; the plugin is empty where there is none.
        env: Environment of the servers, as the case sets it.
        data: SHA-256 of each data file, by path.
        harness: Version of the harness that asks.
        image: Whether it runs in an image of ours, where nothing is root.
    """

    engine: str
    platform: str
    modules: tuple[str, ...]
    transports: tuple[tuple[str, str], ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    harness: str = ""
    image: bool = False


@dataclass(frozen=True)
class Imports:
    """What :mod:`.probes.imports` prints: empty for what could be imported, else the error; torch's versions."""

    modules: dict[str, str]
    transports: dict[str, str]
    torch: dict[str, str]


@dataclass(frozen=True)
class Live:
    """What :mod:`.probes.surroundings` prints.

    Attributes:
        uid: Of the user.
        harness: Version of the harness there; empty if it does not answer.
        folders: An empty string for a writable folder, else the error.
        data: SHA-256 of each file, or the error.
    """

    uid: int
    harness: str
    folders: dict[str, str]
    data: dict[str, str]


@dataclass(frozen=True)
class Finding:
    """One check of the canary: what it is about, whether it is fine, and what was found, in one line."""

    check: str
    ok: bool
    text: str


def modules(engine: EngineSpec, *, router: bool) -> tuple[str, ...]:
    """What is imported."""
    return (engine.module, *((engine.router_module,) if router else ()))


def transports(case: Case) -> tuple[tuple[str, str], ...]:
    """The transports that a case needs; none without a KV connector that has one."""
    tables = [case.serve_of(role).kv_transfer for role in case.topology.roles]
    names = [name for table in tables if table for name in table.parts]
    return tuple(dict.fromkeys(_TRANSPORTS[name] for name in names if name in _TRANSPORTS))


def judge(
    needs: Needs,
    versions: Mapping[str, str],
    imports: Imports,
    live: Live,
    driver: str | None,
    no_driver: str = "",
) -> list[Finding]:
    """Every check in order, the driver's last: without a driver it is the only one to fail.

    Args:
        needs: Of the case.
        versions: Of the distributions in the engine's environment.
        imports: What the engine's interpreter could import.
        live: What is found where servers will run.
        driver: Newest CUDA version that the driver supports, or a word for an AMD driver; None where it does not say.
        no_driver: Why it does not.
    """
    found = [_module(name, error, versions) for name, error in imports.modules.items()]
    found += [Finding(name, not error, error or "loads") for name, error in imports.transports.items()]
    same = live.harness == needs.harness
    text = (
        live.harness if same else f"{live.harness or 'does not answer'}, and {needs.harness} asks: build the image anew"
    )
    found.append(Finding("harness", same, text))
    if needs.platform != "cpu" and not imports.modules.get("torch"):
        found.append(_build(needs.platform, imports.torch))
    found += [Finding(f"writable: {name}", not error, error or "yes") for name, error in live.folders.items()]
    for path, digest in live.data.items():
        wanted = needs.data[path]
        text = "SHA-256 is right" if digest == wanted else f"SHA-256 is {digest}, expected {wanted}"
        found.append(Finding(f"data: {path}", digest == wanted, text))
    if needs.image:
        text = f"uid {live.uid}" + ("" if live.uid else ": nothing in an image runs as root; leave --user out")
        found.append(Finding("user", live.uid != 0, text))
    if needs.platform != "cpu":
        found.append(_driver(needs.platform, imports.torch, driver, no_driver))
    return found


def _module(name: str, error: str, versions: Mapping[str, str]) -> Finding:
    package = name.partition(".")[0].replace("_", "-")
    known = [f"{each} {version}" for each, version in versions.items() if each in (package, f"{package}-cpu")]
    return Finding(f"import {name}", not error, error or ", ".join(known) or "yes")


def _build(platform: str, torch: Mapping[str, str]) -> Finding:
    """Whether the engine's torch is built for the platform at all."""
    own, other = ("cuda", "hip") if platform == "cuda" else ("hip", "cuda")
    names = {"cuda": "CUDA", "hip": "HIP"}
    if torch.get(own):
        return Finding("torch", True, f"{torch['version']} for {names[own]} {torch[own]}")
    built = f"for {names[other]} {torch[other]}" if torch.get(other) else "for the CPU alone"
    return Finding("torch", False, f"{torch.get('version', '')} is built {built}, and the case is for {platform}")


def _driver(platform: str, torch: Mapping[str, str], driver: str | None, no_driver: str) -> Finding:
    """CUDA runs on a driver of its major version, whatever the minor one, and on every newer driver.

    Source: CUDA compatibility guide of NVIDIA, minor-version and backward compatibility. AMD supports two releases of
    ROCm to either side, and the version that its driver shows does not say which release it is of: both are said, and a
    person compares them with AMD's user and kernel-space support matrix.
    """
    if driver is None:
        maker = "NVIDIA" if platform == "cuda" else "AMD"
        text = f"{maker}'s driver does not answer: {no_driver}" if no_driver else f"there is no {maker} driver here"
        return Finding("driver", False, text)
    if platform != "cuda" or not torch.get("cuda"):
        built = f", torch is built for HIP {torch['hip']}" if torch.get("hip") else ""
        return Finding("driver", True, f"{driver}{built}")
    if _major(torch["cuda"]) > _major(driver):
        older = f"torch is built for CUDA {torch['cuda']}, the driver supports up to {driver}"
        return Finding("driver", False, f"{older}: update the driver, or take a build for CUDA {_major(driver)}")
    return Finding("driver", True, f"supports CUDA {driver}, torch is built for {torch['cuda']}")


def _major(version: str) -> int:
    found = re.match(r"\d+", version)
    return int(found.group()) if found else 0
