"""Did the KV cache really travel? Where the engine counts them, every prompt token on the decode side has a source."""

from __future__ import annotations

from pydantic import Field

from harness.ground.domain import Answers, CheckResult, KvLedger, Measurement, Outcome, Unmeasured
from harness.policy.checks import compare
from harness.policy.schema import Origin, Strict


class Config(Strict):
    """``[checks.kv_transfer]``."""

    local_tokens_per_request: int | None = Field(
        None,
        ge=0,
        description="Prompt tokens the decode side may compute or find in its own cache, per request; left out for an "
        "engine that does not count them by source.",
    )
    bytes: int | None = Field(None, ge=1, description="Bytes moved, where the model's shape gives them exactly.")
    origin: Origin


def judge(config: Config, measured: Measurement) -> list[CheckResult]:
    """One result, ``kv_transfer``."""
    name = "kv_transfer"
    main, ledger = measured.answers["main"], measured.kv
    if ledger is None or isinstance(ledger, Unmeasured):
        return [compare.unmeasured(name, ledger.reason if ledger else "the case has no KV connector")]
    allowed = (config.local_tokens_per_request or 0) * main.answered
    expected, found, wrong = [f"{main.answered} transfers"], [f"{ledger.transfers} transfers", f"{ledger.bytes} B"], []
    if isinstance(ledger, KvLedger):
        expected, found = [f"{main.prompt_tokens} tokens"], [f"{ledger.external}/{main.prompt_tokens} tokens", *found]
        wrong = _unaccounted(ledger, main, allowed)
    if ledger.transfers < main.answered:
        wrong.append(f"{ledger.transfers} transfers for {main.answered} requests")
    if ledger.failures:
        wrong.append(f"{ledger.failures} transfers, notifications or leases failed")
    if config.bytes is not None and ledger.bytes != config.bytes:
        wrong.append(f"{ledger.bytes} bytes moved, {config.bytes} expected")
    elif ledger.bytes <= 0:
        wrong.append("no byte moved")
    if config.bytes is not None:
        expected.append(f"{config.bytes} B")
    return [
        CheckResult(
            name=name,
            outcome=Outcome.FAIL if wrong else Outcome.PASS,
            measured=", ".join(found),
            expected=", ".join(expected),
            bound=f"local <= {allowed}, failed = 0" if isinstance(ledger, KvLedger) else "failed = 0",
            n=main.answered,
            message="; ".join(wrong),
        )
    ]


def _unaccounted(ledger: KvLedger, main: Answers, allowed: int) -> list[str]:
    """What the sources of the prompt tokens say against a transfer."""
    local = ledger.local_compute + ledger.local_cache_hit
    wrong = []
    if local + ledger.external != main.prompt_tokens:
        wrong.append(
            f"{local} local + {ledger.external} transferred prompt tokens do not add up to the {main.prompt_tokens} "
            "of the requests"
        )
    if local > allowed:
        wrong.append(
            f"{local} of {main.prompt_tokens} prompt tokens did not come over the wire (computed "
            f"{ledger.local_compute}, own cache {ledger.local_cache_hit}; allowed {allowed})"
        )
    return wrong
