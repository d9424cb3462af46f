"""Secrets: the one definition of what is secret, by name, by value and by shape. None is ever shown or written.

A name says that its value is secret (``HF_TOKEN``); the values of such variables, and what the model hub's token files
hold, are secret wherever they appear; and some texts look it, whoever wrote them (``hf_…``, a password in an address).
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, unquote

HUB_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
"""Environment variables with the model hub's token, which only the process that downloads may have."""

MASK = "***"

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_ALWAYS = re.compile(
    r"(PASSWORD|PASSWD|PASSPHRASE|SECRET|CREDENTIAL|AUTHORIZATION|COOKIE|(API|ACCESS|PRIVATE|SECRET)KEY)S?$"
)
"""Ends of words that make a name secret wherever in it they stand."""
_AT_THE_END = re.compile(r"TOKEN$|JWT$|^(KEY|O?AUTH|PWD|PASS|PAT|BEARER)$")
"""Last words; alone, ``pass`` or ``key`` is no secret's name."""
_TOKENS = re.compile(r"(ACCESS|API|AUTH|BEARER|GITHUB|GITLAB|HF|HUB|ID|REFRESH|SESSION)_(TOKEN|KEY)S?(_|$)")
_NOT_SECRET = re.compile(
    r"(^|_)(PATH|FILE|DIR|FOLDER|HOME|SOCK|SOCKET|URL|URI|ENDPOINT|HOST|PORT|NAME|TYPE|METHOD|MODE|PROVIDER|"
    r"TTL|TIMEOUT|SECONDS|EXPIRY|LENGTH|LEN|SIZE|COUNT|LIMIT|ENABLED|DISABLED|REQUIRED|ID|IDS)$"
    r"|(^|_)(PUBLIC|CACHE|PRIMARY|FOREIGN|PARTITION|ROUTING|SORT|GROUP|HASH|INDEX|LOOKUP|FIRST|LAST|HOT)_KEY$"
    r"|(^|_)(EOS|BOS|PAD|UNK|MASK|SEP|CLS|STOP|START|END|IMAGE|VIDEO|AUDIO|SPECIAL|THINK|REASONING|"
    r"MAX|MIN|NUM|PER|NEXT|FIRST|LAST|DRAFT)_TOKEN$"
    r"|(^|_)(SINGLE|FORWARD|BACKWARD|FIRST|SECOND|ONE|TWO|MULTI|FUSION)_PASS$"
    r"|^(KEY|PASS|PWD|PAT|BEARER)$"
)

_SHORTEST = 8
"""Anything shorter may be a word of an honest text; down to four characters it counts if no word looks like it."""
_PLAIN = re.compile(r"true|false|yes|no|on|off|none|null|empty|[+-]?\d{1,7}(\.\d+)?", re.IGNORECASE)
_LONG_LINE = 16

