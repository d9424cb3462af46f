"""Hash-locked requirement files, reduced to what one Python on one kind of machine needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from harness.base.errors import UsageError

_PLATFORMS = [
    f"manylinux{tag}"
    for tag in ("1", "2010", "2014", *(f"_2_{minor}" for minor in (5, 12, 17, 24, 26, 27, 28, 31, 34, 35, 38, 39)))
]


def environment(python: str, machine: str) -> dict[str, str]:
    """What markers see on the other side: CPython ``python`` on Linux.

    Args:
        python: As in ``3.12``.
        machine: As ``uname -m`` calls it.
    """
    return {
        **{name: str(value) for name, value in default_environment().items()},
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "os_name": "posix",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": machine,
    }


def reduced(lock: str, there: Mapping[str, str]) -> str:
    """The lines of a lock file that count in an environment, without their markers.

    pip evaluates markers for the Python that it runs on, whatever it is told to download for.

    Raises:
        UsageError: A line is no requirement with hashes.
    """
    lines = []
    for line in lock.replace("\\\n", " ").splitlines():
        text, *hashes = line.split("--hash=")
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        try:
            requirement = Requirement(text.strip())
        except InvalidRequirement as error:
            raise UsageError(f"locked requirement {text.strip()[:80]!r}: {error}") from None
        if not hashes:
            raise UsageError(f"locked requirement {text.strip()[:80]!r}: has no hash; run: nox -s locks")
        if requirement.marker is None or requirement.marker.evaluate(dict(there)):
            lines.append(_line(f"{requirement.name}{requirement.specifier}", (each.strip() for each in hashes)))
    return "".join(lines)


def of_wheels(wheels: Mapping[str, str]) -> str:
    """A lock file of exactly these wheels.

    Args:
        wheels: SHA-256 of each by file name.

    Raises:
        UsageError: A name is not a wheel's, or a package is there twice.
    """
    lines: dict[str, str] = {}
    for name, sha256 in sorted(wheels.items()):
        try:
            package, version, _, _ = parse_wheel_filename(name)
        except InvalidWheelFilename as error:
            raise UsageError(f"{name}: {error}") from None
        if package in lines:
            raise UsageError(f"{name}: another wheel of {package} is there too; keep one")
        lines[package] = _line(f"{package}=={version}", [f"sha256:{sha256}"])
    return "".join(lines.values())


def _line(requirement: str, hashes: Iterable[str]) -> str:
    return " \\\n    ".join([requirement, *(f"--hash={each}" for each in hashes)]) + "\n"


def download_options(python: str, machine: str) -> list[str]:
    """What makes ``pip download`` choose wheels for the other side: of several the one for the oldest systems."""
    version = python.replace(".", "")
    options = ["--no-deps", "--only-binary", ":all:", "--implementation", "cp", "--python-version", python]
    options += [part for abi in (f"cp{version}", "abi3", "none") for part in ("--abi", abi)]
    return options + [part for name in _PLATFORMS for part in ("--platform", f"{name}_{machine}")]
