"""What is secret: by its name, by its value, by its shape; and what is not."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base import secrets
from harness.base.secrets import mask
from harness.cases.document import secret_in

SECRET_NAMES = (
    "HF_TOKEN HUGGING_FACE_HUB_TOKEN GITHUB_TOKEN GITHUB_TOKEN_PROD TOKEN hfToken HF_TOKEN_2 "
    "ACTIONS_RUNTIME_TOKEN SOME_API_KEY x-api-key apiKey OPENAI_APIKEY AWS_SECRET_ACCESS_KEY PRIVATE_KEY "
    "ENCRYPTION_KEY API_KEYS admin-api-key SECRET SECRET_KEY_BASE PASSWORD DB_PASSWORD DB_PASSWORD_PROD "
    "PGPASSWORD MY_PASSWD DB_PASS DB_PWD SSH_PASSPHRASE CREDENTIALS GCP_CREDENTIAL SESSION_COOKIE REDISCLI_AUTH "
    "NPM_AUTH DOCKER_AUTH_CONFIG AZURE_CONNECTION_STRING GITHUB_PAT Authorization Proxy-Authorization Set-Cookie"
)
HARMLESS_NAMES = (
    "HF_TOKEN_PATH TOKENIZERS_PARALLELISM MAX_TOKENS max-num-batched-tokens num_speculative_tokens first_key "
    "MONKEY KEYBOARD PUBLIC_KEY SSH_AUTH_SOCK XAUTHORITY GIT_ASKPASS GIT_AUTHOR_NAME PWD OLDPWD PATH PASSTHROUGH "
    "COMPAT BYPASS eos_token eos_token_id pad-token SGLANG_PER_TOKEN_GROUP_QUANT_8BIT_V2 cache_key SINGLE_PASS "
    "PASSWORD_FILE SECRET_NAME pass_env key"
)


@pytest.mark.parametrize("name", SECRET_NAMES.split())
def test_a_name_that_says_it(name: str) -> None:
    assert secrets.is_name(name)


@pytest.mark.parametrize("name", HARMLESS_NAMES.split())
def test_a_name_that_only_looks_like_it(name: str) -> None:
    assert not secrets.is_name(name)


SHAPES = {
    "a token of the hub": ("hf_" + "aB3" * 8, ""),
    "one of GitHub": ("ghp_" + "aB3" * 8, ""),
    "a signed one": ("eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSM", ""),
    "a password in an address": ("user:pass", "https://{}@host/simple"),
    "one with an at sign": ("user:p@ss@word", "http://{}@host:3128/"),
    "one with a slash": ("user:pa/ss", "http://{}@host/"),
    "a token in a git remote": ("t0kenthatnobodyknows", "https://{}@github.com/a/b.git"),
    "a bearer": ("abcdefgh12345", "Authorization: Bearer {}"),
    "a header as Python prints it": ("dXNlcjpwYXNz", "{{'Authorization': 'Basic {}'}}"),
    "a cookie": ("session=abc", "Cookie: {}"),
    "a signature in an address": ("abc123", "https://host/a?X-Amz-Signature={}&b=c"),
    "a line of env": ("abcdef12", "SOME_PASSWORD={}"),
    "an environment as Python prints it": ("abcdef12", "{{'PATH': '/bin', 'HF_TOKEN': '{}'}}"),
    "an environment in JSON": ("abcdef12", '{{"HF_TOKEN": "{}"}}'),
    "an option": ("sesame0pen", "python -m server --api-key {} --port 1"),
    "an option with its value": ("sesame0pen", "--admin-api-key={}"),
    "a key": ("-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----", ""),
}


@pytest.mark.parametrize("what", SHAPES)
def test_a_shape_that_says_it(what: str) -> None:
    secret, around = SHAPES[what]
    text = mask(f"before {(around or '{}').format(secret)} after")
    assert secret not in text
    assert "***" in text
    assert text.startswith("before ")
    assert text.endswith(" after") or what == "a cookie"


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org:8080/@a and x@y",
        "a model, its hf_transfer, and /run/secrets/hub-token",
        "http://[::1]:8080/v1",
        "eos_token='</s>' pad_token=<pad>",
        "KeyError: 'key'",
        "HF_TOKEN is not set; export HF_TOKEN=$TOKEN",
        "max_tokens=8192, MAX_TOKEN=12345",
        "bearer of bad news",
        "usage: server [--api-key API_KEY] [--hf-token [HF_TOKEN]] --tokenizer a/b-12 --max-tokens 123456789012",
    ],
)
def test_honest_texts_stay(text: str) -> None:
    assert mask(text) == text


def test_values_are_known_in_every_spelling(monkeypatch: pytest.MonkeyPatch) -> None:
    value = 'it\'s "a" secret\\ of £/+ %'
    monkeypatch.setenv("PLANTED_SECRET", value)
    encoded = base64.b64encode(value.encode()).decode()
    for spelt in (value, json.dumps(value), repr(value), quote(value), quote(value, safe=""), encoded):
        text = mask(f"<{spelt}>")
        assert "secret" not in text, spelt
        assert encoded[:20] not in text
    monkeypatch.setenv("SOME_KEY", "first line of a key\nsecond line of a key")
    assert mask("x second line of a key") == "x ***"
    assert mask("x first line of a key second line of a key") == "x ***"


def test_short_ones_are_masked_where_they_are_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    monkeypatch.setenv("A_TOKEN", "model")
    monkeypatch.setenv("B_TOKEN", "1")
    assert mask("a model of hunter2, 1 of hunter22") == "a model of ***, 1 of hunter22"


def test_passwords_of_addresses_in_the_environment_are_masked_alone_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:s3cr%40t-pw@proxy:3128")
    basic = base64.b64encode(b"me:s3cr%40t-pw").decode()
    assert mask(f"407 for me with s3cr%40t-pw, that is s3cr@t-pw, {basic}") == "407 for me with ***, that is ***, ***"


def test_the_hubs_token_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_TOKEN_PATH", raising=False)
    assert mask("of-no-shape-at-all") == "of-no-shape-at-all"
    (tmp_path / "token").write_text("of-no-shape-at-all\n")
    (tmp_path / "stored_tokens").write_text("[mine]\nhf_token = another-one-stored\n\n")
    assert mask("of-no-shape-at-all, another-one-stored, mine") == "***, ***, mine"


def test_the_path_of_credentials_is_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key.json"
    path.touch()
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    assert mask(f"cannot read {path}") == f"cannot read {path}"


def test_a_document_keeps_its_form() -> None:
    document = {"api_key": "sesame-open", "port": 8000, "token": None, "args": ["--url", "http://a:bcdefgh@c/"]}
    assert secrets.masked(document) == {
        "api_key": "***",
        "port": 8000,
        "token": None,
        "args": ["--url", "http://***@c/"],
    }


@given(st.text(), st.text(min_size=8))
def test_no_text_breaks_it_and_what_is_hidden_is_gone(text: str, value: str) -> None:
    masked = secrets.mask_values(f"{text}{value}{text}", [value])
    assert value not in masked or not secrets.is_value(value) or value in "***"
    mask(text)


@pytest.mark.parametrize(
    ("document", "key"),
    [
        ({"serve": {"env": {"HF_TOKEN": "anything"}}}, "serve.env.HF_TOKEN"),
        (
            {"platform": {"cuda": {"roles": {"decode": {"env": {"MY_PASSWORD": "x"}}}}}},
            "platform.cuda.roles.decode.env.MY",
        ),
        ({"serve": {"flags": {"api-key": ["one", "two"]}}}, "serve.flags.api-key.0"),
        ({"when": [{"if": {}, "set": {"serve": {"env": {"A": "http://u:pw@host"}}}}]}, "when.0.set.serve.env.A"),
        ({"title": "with hf_" + "aB3" * 8}, "title"),
        ({"serve": {"env": {"hf_" + "aB3" * 8: "x"}}}, "serve.env.***"),
        ({"serve": {"env": {"USE_AUTH": "1", "VLLM_API_KEY": ""}, "pass_env": ["HF_TOKEN"]}, "first_key": 3}, ""),
    ],
)
def test_a_case_file_holds_none(document: dict[str, object], key: str) -> None:
    found = secret_in(document)
    assert found is None if not key else ".".join(found or ()).startswith(key)


def test_a_secret_that_no_file_can_be_called_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    long = "/" + "x" * 5000
    monkeypatch.setenv("PLANTED_TOKEN", long)
    assert long not in secrets.mask(f"it is {long}")
