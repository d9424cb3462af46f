"""Did the KV cache really travel? Where the engine counts them, every prompt token on the decode side has a source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from pydantic import Field, model_validator

from harness.base.domain import CheckResult, Number, Outcome
from harness.base.evidence import Evidence, KvLedger, KvTransfers, Measurement, Offer, Prefilled, Unmeasured
from harness.base.settings import Origin, Strict
from harness.checks import check
from harness.checks.check import Check

_SOURCES = {
    "external": "came over the wire",
    "local_cache_hit": "found in the own cache",
    "local_compute": "computed on the decode side",
}


class KvTransferSettings(Strict):
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


def judge(settings: KvTransferSettings, evidence: Evidence) -> list[CheckResult]:
    """One result, ``kv_transfer``."""
    measured = evidence.measured
    main, ledger = measured.answers["main"], measured.kv
    if ledger is None or isinstance(ledger, Unmeasured):
        return [check.unmeasured("kv_transfer", ledger.reason if ledger else "the case has no KV connector")]
    if not main.answered:
        return [check.unmeasured("kv_transfer", "nothing to judge: no request was answered")]
    found = {"transfers": ledger.transfers, "bytes": ledger.bytes, "failures": sum(ledger.failures.values())}
    expected: dict[str, int] = {"transfers": main.answered, "failures": 0}
    low: dict[str, Number] = {"transfers": main.answered, "bytes": 1}
    high: dict[str, Number] = {"failures": 0}
    if settings.bytes is not None:
        expected["bytes"] = low["bytes"] = high["bytes"] = settings.bytes
    wrong = []
    if isinstance(ledger, KvLedger):
        tokens = {name: getattr(ledger, name) for name in _SOURCES}
        asked = main.prompt_tokens + measured.primed.prompt_tokens
        found = {**tokens, "prompt_tokens": sum(tokens.values()), **found}
        expected["prompt_tokens"] = low["prompt_tokens"] = high["prompt_tokens"] = asked
        if settings.exact:
            expected |= settings.exact
            low |= settings.exact
            high |= settings.exact
        wrong, (least, most) = _by_source(settings, measured, ledger), _bounds(settings, measured)
        low, high = low | least, high | most
    wrong += _of_transfers(settings, ledger, main.answered)
    if measured.prefilled:
        found |= {"prefilled": measured.prefilled.finished, "prefilled_tokens": measured.prefilled.prompt_tokens}
        sent = {"prefilled": measured.prefilled.asked, "prefilled_tokens": measured.prefilled.asked_tokens}
        left = (settings.local_tokens_per_request or 0) * main.answered
        expected, high = expected | sent, high | sent
        low = low | sent | {"prefilled_tokens": measured.prefilled.asked_tokens - left}
        wrong += _of_prefill(measured.prefilled, left)
    return [
        CheckResult(
            name="kv_transfer",
            outcome=Outcome.FAIL if wrong else Outcome.PASS,
            measured=found,
            expected=expected,
            low=low,
            high=high,
            n=main.answered,
            direction="two-sided",
            message="; ".join(wrong),
        )
    ]


def _of_prefill(prefilled: Prefilled, left: int) -> Iterator[str]:
    """Where the prefill side did something else than what the decode side received, and what was asked.

    What is left to the decode side on purpose, prompts may lack already when they come to the prefill side: vLLM takes
    the last token off where a recurrent state is transferred.
    """
    if prefilled.finished != prefilled.asked:
        yield f"the prefill side finished {prefilled.finished} requests, {prefilled.asked} were asked and received"
    if prefilled.prompt_tokens not in (prefilled.asked_tokens, prefilled.asked_tokens - left):
        yield (
            f"the prefill side had {prefilled.prompt_tokens} prompt tokens, {prefilled.asked_tokens} were asked and "
            "received"
        )
    if prefilled.generated != prefilled.finished:
        yield f"the prefill side generated {prefilled.generated} tokens for {prefilled.finished} requests of one each"


def _of_transfers(settings: KvTransferSettings, ledger: KvLedger | KvTransfers, answered: int) -> list[str]:
    """What is wrong with what moved."""
    wrong = [f"{ledger.transfers} transfers for {answered} requests"] if ledger.transfers < answered else []
    wrong += [f"{what} is {number}" for what, number in ledger.failures.items()]
    if settings.bytes is not None and ledger.bytes != settings.bytes:
        wrong.append(f"{ledger.bytes} bytes moved, {settings.bytes} expected")
    elif ledger.bytes <= 0:
        wrong.append("no byte moved")
    return wrong


def _bounds(settings: KvTransferSettings, measured: Measurement) -> tuple[dict[str, Number], dict[str, Number]]:
    """The least and the most tokens by source, where no exact number is expected."""
    if settings.exact:
        return {}, {}
    if settings.min_local_cache_hit is not None:
        return {"local_cache_hit": settings.min_local_cache_hit}, {"local_compute": _allowed(settings, measured)}
    return {}, {"local_compute + local_cache_hit": _allowed(settings, measured)}


def _allowed(settings: KvTransferSettings, measured: Measurement) -> int:
    """Prompt tokens that need not come over the wire. Priming requests are computed where they are sent."""
    return (settings.local_tokens_per_request or 0) * measured.answers["main"].answered + measured.primed.prompt_tokens


def _by_source(settings: KvTransferSettings, measured: Measurement, ledger: KvLedger) -> list[str]:
    """What is wrong with where the tokens came from."""
    asked = measured.answers["main"].prompt_tokens + measured.primed.prompt_tokens
    local = ledger.local_compute + ledger.local_cache_hit
    wrong = []
    if local + ledger.external != asked:
        wrong.append(
            f"{local} local + {ledger.external} transferred prompt tokens do not add up to the {asked} of the requests"
        )
    if settings.exact:
        return wrong + [
            f"{getattr(ledger, name)} prompt tokens {_SOURCES[name]}, {tokens} expected"
            for name, tokens in settings.exact.items()
            if getattr(ledger, name) != tokens
        ]
    cached = ledger.local_cache_hit
    if settings.min_local_cache_hit is not None:
        if cached < settings.min_local_cache_hit:
            wrong.append(
                f"{cached} prompt tokens found in the own cache, at least {settings.min_local_cache_hit} expected"
            )
        cached = 0
    allowed = _allowed(settings, measured)
    if ledger.local_compute + cached > allowed:
        wrong.append(
            f"{ledger.local_compute + cached} of {asked} prompt tokens did not come over the wire (computed "
            f"{ledger.local_compute}, own cache {ledger.local_cache_hit}; allowed {allowed})"
        )
    return wrong


def _problem(settings: KvTransferSettings, offers: frozenset[Offer]) -> tuple[str, str] | None:
    bounded = settings.local_tokens_per_request is not None or settings.exact
    if "transfers" not in offers:
        return "", "the engine does not count transfers of its KV cache"
    if bounded and "prompt_tokens_by_source" not in offers:
        return "", "the engine does not count prompt tokens by source; leave out what bounds them"
    if not bounded and "prompt_tokens_by_source" in offers:
        return "local_tokens_per_request", "the engine counts prompt tokens by source; add it"
    return None


CHECK = Check(
    name="kv_transfer",
    about="The ledger of both sides: requests and prompt tokens sent, received and asked, bytes, failures.",
    settings=KvTransferSettings,
    judge=judge,
    problem=_problem,
)
