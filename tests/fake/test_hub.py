"""Models from a hub of our own, over HTTP, with the hub's own library: fetched, completed, refused, cut off."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.fake.hub_server import COMMIT, OTHER, Hub, at, serving
from tests.fake.test_pin import drafter
from tests.helpers import REPOSITORY, environment, harness, in_hub_cache, tensors

REPO = "some/model"
WEIGHTS = tensors(b"w" * 4000)
FILES = {"config.json": b"{}", "model.safetensors": WEIGHTS}
SNAPSHOT = """
import json, sys, time
from pathlib import Path
from huggingface_hub import constants
from harness.host import hub
constants.DOWNLOAD_CHUNK_SIZE = 500
time.sleep = lambda _: None  # its library waits longer and longer
try:
    folder = hub.snapshot(sys.argv[1], sys.argv[2])
    there = [path for path in folder.rglob("*") if path.is_file()]
    print(json.dumps({path.relative_to(folder).as_posix(): path.stat().st_size for path in there}))
except hub.Unavailable as error:
    print(f"{error.fault}: {error}")
    sys.exit(4)
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving() as found:
        found.add(REPO, FILES)
        yield found


def snapshot(env: Mapping[str, str], repo: str = REPO, commit: str = COMMIT) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", SNAPSHOT, repo, commit]
    return subprocess.run(argv, env=environment(env), cwd=REPOSITORY, text=True, capture_output=True, check=False)