_USERINFO = (
    r"(?<=://)(?:[^/\s:@\"'<>]*:(?!\d{1,5}/)[^\s@\"'<>]+(?:@[^\s@/\"'<>]+(?=[^\s/\"'<>]*@))*|[^/\s:@\"'<>?#]+)(?=@)"
)
_IN_A_QUERY = (
    "X-Amz-(?:Signature|Credential|Security-Token)|sig(?:nature)?|(?:access_|api_|auth_)?token|api_?key|password"
)
_SHAPES = re.compile(
    "|".join(
        (
            r"\bhf_[A-Za-z0-9]{16,}",
            r"\bapi_org_[A-Za-z0-9]{16,}",
            r"\bgh[opsur]_[A-Za-z0-9]{20,}",
            r"\bgithub_pat_\w{20,}",
            r"\bglpat-[\w-]{16,}",
            r"\bsk-[A-Za-z0-9_-]{20,}",
            r"\bnvapi-[\w-]{20,}",
            r"\bxox[abeoprs]-[\w-]{10,}",
            r"\bA[KS]IA[0-9A-Z]{16}\b",
            r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*",
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
            _USERINFO,
            rf"(?<=[?&])(?i:{_IN_A_QUERY})=[^&\s\"'<>]+",
        )
    ),
    re.DOTALL,
)
_HEADER = re.compile(
    r"(?i)(\b(?:proxy-)?authorization[\"']?\s*[:=]\s*(?:b?[\"'])?)"
    r"(?:((?:bearer|basic|digest|token|negotiate|apikey)\s+)[^\s\"',;]+|[^\s\"',;]{16,})"
    r"|(\b(?:set-)?cookie[\"']?\s*:\s*[\"']?)[^\r\n\"']+|(\bx-api-key[\"']?\s*[:=]\s*[\"']?)[^\s\"',;]+"
    r"|(\bbearer\s+)(?=[\w.~+/=-]*\d|[\w.~+/=-]{20})[\w.~+/=-]{8,}"
)
_ASSIGNED = re.compile(
    r"(?<![\w$-])([A-Z][A-Z0-9_]{3,})(=[\"']?|[\"']\s*[:=]\s*[\"'])(?![\"'$<*\s])([^\s\"',;}]+)"
)  # a line of `env`, an environment that Python or JSON prints

_OPTION = re.compile(r"(?<![\w-])(--[\w.-]+)([= ])(?=[^\s\"']*\d|[^\s\"']{16})([^\s\"'\[\]<>*$-][^\s\"'\[\]]{3,})")

_hidden: set[str] = set()


@lru_cache(maxsize=4096)
def is_name(name: str) -> bool:
    """Whether a variable, option or header of this name holds a secret."""
    words = [word.upper() for part in re.split(r"[^A-Za-z]+", name) for word in _WORDS.findall(part)]
    told = "_".join(words)
    if not words or _NOT_SECRET.search(told):
        return False
    last = _AT_THE_END.search(words[-1]) is not None
    return last or any(_ALWAYS.search(word) for word in words) or bool(_TOKENS.search(told)) or _about(words)


def _about(words: list[str]) -> bool:
    """``DOCKER_AUTH_CONFIG``, ``AZURE_CONNECTION_STRING``."""
    pairs = set(itertools.pairwise(words))
    return bool(pairs & {("AUTH", "CONFIG"), ("CONNECTION", "STRING"), ("KEY", "BASE")})


def is_value(value: str) -> bool:
    """Whether a value is worth hiding: not a switch, a number, or too short to be told from a word."""
    if is_harmless(value):
        return False
    return len(value) >= _SHORTEST or (len(value) >= 4 and not value.isalpha())


def is_harmless(value: str) -> bool:
    """Whether a value is a switch, a number, or nothing: no secret, whatever its name."""
    return not value.strip() or _PLAIN.fullmatch(value.strip()) is not None


def has_shape(text: str) -> bool:
    """Whether a text holds what looks like a secret, whoever wrote it."""
    return mask_shapes(text) != text


def hide(values: Iterable[str]) -> None:
    """Count these values as secret from here on, whatever the names of their variables."""
    _hidden.update(value for value in values if is_value(value))


def known() -> set[str]:
    """Every secret value that is known here: of the environment, the hub's token files, and what was handed on."""
    return {*_hidden, *_of_environment(os.environ), *_of_files()}


def is_variable(name: str, value: str) -> bool:
    """Whether a variable of an environment is a secret, or holds one: an address with a password."""
    return is_name(name) or has_shape(value)


def mask(text: str) -> str:
    """``text`` with every secret replaced: one that is known here, or looks like one."""
    return mask_shapes(mask_values(text, known()))


def masked(document: object) -> object:
    """A JSON document with every secret in its texts replaced, and every text below a secret's name."""
    if isinstance(document, str):
        return mask(document)
    if isinstance(document, list):
        return [masked(each) for each in document]
    if isinstance(document, dict):
        return {
            mask(name) if isinstance(name, str) else name: (
                MASK if isinstance(each, str) and each and is_name(str(name)) and is_value(each) else masked(each)
            )
            for name, each in document.items()
        }
    return document


