"""``bundle.pyz``: a bundle's own program, for a host that has Python and nothing else.

    python3 bundle.pyz verify
    python3 bundle.pyz load --into FOLDER

It starts pip and the container client itself: the module that starts processes elsewhere needs a library.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.base.errors import HarnessError, Interrupted
from harness.base.texts import one_line, say
from harness.bundle.loader import Request, load, verify
from harness.host import signals


def main() -> None:
    """Run the command line and exit with its code."""
    beside = Path(sys.argv[0]).resolve().parent
    parser = argparse.ArgumentParser(prog="bundle.pyz", description="Verify and load this bundle.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, about in (("verify", "say all that is wrong"), ("load", "verify, then put everything in place")):
        command = commands.add_parser(name, help=about)
        command.add_argument("bundle", nargs="?", type=Path, default=beside, help="folder of the bundle; this one")
    command.add_argument("--into", type=Path, required=True, help="folder that holds everything then")
    command.add_argument("--no-images", action="store_true", help="leave container images where they are")
    command.add_argument(
        "--engine-packages-of",
        default="",
        metavar="PYTHON",
        help="interpreter whose packages the engine sees too: a PyTorch that is there already",
    )
    given = parser.parse_args()
    try:
        with signals.handled():
            if given.command == "verify":
                say(verify(given.bundle, _say).summary)
            else:
                load(Request(given.bundle, given.into, not given.no_images, given.engine_packages_of, _run, _say))
    except HarnessError as error:
        say(f"bundle: {one_line(str(error))}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        say(f"bundle: {one_line(str(error))}", file=sys.stderr)
        sys.exit(4)
    except KeyboardInterrupt:
        sys.exit(Interrupted.exit_code)


def _say(line: str) -> None:
    say(line)


def _run(argv: Sequence[str], env: Mapping[str, str]) -> tuple[int, str]:
    with subprocess.Popen(
        argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as child:
        try:
            output, _ = child.communicate()
        except BaseException:
            child.kill()
            raise
    return child.returncode, output.decode(errors="replace")
