"""What the engine's interpreter can import, and what its torch is built for; takes as long as importing the engine.

The argument is JSON: ``modules``, ``transports`` (module and plugin), ``libraries``, which are looked for and not
imported (some link the driver, which a container without a device does not have), and of ``torch`` the names under
which it says what it is built for, empty: nobody looks.
"""

import importlib
import importlib.util
import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any


def tried(do: Callable[[], object]) -> str:
    """Empty if it works, else the error as one line."""
    try:
        do()
    except (Exception, SystemExit) as error:  # noqa: BLE001 # whatever somebody's module raises
        return " ".join(f"{type(error).__name__}: {error}".split())
    return ""


def transport(module: str, backend: str) -> None:
    """Load what moves the KV cache."""
    if module != "nixl":
        importlib.import_module(module)
        return
    api = importlib.import_module("nixl._api")
    api.nixl_agent("canary", api.nixl_agent_config(backends=[])).create_backend(backend)


def torch(names: list[str]) -> dict[str, str]:
    """Its version, and what it is built for."""
    module = importlib.import_module("torch")
    built = {name: str(getattr(module.version, name, None) or "") for name in names}
    return {"version": module.__version__, **built}


def absent(names: list[str]) -> list[str]:
    """Those that the interpreter does not find."""
    return [name for name in names if tried(partial(_required, name))]


def _required(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        raise ModuleNotFoundError(name)


def found(asked: dict[str, Any]) -> dict[str, Any]:
    """The answer."""
    modules = {name: tried(partial(importlib.import_module, name)) for name in asked["modules"]}
    transports = {
        f"{module} {backend}".strip(): tried(partial(transport, module, backend))
        for module, backend in asked["transports"]
    }
    built: dict[str, str] = {}
    if asked["torch"]:
        modules["torch"] = tried(lambda: built.update(torch(asked["torch"])))
    libraries = absent(asked["libraries"])
    return {"modules": modules, "transports": transports, "torch": built, "absent": libraries}


if __name__ == "__main__":
    answer = found(json.loads(sys.argv[1]))
    print()  # whatever was printed before may have left its line open
    print(json.dumps(answer))
