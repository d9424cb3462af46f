"""Did the KV cache really travel? Where the engine counts them, every prompt token on the decode side has a source."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from harness.base.domain import CheckResult, Outcome
from harness.base.settings import Origin, Strict
from harness.checks import compare
from harness.checks.evidence import KvLedger, Measurement, Unmeasured

_SOURCES = {
    "external": "came over the wire",
    "local_cache_hit": "found in the own cache",
    "local_compute": "computed on the decode side",
}


class Config(Strict):
    """``[checks.kv_transfer]``."""

    local_tokens_per_request: int | None = Field(
        None,
        ge=0,
        description="Prompt tokens per request that the decode side may compute, or find in its own cache unless "
        "`min_local_cache_hit` is given. Priming requests are on top: they are computed where they are sent. Left out "
        "for an engine that does not count prompt tokens by source.",
    )
    min_local_cache_hit: int | None = Field(
        None, ge=1, description="Tokens that the decode side must at least find in its own cache, where it has some."
    )
    external: int | None = Field(None, ge=0, description="Prompt tokens that must come over the wire, exactly.")
    local_cache_hit: int | None = Field(
        None, ge=0, description="Prompt tokens that the decode side must find in its own cache, exactly."
    )
    local_compute: int | None = Field(
        None, ge=0, description="Prompt tokens that the decode side must compute, priming included, exactly."
    )
    bytes: int | None = Field(None, ge=1, description="Bytes moved, where the model's shape gives them exactly.")
    origin: Origin

    @property
    def exact(self) -> dict[str, int]:
        """Expected tokens by source; empty where only a bound is given."""
        sources = {name: getattr(self, name) for name in ("external", "local_cache_hit", "local_compute")}
        return {name: tokens for name, tokens in sources.items() if tokens is not None}

    @model_validator(mode="after")
    def _bound_or_exact(self) -> Self:
        if len(self.exact) not in (0, 3):
            raise ValueError(
                "give either local_tokens_per_request or external, local_cache_hit and local_compute, all three"
            )
        if self.exact and (self.local_tokens_per_request is not None or self.min_local_cache_hit is not None):
            raise ValueError("min_local_cache_hit and local_tokens_per_request: exact tokens by source say it already")
        return self


def judge(config: Config, measured: Measurement) -> list[CheckResult]:
    """One result, ``kv_transfer``."""
    name = "kv_transfer"
    main, ledger = measured.answers["main"], measured.kv
    if ledger is None or isinstance(ledger, Unmeasured):
        return [compare.unmeasured(name, ledger.reason if ledger else "the case has no KV connector")]
    if not main.answered:
        return [compare.unmeasured(name, "nothing to judge: no request was answered")]
    expected, found = f"{main.answered} transfers", [f"{ledger.transfers} transfers", f"{ledger.bytes} B"]
    wrong, bound = list[str](), ""
    if isinstance(ledger, KvLedger):
        asked = main.prompt_tokens + measured.primed.prompt_tokens
        wrong, bound = _by_source(config, measured, ledger)
        found = [f"{ledger.external}/{asked} tokens", *found]
        expected = f"{config.exact['external']}/{asked} tokens" if config.exact else f"{asked} tokens"
    if ledger.transfers < main.answered:
        wrong.append(f"{ledger.transfers} transfers for {main.answered} requests")
    wrong += [f"{what} is {number}" for what, number in ledger.failures.items()]
    if config.bytes is not None and ledger.bytes != config.bytes:
        wrong.append(f"{ledger.bytes} bytes moved, {config.bytes} expected")
    elif ledger.bytes <= 0:
        wrong.append("no byte moved")
    return [
        CheckResult(
            name=name,
            outcome=Outcome.FAIL if wrong else Outcome.PASS,
            measured=", ".join(found),
            expected=expected if config.bytes is None else f"{expected}, {config.bytes} B",
            bound=", ".join(filter(None, [bound, "failed = 0"])),
            n=main.answered,
            message="; ".join(wrong),
        )
    ]


def _by_source(config: Config, measured: Measurement, ledger: KvLedger) -> tuple[list[str], str]:
    """What is wrong with where the tokens came from, and the bound as people read it."""
    main, primed = measured.answers["main"], measured.primed
    asked = main.prompt_tokens + primed.prompt_tokens
    local = ledger.local_compute + ledger.local_cache_hit
    wrong = []
    if local + ledger.external != asked:
        wrong.append(
            f"{local} local + {ledger.external} transferred prompt tokens do not add up to the {asked} of the requests"
        )
    if config.exact:
        wrong += [
            f"{getattr(ledger, name)} prompt tokens {_SOURCES[name]}, {tokens} expected"
            for name, tokens in config.exact.items()
            if getattr(ledger, name) != tokens
        ]
        return wrong, f"cached = {config.exact['local_cache_hit']}, computed = {config.exact['local_compute']}"
    cached, bound = ledger.local_cache_hit, ""
    if config.min_local_cache_hit is not None:
        if cached < config.min_local_cache_hit:
            wrong.append(
                f"{cached} prompt tokens found in the own cache, at least {config.min_local_cache_hit} expected"
            )
        cached, bound = 0, f", cached >= {config.min_local_cache_hit}"
    allowed = (config.local_tokens_per_request or 0) * main.answered + primed.prompt_tokens
    if ledger.local_compute + cached > allowed:
        wrong.append(
            f"{ledger.local_compute + cached} of {asked} prompt tokens did not come over the wire (computed "
            f"{ledger.local_compute}, own cache {ledger.local_cache_hit}; allowed {allowed})"
        )
    return wrong, f"local <= {allowed}{bound}"
