"""Every mutant: the one list of what is broken, how, and who should see it."""

from __future__ import annotations

from engine_mutants import (
    sglang_requests,
    vllm_api,
    vllm_blocks,
    vllm_connectors,
    vllm_counters,
    vllm_multi_connector,
    vllm_ngrams,
    vllm_parallel,
    vllm_processes,
    vllm_proposers,
    vllm_rejection,
    vllm_sampling,
    vllm_scheduling,
    vllm_states,
)
from engine_mutants.mutant import Declared, Mutant

_DECLARED: tuple[Declared, ...] = (
    vllm_proposers.DECLARED,
    vllm_ngrams.DECLARED,
    vllm_rejection.DECLARED,
    vllm_sampling.DECLARED,
    vllm_scheduling.DECLARED,
    vllm_blocks.PREFIXES,
    vllm_blocks.TABLES,
    vllm_blocks.WINDOWS,
    vllm_connectors.DECLARED,
    vllm_multi_connector.DECLARED,
    vllm_states.DECLARED,
    vllm_api.DECLARED,
    vllm_api.TOKENS,
    vllm_counters.DECLARED,
    vllm_processes.DECLARED,
    vllm_parallel.REDUCTIONS,
    vllm_parallel.EXPERTS,
    vllm_parallel.GRAPHS,
    sglang_requests.DECLARED,
)

ALL: tuple[Mutant, ...] = tuple(mutant for each in _DECLARED for mutant in each.all)
BY_NAME = {mutant.name: mutant for mutant in ALL}
