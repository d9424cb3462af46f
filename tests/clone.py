"""A clone of this repository as a CI job has it: the real ./nox, noxfile and action; its pip installs nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.helpers import NO_ENGINE, REPOSITORY, wait_for

_PIP = """
import os, signal, sys, sysconfig, time
from pathlib import Path
here = Path(__file__).parent
with (here / "called.txt").open("a") as log:
    print(*sys.argv[1:], file=log)
hold = here / "hold"
if hold.exists():
    if hold.read_text() == "deaf":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, lambda *_: sys.exit(0))
    (here / "waiting").touch()
    while hold.exists():
        time.sleep(0.02)
menu = "nox.txt" in sys.argv[-1]
Path(sysconfig.get_path("purelib"), "installed.pth").write_text({menu!r} if menu else {packages!r})
"""


@dataclass(frozen=True)
class Clone:
    """A clone and the pip that its sessions call.

    Attributes:
        folder: Of the clone.
        pip: Folder of that pip's package.
    """

    folder: Path
    pip: Path

    @property
    def environment(self) -> dict[str, str]:
        """With which its ./nox is to be called."""
        return {**NO_ENGINE, "PYTHONPATH": str(self.pip.parent)}

    def hold(self, *, deaf: bool = False) -> None:
        """Let pip wait until it is killed; a deaf one takes a signal for a reason to end well."""
        (self.pip / "hold").write_text("deaf" if deaf else "")

    def release(self) -> None:
        """Let pip go on."""
        (self.pip / "hold").unlink(missing_ok=True)

    def installing(self) -> bool:
        """Whether pip has come to where it waits."""
        return (self.pip / "waiting").exists()

    def calls(self) -> list[str]:
        """Arguments of each call of pip."""
        path = self.pip / "called.txt"
        return path.read_text().splitlines() if path.exists() else []

    def processes(self) -> list[str]:
        """Living processes whose program or arguments are of the clone."""
        return [" ".join(each) for each in _commands() if any(str(self.folder) in word for word in each)]


def _commands() -> Iterator[list[str]]:
    for process in psutil.process_iter(["cmdline", "status"]):
        if process.info["status"] != psutil.STATUS_ZOMBIE:
            yield process.info["cmdline"] or []


def nox_packages(folder: Path) -> Path:
    """A folder with Nox installed by ./nox for this very Python: the repository's own, or one made in ``folder``."""
    wanted = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    ours = REPOSITORY / ".nox" / "menu"
    lock = REPOSITORY / "requirements" / "nox.txt"
    current = (ours / "installed.txt").is_file() and (ours / "installed.txt").read_bytes() == lock.read_bytes()
    if current and (ours / wanted).is_dir():
        return ours
    for name in ("requirements", "noxfile.py"):
        source = REPOSITORY / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    subprocess.run([sys.executable, folder / "requirements" / "menu.py", "--version"], check=True)
    return folder / ".nox" / "menu"


def clone(folder: Path, menu: Path, *, with_menu: bool = True) -> Clone:
    """Make one. Its cases are still to be put below ``baselines``.

    Args:
        folder: Where to.
        menu: What :func:`nox_packages` returned.
        with_menu: Whether ./nox has been called there before.
    """
    (folder / ".nox").mkdir(parents=True)
    for name in ("nox", "noxfile.py", "action.yml"):
        shutil.copy(REPOSITORY / name, folder)
    shutil.copytree(REPOSITORY / "requirements", folder / "requirements")
    (packages,) = menu.glob("lib/python*/site-packages")
    if with_menu:
        (folder / ".nox" / "menu").symlink_to(menu)
    pip = folder.with_name(f"{folder.name}-pip") / "pip"
    pip.mkdir(parents=True)
    (pip / "__init__.py").touch()
    ours = f"{REPOSITORY}\n{sysconfig.get_path('purelib')}\n"
    program = _PIP.replace("{menu!r}", repr(f"{packages}\n")).replace("{packages!r}", repr(ours))
    (pip / "__main__.py").write_text(program)
    return Clone(folder, pip)


def wait_for_pip(made: Clone) -> None:
    """Until pip waits."""
    wait_for(made.installing, 60)
