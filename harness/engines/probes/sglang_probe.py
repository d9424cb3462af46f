"""What SGLang's server knows. Written from the sources of SGLang 0.5.17 and 0.5.23."""

import argparse
import importlib

from harness.engines.probes.common import first, options_of, read_directly, report


def options() -> set[str]:
    """Of the server's argument parser."""
    parser = argparse.ArgumentParser()
    first("sglang.srt.server_args:ServerArgs").add_cli_args(parser)
    return options_of(parser)


def variables() -> set[str]:
    """Of the engine's register, and those that are read elsewhere."""
    environ = importlib.import_module("sglang.srt.environ")
    register = {name for name in vars(environ.Envs) if not name.startswith("_")}
    # Variables that were renamed and are still taken.
    renamed = getattr(environ, "_DEPRECATED_ENVS", {})
    register |= {name for name, how in renamed.items() if getattr(how, "replacement", None)}
    return register | read_directly("sglang")


def main() -> None:
    """Print what this build knows."""
    report(options=options, variables=variables)


if __name__ == "__main__":
    main()
