"""What the canary uses of NIXL; which plugins there are, the script says: ``{"nixl": {"plugins": [...]}}``;
``hidden`` it is not there, and ``slow`` it takes that many seconds, and says so by a file beside the script.
"""

import json
import os
import time
from pathlib import Path

_FILE = Path(os.environ["FAKE_ENGINE_SCRIPT"])
_SCRIPT = json.loads(_FILE.read_text()).get("nixl", {})
if _SCRIPT.get("hidden"):
    raise ModuleNotFoundError("No module named 'nixl'")

if seconds := _SCRIPT.get("slow"):
    _FILE.with_name("nixl.slow").touch()
    time.sleep(seconds)


def nixl_agent_config(backends):
    return backends


class nixl_agent:  # noqa: N801 # its name in NIXL
    def __init__(self, name, config):
        self.name, self.config = name, config

    def create_backend(self, backend):
        if backend not in _SCRIPT.get("plugins", ["UCX"]):
            raise RuntimeError("NIXL_ERR_NOT_FOUND")
