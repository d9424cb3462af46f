"""What the Container Device Interface knows on a host: its spec files, read as the container engines read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

FOLDERS = (Path("/etc/cdi"), Path("/var/run/cdi"))
"""Where engines look unless they are configured otherwise; what a later folder says wins."""


def devices(folders: Iterable[Path]) -> dict[str, tuple[str, ...]]:
    """Device nodes on the host by the full name of each device, ``VENDOR/CLASS=NAME``.

    As for the engines, a device that two files of one folder describe is none, and a file that cannot be read says
    nothing.
    """
    found: dict[str, tuple[str, ...]] = {}
    for folder in folders:
        here: dict[str, list[tuple[str, ...]]] = {}
        for path in sorted(folder.glob("*")):
            if path.suffix in (".json", ".yaml"):
                for name, nodes in _read(path):
                    here.setdefault(name, []).append(nodes)
        for name, each in here.items():
            found.pop(name, None)
            if len(each) == 1:
                found[name] = each[0]
    return found


def _read(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    try:
        spec = yaml.safe_load(path.read_text())  # JSON is YAML too
        listed = [(f"{spec['kind']}={device['name']}", tuple(_nodes(device))) for device in spec["devices"]]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return
    yield from listed


def _nodes(device: dict[str, Any]) -> Iterator[str]:
    for node in (device.get("containerEdits") or {}).get("deviceNodes") or []:
        yield str(node.get("hostPath") or node["path"])
