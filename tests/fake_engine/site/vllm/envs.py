import os
import time
from functools import partial

from fake_engine import Script, build, die

time.sleep(build().asked_for)
if build().broken:
    die(Script(), build().broken)


def read(name: str) -> None:
    choices = build().choices.get(name, [])
    if choices and os.environ.get(name) not in (None, *choices):
        raise ValueError(f"Invalid value '{os.environ[name]}' for {name}. Valid options: {choices}.")


environment_variables = {name: partial(read, name) for name in build().variables}
