"""Did the KV cache really travel? On the decode side every prompt token is accounted for by its source."""

from __future__ import annotations

from pydantic import Field

from harness.ground.domain import CheckResult, KvLedger, Measurement, Outcome
from harness.policy.checks import compare
from harness.policy.schema import Origin, Strict


class Config(Strict):
    """``[checks.kv_transfer]``."""

    local_tokens_per_request: int = Field(
        ge=0, description="Prompt tokens the decode side may compute or find in its own cache, per request."
    )
    bytes: int | None = Field(None, ge=1, description="Bytes moved, where the model's shape gives them exactly.")
    origin: Origin


def judge(config: Config, measured: Measurement) -> list[CheckResult]:
    """One result, ``kv_transfer``."""
    name = "kv_transfer"
    main, ledger = measured.answers["main"], measured.kv
    if not isinstance(ledger, KvLedger):
        return [compare.unmeasured(name, ledger.reason if ledger else "the case has no KV connector")]
    local = ledger.local_compute + ledger.local_cache_hit
    allowed = config.local_tokens_per_request * main.answered
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
    if ledger.transfers < main.answered:
        wrong.append(f"{ledger.transfers} transfers for {main.answered} requests")
    if ledger.failures:
        wrong.append(f"{ledger.failures} transfers, notifications or leases failed")
    if config.bytes is not None and ledger.bytes != config.bytes:
        wrong.append(f"{ledger.bytes} bytes moved, {config.bytes} expected")
    elif ledger.bytes <= 0:
        wrong.append("no byte moved")
    moved = f"{ledger.external}/{main.prompt_tokens} tokens, {ledger.transfers} transfers, {ledger.bytes} B"
    expected_bytes = "" if config.bytes is None else f", {config.bytes} B"
    return [
        CheckResult(
            name=name,
            outcome=Outcome.FAIL if wrong else Outcome.PASS,
            measured=moved,
            expected=f"{main.prompt_tokens} tokens{expected_bytes}",
            bound=f"local <= {allowed}, failed = 0",
            n=main.answered,
            message="; ".join(wrong),
        )
    ]
