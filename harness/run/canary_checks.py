"""The canary: what must be in place before a device is spent on a case, and how the answers are judged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.base.domain import Platform
from harness.cases.model import Case
from harness.devices import accelerators
from harness.devices.platform import Accelerator
from harness.engines import ENGINES
from harness.engines.capabilities import Capabilities
from harness.engines.engine import EngineSpec

_TRANSPORTS = {"NixlConnector": ("nixl", "UCX"), "nixl": ("nixl", "UCX"), "mooncake": ("mooncake.engine", "")}
"""Module and plugin that a connector moves the KV cache with, by its name."""

_GONE = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")

ALL_TRANSPORTS: dict[str, tuple[tuple[str, str], ...]] = {"vllm": (("nixl", "UCX"),), "sglang": (("nixl", "UCX"),)}
"""What an image of each engine should hold, whatever the case."""


@dataclass(frozen=True)
class Needs:
    """What a case needs.

    Attributes:
        engine: Its name.
        platform: Of the case.
        modules: What is imported: a module of the servers and of the router.
        flags: What is known of the flags of the engine's server, in words; empty of one that nobody asks.
        transports: Module and plugin of each transport of the KV cache; the plugin is empty where there is none.
        libraries: Module that a setting needs, by the setting and its value.
        env: Environment of the servers, as the case sets it.
        data: SHA-256 of each data file, by path.
        harness: Version of the harness that asks.
        image: Whether it runs in an image of ours, where nothing is root.
    """

    engine: str
    platform: Platform
    modules: tuple[str, ...]
    flags: str = ""
    transports: tuple[tuple[str, str], ...] = ()
    libraries: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    harness: str = ""
    image: bool = False


@dataclass(frozen=True)
class Imports:
    """What :mod:`.probes.imports` prints: empty for what could be imported, else the error; torch's versions; which
    libraries are not there.
    """

    modules: dict[str, str]
    transports: dict[str, str]
    torch: dict[str, str]
    absent: list[str] = field(default_factory=list)


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


def modules(engine: EngineSpec, *, command: bool, router: bool) -> tuple[str, ...]:
    """What is imported: what the command that starts a server does, or the module that it is run as, and the router."""
    server = engine.serves if command else engine.module
    return tuple(filter(None, (server, engine.router_module if router else "")))


def flags(known: Capabilities | None) -> str:
    """What is known of a build's flags, in words; empty if nobody asked."""
    if known is None:
        return ""
    return known.not_verified or known.provenance


def transports(case: Case) -> tuple[tuple[str, str], ...]:
    """The transports that a case needs; none without a KV connector that has one."""
    tables = [case.serve_of(role).kv_transfer for role in case.topology.roles]
    names = [name for table in tables if table for name in table.parts]
    return tuple(dict.fromkeys(_TRANSPORTS[name] for name in names if name in _TRANSPORTS))


def torch_versions() -> list[str]:
    """The attributes of ``torch.version`` that say which platform torch is built for."""
    return [each.torch for each in accelerators.ACCELERATORS.values() if each.has_devices]


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
        driver: What the driver supports, in its platform's terms; None where it does not say.
        no_driver: Why it does not.
    """
    found = [_module(name, error, versions, needs) for name, error in imports.modules.items()]
    found += [Finding("flags", True, needs.flags)] if needs.flags else []
    found += [Finding(name, not error, error or "loads") for name, error in imports.transports.items()]
    found += [_library(setting, module, imports) for setting, module in needs.libraries.items()]
    same = live.harness == needs.harness
    text = (
        live.harness if same else f"{live.harness or 'does not answer'}, and {needs.harness} asks: build the image anew"
    )
    found.append(Finding("harness", same, text))
    accelerator = accelerators.of(needs.platform)
    if accelerator.has_devices and not imports.modules.get("torch"):
        found.append(_build(accelerator, imports.torch))
    found += [Finding(f"writable: {name}", not error, error or "yes") for name, error in live.folders.items()]
    for path, digest in live.data.items():
        wanted = needs.data[path]
        text = "SHA-256 is right" if digest == wanted else f"SHA-256 is {digest}, expected {wanted}"
        found.append(Finding(f"data: {path}", digest == wanted, text))
    if needs.image:
        text = f"uid {live.uid}" + ("" if live.uid else ": nothing in an image runs as root; leave --user out")
        found.append(Finding("user", live.uid != 0, text))
    if accelerator.has_devices:
        found.append(_driver(accelerator, imports.torch, driver, no_driver))
    return found


def _module(name: str, error: str, versions: Mapping[str, str], needs: Needs) -> Finding:
    gone = _GONE.fullmatch(error)
    if gone and name == ENGINES[needs.engine].serves and f"{name}.".startswith(f"{gone[1]}."):
        # It moved, and the command knows where to.
        return Finding(f"import {name}", True, f"not verified that the server can be imported: {error}")
    package = name.partition(".")[0].replace("_", "-")
    known = [f"{each} {version}" for each, version in versions.items() if each in (package, f"{package}-cpu")]
    return Finding(f"import {name}", not error, error or ", ".join(known) or "yes")


def _library(setting: str, module: str, imports: Imports) -> Finding:
    if module not in imports.absent:
        return Finding(setting, True, f"{module} is there, not verified that it can be imported")
    step = "install it there, or name an interpreter or an image that has it: --engine-python, --base-image"
    return Finding(setting, False, f"needs {module}, which is not in the engine's environment; {step}")


def _build(accelerator: Accelerator, torch: Mapping[str, str]) -> Finding:
    """Whether the engine's torch is built for the platform at all."""
    built = {name: f"{name.upper()} {torch[name]}" for name in torch_versions() if torch.get(name)}
    if accelerator.torch in built:
        return Finding("torch", True, f"{torch['version']} for {built[accelerator.torch]}")
    others = f"for {' and '.join(built.values())}" if built else "for the CPU alone"
    text = f"{torch.get('version', '')} is built {others}, and the case is for {accelerator.name}"
    return Finding("torch", False, text)


def _driver(accelerator: Accelerator, torch: Mapping[str, str], driver: str | None, no_driver: str) -> Finding:
    if driver is None:
        vendor = accelerator.vendor
        text = f"{vendor}'s driver does not answer: {no_driver}" if no_driver else f"there is no {vendor} driver here"
        return Finding("driver", False, text)
    fit = accelerator.fit(driver, torch.get(accelerator.torch, ""))
    return Finding("driver", fit.ok, fit.text)