def mask_values(text: str, values: Iterable[str]) -> str:
    """``text`` with these values replaced, in every spelling that a program may give them."""
    for spelt in sorted({each for value in values for each in spellings(value)}, key=lambda each: (-len(each), each)):
        if len(spelt) >= _SHORTEST:
            text = text.replace(spelt, MASK)
        elif spelt in text:
            text = re.sub(rf"(?<!\w){re.escape(spelt)}(?!\w)", MASK, text)
    return text


def mask_shapes(text: str) -> str:
    """``text`` with what looks like a secret replaced."""
    text = _ASSIGNED.sub(_assigned, text)
    text = _OPTION.sub(_assigned, text)
    text = _HEADER.sub(lambda found: "".join(filter(None, found.groups())) + MASK, text)
    return _SHAPES.sub(_shape, text)


def _assigned(found: re.Match[str]) -> str:
    name, between, value = found.groups()
    return f"{name}{between}{MASK}" if is_name(name) and is_value(value) else found.group()


def _shape(found: re.Match[str]) -> str:
    name, equals, _ = found.group().partition("=")
    return f"{name}={MASK}" if equals and found.string[found.start() - 1 : found.start()] in ("?", "&") else MASK


@lru_cache(maxsize=256)
def spellings(value: str) -> frozenset[str]:
    """A secret as programs write it: as it is, in JSON, in an address, in base64, line by line, folded to one line."""
    found = {value, value.strip(), " ".join(value.split()), json.dumps(value)[1:-1], repr(value)[1:-1]}
    found |= {quote(value, safe="", errors="surrogatepass"), quote(value, errors="surrogatepass"), unquote(value)}
    found |= {line.strip() for line in value.splitlines() if len(line.strip()) >= _LONG_LINE}
    encoded = base64.b64encode(value.encode(errors="surrogatepass")).decode()
    found |= {encoded, encoded.rstrip("=")}
    return frozenset(each for each in found if is_value(each))


def _is_there(path: str) -> bool:
    """Whether a file is there; what no file can be called is not."""
    try:
        return Path(path).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False


def _of_environment(environ: Mapping[str, str]) -> Iterator[str]:
    for name, value in environ.items():
        if is_name(name):
            # Credentials are often the path of a file that holds them.
            if is_value(value) and not (value.startswith(("/", "~", "./")) and _is_there(value)):
                yield value
        elif "@" in value:
            yield from _of_address(value)


def _of_address(value: str) -> Iterator[str]:
    """User with password, and the password alone, of each address in the value of a variable."""
    for userinfo in re.findall(_USERINFO, value):
        user, _, password = userinfo.partition(":")
        for each in (userinfo, password or user):
            if len(each) >= _SHORTEST or (each == password and is_value(each)):
                yield each


def _of_files() -> Iterator[str]:
    for path in hub_token_files():
        try:
            about = path.stat()
        except (OSError, ValueError):
            continue
        yield from _in_file(path, about.st_mtime_ns, about.st_size)


def hub_token_files() -> tuple[Path, Path]:
    """Where the hub's library keeps the token that is used and all that are stored: they need not be there."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or os.path.join(cache, "huggingface")  # noqa: PTH118 # may begin with ~
    token = Path(os.path.expandvars(os.environ.get("HF_TOKEN_PATH") or os.path.join(home, "token")))  # noqa: PTH118
    with suppress(RuntimeError):  # a user without a home
        token = token.expanduser()
    return token, token.with_name("stored_tokens")


@lru_cache(maxsize=16)
def _in_file(path: Path, _changed: int, size: int) -> tuple[str, ...]:
    """Tokens in a file of the hub's: one alone, or ``hf_token = …`` below each name."""
    if size > 1 << 20:
        return ()
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return ()
    values = (line.rpartition("=")[2].strip() for line in lines if not line.startswith(("[", "#")))
    return tuple(value for value in values if is_value(value))
