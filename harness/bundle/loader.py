"""Putting what a bundle holds in place.

    FOLDER/env.sh                 to be sourced
    FOLDER/baselines              case files
    FOLDER/cache, huggingface     checkpoints and models: named by content, shared by all loads
    FOLDER/current                the newest complete load, a link that is replaced in one step
    FOLDER/loads/ID.xxxx          a load: environments, data, case files

A virtual environment cannot be moved, so a load is made where it stays, and only the link says that it counts.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import sys
import tempfile
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256 as sha256_of
from pathlib import Path
from typing import IO

from harness.base.errors import CannotJudge, UsageError
from harness.bundle import folder, placing, reader
from harness.bundle.manifest import ENGINE_REQUIREMENTS, HARNESS_REQUIREMENTS, Entry, Manifest

Run = Callable[[Sequence[str], Mapping[str, str]], "tuple[int, str]"]
"""Runs a program in an environment to its end; its exit status and its output."""

_BYTECODE = 1.3
"""What an installed wheel takes, of its unpacked size: Python compiles the modules that it imports."""

_PACKAGES_OF = "import json, site, sys; print(json.dumps([sys.version_info[:2], site.getsitepackages()]))"


@dataclass(frozen=True)
class Request:
    """What is to be loaded, and how.

    Attributes:
        bundle: Folder that holds it.
        into: Folder that shall hold everything.
        images: Load container images, if there are any.
        packages_of: Interpreter whose packages the engine's environment sees too: a PyTorch that is there already.
        run: What runs programs.
        say: Takes a line for people.
    """

    bundle: Path
    into: Path
    images: bool
    packages_of: str
    run: Run
    say: Callable[[str], None]


def verify(path: Path, say: Callable[[str], None]) -> Manifest:
    """Say everything that is wrong with a bundle.

    Raises:
        UsageError: Something is, or there is no bundle.
    """
    bundle = reader.at(path)
    return _intact(bundle.problems(), bundle.manifest, say, path)


def _intact(
    problems: Iterator[str], manifest: Callable[[], Manifest], say: Callable[[str], None], path: Path
) -> Manifest:
    count = 0
    for problem in problems:
        say(problem)
        count += 1
    if count:
        raise UsageError(f"{path}: {count} of the bundle's files {'is' if count == 1 else 'are'} wrong; copy it again")
    return manifest()


def load(request: Request) -> None:
    """Verify a bundle and put everything in place; what is there already stays until all of it is.

    Raises:
        CannotJudge: The disk is too small, or an environment could not be made.
        UsageError: There is no bundle, it is damaged, or made for another machine.
    """
    bundle = reader.at(request.bundle)
    into = request.into.absolute()
    manifest = bundle.manifest()
    _fits_machine(manifest)
    _fits_disk(manifest, into, unpack=isinstance(bundle, reader.Parts))
    if manifest.images and request.images:
        _require_container_engine(request)
    folder.ours(into)
    _whole(bundle, manifest, request)
    with folder.made(into), folder.locked(into, request.say), _unpacked(bundle, into, request) as root:
        identity = _identity(manifest, request)
        current = into / "current"
        if folder.mark(current) == identity:
            request.say(f"{into}: holds this bundle already")
            placing.share(root, manifest, into)
            return
        before = current.resolve() if current.is_symlink() else None
        target = Path(tempfile.mkdtemp(dir=placing.made(into / "loads"), prefix=f"{identity[:12]}."))
        try:
            target.chmod(0o755)
            _fill(root, manifest, target, into, request)
            placing.share(root, manifest, into)
            _load_images(root, manifest, request)
            (target / folder.MARK).write_text(json.dumps({"identity": identity}) + "\n")
            for name in ("env.sh", "baselines"):
                placing.link(into / name, f"current/{name}")
            os.sync()
            placing.link(current, target.relative_to(into).as_posix())
        except BaseException:
            if current.resolve() != target:
                shutil.rmtree(target, ignore_errors=True)
            raise
        request.say(f"loaded into {into}; next: . {shlex.quote(str(into / 'env.sh'))}")
        if before and before.is_dir():
            request.say(f"the load before is still in {before}; remove it when nothing runs from it")


def _fits_machine(manifest: Manifest) -> None:
    here = (f"{sys.version_info[0]}.{sys.version_info[1]}", platform.machine())
    if here != (manifest.python, manifest.machine):
        raise UsageError(
            f"the bundle is for Python {manifest.python} on {manifest.machine}, this is Python {here[0]} on {here[1]}; "
            f"load it with python{manifest.python}, or make one with --python {here[0]}"
        )


def _fits_disk(manifest: Manifest, into: Path, *, unpack: bool) -> None:
    placed = manifest.files if unpack else manifest.of_kind("case", "checkpoint", "data", "model")
    needed = sum(each.size for each in placed) + int(manifest.installed_bytes * _BYTECODE)
    there = next(each for each in (into, *into.parents) if each.is_dir())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise CannotJudge(f"{there}: {needed >> 20} MiB are needed, {free >> 20} MiB are free; nothing was loaded")


def _identity(manifest: Manifest, request: Request) -> str:
    """Of what a load consists of: the bundle and the interpreters that its environments stand on."""
    return sha256_of(manifest.render() + f"\0{sys.base_prefix}\0{request.packages_of}".encode()).hexdigest()


def _whole(bundle: reader.Bundle, manifest: Manifest, request: Request) -> None:
    """Verify the files that are there, before anything is written."""
    for kind in ("bootstrap", "installer"):
        if len(manifest.of_kind(kind)) != 1:
            raise UsageError(f"{request.bundle}: must hold one {kind}, holds {len(manifest.of_kind(kind))}")
    if HARNESS_REQUIREMENTS not in {entry.path for entry in manifest.of_kind("requirements")}:
        raise UsageError(f"{request.bundle}: holds no {HARNESS_REQUIREMENTS}; make the bundle again")
    request.say("verifying" if isinstance(bundle, reader.Folder) else "verifying the parts")
    problems = bundle.wrong_parts() if isinstance(bundle, reader.Parts) else bundle.problems()
    _intact(problems, bundle.manifest, request.say, request.bundle)


@contextmanager
def _unpacked(bundle: reader.Bundle, into: Path, request: Request) -> Iterator[Path]:
    """A folder with the bundle's files, each as the manifest says."""
    if isinstance(bundle, reader.Folder):
        yield bundle.root
        return
    assert isinstance(bundle, reader.Parts)
    request.say("joining the parts")
    beside = Path(tempfile.mkdtemp(dir=into, prefix=".parts."))

    def sink(entry: Entry) -> IO[bytes]:
        path = beside / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("wb")

    try:
        _intact(bundle.contents(sink), bundle.manifest, request.say, request.bundle)
        yield beside
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _fill(root: Path, manifest: Manifest, target: Path, into: Path, request: Request) -> None:
    for entry in manifest.of_kind("case", "data"):
        placing.copy(root / entry.path, target / entry.path)
    (target / "data").mkdir(exist_ok=True)
    request.say("installing the harness")
    _environment(root, manifest, target / "harness", HARNESS_REQUIREMENTS, "wheels", request)
    if manifest.of_kind("engine-wheel"):
        request.say("installing the engine")
        python = _environment(root, manifest, target / "engine", ENGINE_REQUIREMENTS, "engine-wheels", request)
        if request.packages_of:
            _add_packages(python, request)
    (target / "env.sh").write_text(_env(target, into, engine=bool(manifest.of_kind("engine-wheel"))))