def asked(command: str, folder: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """A commit looked up, or a model fetched."""
    if command == "pin":
        return harness("pin", "--cases", drafter(folder / "cases", REPO), env=env)
    return snapshot(env)


def sizes(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, int] = json.loads(done.stdout)
    return found


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that says why."""
    assert done.returncode == 4, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    [line] = done.stdout.splitlines()
    return line


WHOLE = {name: len(content) for name, content in FILES.items()}


@pytest.mark.parametrize("there", [{}, {"config.json": b"{}"}, {"model.safetensors": WEIGHTS}])
def test_what_is_not_in_the_cache_is_fetched(tmp_path: Path, hub: Hub, there: dict[str, bytes]) -> None:
    in_hub_cache(tmp_path, REPO, COMMIT, there)
    env = hub.environment(tmp_path)
    assert sizes(snapshot(env)) == WHOLE
    asked = len(hub.asked)
    assert sizes(snapshot(env)) == WHOLE
    assert len(hub.asked) == asked  # all is there, and the cache knows it
    assert sizes(snapshot({**env, "HF_ENDPOINT": "http://127.0.0.1:9"})) == WHOLE
    assert sizes(snapshot({**env, "HF_HUB_OFFLINE": "1"})) == WHOLE


def test_only_what_an_engine_reads_is_fetched(tmp_path: Path, hub: Hub) -> None:
    read = {
        "config.json": b"{} ",
        "tokenizer.json": b"{}  ",
        "chat_template.jinja": b"x3",
        "modeling_own.py": b"x4",
        "model.safetensors": WEIGHTS,
    }
    unread = {
        "README.md": b"x5",
        "LICENSE": b"x6",
        ".gitattributes": b"x7",
        "pytorch_model.bin": b"x8",
        "pytorch_model.bin.index.json": b"{}         ",
        "consolidated.safetensors": tensors(b"another"),
        "original/consolidated.00.pth": b"x10",
        "original/tokenizer.model": b"x11",
        "onnx/model.onnx": b"x12",
        "model-Q4_K[M].gguf": b"x13",
        "tf_model.h5": b"x14",
        "figures/one.png": b"x15",
    }
    hub.add("other/model", read | unread)
    env = hub.environment(tmp_path)
    assert sizes(snapshot(env, "other/model")).keys() == read.keys()
    assert hub.fetched() == read.keys()
    assert sizes(snapshot({**env, "HF_HUB_OFFLINE": "1"}, "other/model")).keys() == read.keys()


def test_weights_that_are_there_once_are_fetched_whatever_they_are(tmp_path: Path, hub: Hub) -> None:
    hub.add("old/torch", {"config.json": b"{}", "pytorch_model.bin": b"x"})
    hub.add("only/gguf", {"config.json": b"{}", "model.gguf": b"x"})
    mistral = {"params.json": b"{}", "consolidated.safetensors": WEIGHTS, "model.safetensors": WEIGHTS}
    hub.add("its/own", mistral)
    for repo in ("old/torch", "only/gguf", "its/own"):
        assert sizes(snapshot(hub.environment(tmp_path), repo)).keys() == hub.repos[repo][COMMIT].keys()


def test_a_cut_connection_goes_on_where_it_was_cut(tmp_path: Path, hub: Hub) -> None:
    hub.cut["model.safetensors"] = [1000]
    done = snapshot(hub.environment(tmp_path))
    assert sizes(done) == WHOLE
    assert any(line.endswith("bytes=1000-") for line in hub.asked), hub.asked


def test_a_download_that_was_cut_off_is_no_model_and_is_completed(tmp_path: Path, hub: Hub) -> None:
    hub.cut["model.safetensors"] = [1000] + [0] * 20
    env = hub.environment(tmp_path)
    line = refusal(snapshot(env))
    assert line.startswith("network: ")
    assert "1 of 2 files are not there: model.safetensors" in line
    assert "goes on with what is there" in line
    for other in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}):
        line = refusal(snapshot({**env, **other}))
        assert "1 of 2 files are not there: model.safetensors" in line
    hub.cut.clear()
    assert sizes(snapshot(env)) == WHOLE
    assert any("bytes=1000-" in line for line in hub.asked)


def test_what_was_damaged_in_the_cache_is_fetched_anew(tmp_path: Path, hub: Hub) -> None:
    env = hub.environment(tmp_path)
    assert sizes(snapshot(env)) == WHOLE
    [weights] = tmp_path.glob(f"models--*/snapshots/{COMMIT}/model.safetensors")
    os.truncate(weights, 100)
    assert "model.safetensors has 100 bytes, the hub has" in refusal(snapshot({**env, "HF_HUB_OFFLINE": "1"}))
    assert sizes(snapshot(env)) == WHOLE


def test_folders_with_a_configuration_alone_are_no_models(tmp_path: Path) -> None:
    in_hub_cache(tmp_path, REPO, COMMIT, {"config.json": b"{}"})
    line = refusal(snapshot({**at(tmp_path, "http://127.0.0.1:9"), "HF_HUB_OFFLINE": "1"}))
    assert "is not complete (no weights" in line


@pytest.mark.parametrize(
    ("token", "repo", "fault", "words"),
    [
        ("", "gated/model", "configuration", "gated/model is gated: accept its terms at http"),
        ("", "gated/model", "configuration", "set HF_TOKEN to a token of that account"),
        ("hf_wrong", "gated/model", "configuration", "with the account of HF_TOKEN"),
        ("", "hidden/model", "configuration", "has no repository hidden/model, or a private one for which HF_TOKEN"),
        ("", "no/model", "configuration", "has no repository no/model"),
        ("hf_right", "no/model", "configuration", "that the token of HF_TOKEN may not see"),
    ],
)
def test_a_refusal_names_the_next_step(tmp_path: Path, hub: Hub, token: str, repo: str, fault: str, words: str) -> None:
    hub.add("gated/model", FILES)
    hub.add("hidden/model", FILES)
    hub.gated, hub.hidden = {"gated/model"}, {"hidden/model"}
    line = refusal(snapshot({**hub.environment(tmp_path), "HF_TOKEN": token}, repo))
    assert line.startswith(f"{fault}: ")
    assert words in line
    assert not token or token not in line
    if token != "hf_right":
        right = {**hub.environment(tmp_path), "HF_TOKEN": "hf_right"}
        assert repo == "no/model" or sizes(snapshot(right, repo)) == WHOLE


def test_a_commit_that_is_not_there_is_said(tmp_path: Path, hub: Hub) -> None:
    line = refusal(snapshot(hub.environment(tmp_path), commit=OTHER))
    assert "some/model has no such commit" in line


@pytest.mark.parametrize(("status", "words"), [(429, "too many requests; wait"), (500, "try again later")])
@pytest.mark.parametrize("where", ["/tree/", "/resolve/"])
def test_a_hub_that_is_overloaded_is_one_line(tmp_path: Path, hub: Hub, status: int, words: str, where: str) -> None:
    hub.answers = [(where, status)] * 40
    line = refusal(snapshot({**hub.environment(tmp_path), "HF_HUB_ETAG_TIMEOUT": "1"}))
    assert line.startswith("network: ")
    assert f"answers {status} for some/model" in line
    assert words in line


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "no connection"),
        ({"HF_ENDPOINT": "http://no-such-hub.invalid"}, "its name is not known"),
        ({"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}, "the proxy does not let it through"),
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
    ],
)
@pytest.mark.parametrize("command", ["pin", "snapshot"])
def test_a_hub_that_cannot_be_reached_is_one_line(
    tmp_path: Path, hub: Hub, extra: dict[str, str], words: str, command: str
) -> None:
    env = {**hub.environment(tmp_path / "hub"), **extra}
    assert words in refusal(asked(command, tmp_path, env))


def test_a_certificate_that_is_not_trusted_is_said(tmp_path: Path, hub: Hub) -> None:
    """It is asked in TLS, which it does not speak."""
    env = {**hub.environment(tmp_path), "HF_ENDPOINT": hub.address.replace("http:", "https:")}
    line = refusal(snapshot(env))
    assert line.startswith("network: ")
    assert "certificate" in line or "no connection" in line


@pytest.mark.parametrize("command", ["pin", "snapshot"])
def test_a_page_in_place_of_an_answer_is_one_line(tmp_path: Path, hub: Hub, command: str) -> None:
    hub.page = True
    env = hub.environment(tmp_path / "hub")
    line = refusal(asked(command, tmp_path, env))
    assert "no JSON, as a proxy's page is; see HF_ENDPOINT and HTTPS_PROXY" in line


def test_a_full_disk_is_the_hosts_fault(tmp_path: Path, hub: Hub) -> None:
    """A limit on files stands for the disk: the same error of the system, and no disk is filled."""
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500)){SNAPSHOT}"
    argv = [sys.executable, "-B", "-c", limited, REPO, COMMIT]
    env = environment(hub.environment(tmp_path))
    done = subprocess.run(argv, env=env, cwd=REPOSITORY, text=True, capture_output=True, check=False)
    line = refusal(done)
    assert line.startswith("host: ")
    assert "File too large" in line
    assert "HF_HUB_CACHE" in line


def test_a_folder_that_cannot_be_written_is_the_hosts_fault(tmp_path: Path, hub: Hub) -> None:
    (tmp_path / "file").touch()
    line = refusal(snapshot(hub.environment(tmp_path / "file" / "hub")))
    assert line.startswith("host: ")
    assert "Not a directory" in line
