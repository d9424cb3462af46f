"""Programs that an engine's own interpreter runs to say what its server knows.

They print :class:`~harness.engines.capabilities.Capabilities` as one line of JSON. Each is this head and a few
lines of the engine's module.
"""

HEAD = r"""
import argparse, importlib, importlib.util, json, pathlib, re, sys

def first(*places):
    # What moved between releases: the first of several places that exists. A place that exists and breaks is an error.
    for place in places:
        module, _, name = place.partition(":")
        try:
            return getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            if not error.name or not (module + ".").startswith(error.name + "."):
                raise
        except AttributeError:
            pass
    sys.exit("none of these exists: " + ", ".join(places))

def options_of(parser):
    # What it takes, which is more than what its actions show: vLLM 0.33 hides --no-enable-x and still takes it.
    return {*parser._option_string_actions, *(each for action in parser._actions for each in action.option_strings)}

def read_directly(package):
    # Not every variable is in an engine's register: some are read where they are used.
    pattern = re.compile(r'''(?:environ|getenv|env_var)[\w.\s(\[]{0,40}["']([A-Z][A-Z0-9_]+)["']''')
    found = set()
    for folder in importlib.util.find_spec(package).submodule_search_locations:
        for path in pathlib.Path(folder).rglob("*.py"):
            found.update(pattern.findall(path.read_text(errors="replace")))
    return found

def report(options, variables, choices={}):
    found = {"options": sorted(options), "variables": sorted(variables), "choices": choices}
    print(json.dumps(found), flush=True)
"""
