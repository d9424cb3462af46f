"""What the canary uses of NIXL; which plugins there are, the script says: ``{"nixl": {"plugins": [...]}}``;
``hidden`` it is not there, and ``slow`` it takes that many seconds.
"""

import json
import os
import time
from pathlib import Path

_SCRIPT = json.loads(Path(os.environ["FAKE_ENGINE_SCRIPT"]).read_text()).get("nixl", {})
if _SCRIPT.get("hidden"):
    raise ModuleNotFoundError("No module named 'nixl'")

time.sleep(_SCRIPT.get("slow", 0))


def nixl_agent_config(backends):
    return backends


class nixl_agent:  # noqa: N801 # its name in NIXL
    def __init__(self, name, config):
        self.name, self.config = name, config

    def create_backend(self, backend):
        if backend not in _SCRIPT.get("plugins", ["UCX"]):
            raise RuntimeError("NIXL_ERR_NOT_FOUND")