def _environment(root: Path, manifest: Manifest, target: Path, lock: str, wheels: str, request: Request) -> Path:
    """A virtual environment from wheels alone. pip runs from its own wheel: Debian's Python comes without."""
    venv.EnvBuilder(symlinks=True, with_pip=False).create(target)
    python = target / "bin" / "python"
    [pip] = manifest.of_kind("installer")
    argv = [str(python), "-I", str(root / pip.path / "pip"), "--isolated", "install", "--quiet", "--no-cache-dir"]
    argv += ["--disable-pip-version-check", "--no-deps", "--no-index", "--find-links", str(root / wheels)]
    argv += ["--only-binary", ":all:", "--no-compile", "--require-hashes", "--requirement", str(root / lock)]
    # No setting of this host may lead elsewhere.
    status, output = request.run(argv, {**os.environ, "PIP_CONFIG_FILE": os.devnull})
    if status != 0:
        lines = [line for line in output.strip().splitlines() if "ERROR" in line] or output.strip().splitlines()[-1:]
        raise CannotJudge(f"{lock} could not be installed", cause=lines[0] if lines else f"pip ended with {status}")
    return python


def _add_packages(python: Path, request: Request) -> None:
    """Let an environment see the packages of another interpreter, behind its own."""
    try:
        _, output = request.run([request.packages_of, "-c", _PACKAGES_OF], os.environ)
        version, folders = json.loads(output.strip().splitlines()[-1])
    except (OSError, ValueError, IndexError):
        version, folders = None, []
    if version is None:
        raise UsageError(f"--engine-packages-of {request.packages_of}: cannot be run as a Python interpreter")
    if tuple(version) != sys.version_info[:2]:
        raise UsageError(f"--engine-packages-of {request.packages_of}: is Python {version[0]}.{version[1]}")
    [site] = python.parents[1].glob("lib/python*/site-packages")
    lines = [f"import site; site.addsitedir({each!r})\n" for each in folders]
    (site / "packages-of-the-host.pth").write_text("".join(lines))


def _require_container_engine(request: Request) -> None:
    if shutil.which("docker") is None or request.run(["docker", "version"], os.environ)[0] != 0:
        raise CannotJudge("the bundle holds images, and no container engine answers here; leave them with --no-images")


def _load_images(root: Path, manifest: Manifest, request: Request) -> None:
    if not request.images:
        return
    for entry in manifest.of_kind("image"):
        request.say(f"loading {entry.path}")
        status, output = request.run(["docker", "load", "--quiet", "--input", str(root / entry.path)], os.environ)
        if status != 0:
            raise CannotJudge(f"{entry.path} could not be loaded", cause=output.strip()[-200:])
    for name, identity in manifest.images.items():
        _, found = request.run(["docker", "image", "inspect", "--format", "{{.Id}}", name], os.environ)
        if found.strip() != identity:
            raise CannotJudge(f"image {name} is {found.strip()[:80]} after loading, expected {identity}")


def _env(load: Path, into: Path, *, engine: bool) -> str:
    """Names the load itself: a shell stays with the one that it was set up for."""
    this, here = shlex.quote(str(load)), shlex.quote(str(into))
    lines = [
        "# What the harness needs to know on this host. Source it: . env.sh",
        f"HARNESS_DATA_DIR={this}/data",
        f"HF_HOME={here}/huggingface",
        "HF_HUB_OFFLINE=1",
        f"XDG_CACHE_HOME={here}/cache",
        f"PATH={this}/harness/bin:$PATH",
        "export HARNESS_DATA_DIR HF_HOME HF_HUB_OFFLINE XDG_CACHE_HOME PATH",
        f"# Cases: harness run --cases {here}/baselines, or from {here}, where they are found.",
    ]
    if engine:
        lines.append(f"# Engine: harness run --runtime local --engine-python {this}/engine/bin/python")
    return "\n".join(lines) + "\n"
