"""Mutants of vLLM's prefix cache, block tables, attention inputs and sliding windows."""

from __future__ import annotations

from typing import Any

from engine_mutants.fault import Fault
from engine_mutants.mutant import Declared
from engine_mutants.named_cases import ACCEPTANCE, CHUNKED, EAGLE3, EDGES, MTP, NGRAM, SLIDING, TEXTS, TWINS

_POOL = "vllm.v1.core.block_pool"
_MANAGER = "vllm.v1.core.kv_cache_manager"
_TABLE = "vllm.v1.worker.block_table"
_ATTENTION = "vllm.v1.attention.backends.cpu_attn"
_WINDOWS = "vllm.v1.core.single_type_kv_cache_manager"
_FLASH = "vllm.v1.attention.backends.flash_attn"
_ROTARY = "vllm.model_executor.layers.rotary_embedding.base"

PREFIXES = Declared("prefix cache")
TABLES = Declared("block tables")
WINDOWS = Declared("sliding window", platform="cuda")
prefix, table, window = PREFIXES.mutant, TABLES.mutant, WINDOWS.mutant


@prefix(
    "prefix_block_of_another",
    ["vllm-project/vllm#18957", "vllm-project/vllm#39589"],
    "a hit of the prefix cache gives the block of the hit before",
    module=_POOL,
    cases=[EDGES],
    checks=(*TEXTS, "kv_transfer"),
    dirty=True,
)
def _block_of_another(found: Any, fault: Fault) -> None:
    last: list[Any] = []

    def broken(original: Any, self: Any, *arguments: Any, **named: Any) -> Any:
        blocks = original(self, *arguments, **named)
        if not blocks:
            return blocks
        given = last[0] if last and last[0][0] is not blocks[0] else blocks
        if given is not blocks:
            fault.hit()
        last[:] = [blocks]
        return given

    fault.replace(found.BlockPool, "get_cached_block", broken)


@prefix(
    "prefix_never_found",
    ["vllm-project/vllm#46971"],
    "nothing is ever found in the prefix cache",
    module=_MANAGER,
    cases=[EDGES],
    checks=("kv_transfer",),
)
def _never_found(found: Any, fault: Fault) -> None:
    def broken(_original: Any, _self: Any, _request: Any) -> bool:
        fault.hit()
        return False

    fault.replace(found.KVCacheManager, "prefix_cache_lookup_enabled", broken)


@prefix(
    "prefix_never_found_on_prefill",
    ["vllm-project/vllm#46971"],
    "the prefill side finds nothing in its prefix cache",
    module=_MANAGER,
    cases=[EDGES],
    checks=("kv_transfer",),
    unseen="a prompt that the prefill side computes again is right; what it finds in its own cache is not judged",
)
def _never_on_prefill(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, request: Any) -> Any:
        if not fault.server.startswith("prefill"):
            return original(self, request)
        fault.hit()
        return False

    fault.replace(found.KVCacheManager, "prefix_cache_lookup_enabled", broken)


@table(
    "moved_row_short",
    ["vllm-project/vllm#39589"],
    "when a request takes the row of one that ended, the last block of its table is lost",
    module=_TABLE,
    platform="cpu",
    cases=[CHUNKED],
    checks=TEXTS,
)
def _moved_short(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, src: int, tgt: int) -> None:
        original(self, src, tgt)
        number = int(self.num_blocks_per_row[tgt])
        if number > 1:
            fault.hit()
            self.block_table.np[tgt, number - 1] = self.block_table.np[tgt, 0]

    fault.replace(found.BlockTable, "move_row", broken)


@table(
    "grown_row_repeats",
    ["vllm-project/vllm#32255"],
    "the block that an answer grows into is written down as the first one of its request",
    module=_TABLE,
    platform="cpu",
    cases=[CHUNKED],
    checks=TEXTS,
)
def _grown_repeats(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, block_ids: Any, row_idx: int) -> None:
        if block_ids and int(self.num_blocks_per_row[row_idx]) > 0:
            fault.hit()
            block_ids = [int(self.block_table.np[row_idx, 0])] * len(block_ids)
        original(self, block_ids, row_idx)

    fault.replace(found.BlockTable, "append_row", broken)


@table(
    "slot_of_neighbour",
    ["vllm-project/vllm#9730"],
    "with several requests the newest token of the last one is written where the token before it is",
    module=_TABLE,
    platform="cpu",
    cases=[EAGLE3, NGRAM],
    checks=(*TEXTS, *ACCEPTANCE),
)
def _slot_of_neighbour(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, num_reqs: int, query_start_loc: Any, positions: Any) -> None:
        original(self, num_reqs, query_start_loc, positions)
        last = int(query_start_loc[num_reqs]) - 1
        if num_reqs > 1 and last > 0:
            fault.hit()
            self.slot_mapping.gpu[last] = self.slot_mapping.gpu[last - 1]

    fault.replace(found.BlockTable, "compute_slot_mapping", broken)


def _attention(change: Any) -> Any:
    """A patch that changes what attention of a CPU is told about the cache."""

    def patch(found: Any, fault: Fault) -> None:
        def broken(original: Any, self: Any, *arguments: Any, **named: Any) -> Any:
            metadata = original(self, *arguments, **named)
            change(metadata, fault, self.block_size)
            return metadata

        fault.replace(found.CPUAttentionMetadataBuilder, "build", broken)

    return patch


def _first_hidden(metadata: Any, fault: Fault, block: int) -> None:
    if metadata.block_table.shape[1] > 1 and int(metadata.seq_lens.max()) > 2 * block:
        fault.hit()
        metadata.block_table = metadata.block_table.clone()
        metadata.block_table[:, 0] = metadata.block_table[:, 1]


def _exchanged(metadata: Any, fault: Fault, block: int) -> None:
    """Full blocks may stand in any order, because keys know their positions; the last one is full up to some token."""
    last = (metadata.seq_lens - 1).div(block, rounding_mode="floor")
    if metadata.block_table.shape[1] > 1 and int(metadata.seq_lens.max()) > 2 * block:
        fault.hit()
        table = metadata.block_table = metadata.block_table.clone()
        for row, at in enumerate(last.tolist()):
            if at > 1:
                table[row, [0, at]] = table[row, [at, 0]]


table(
    "attention_first_block_lost",
    ["vllm-project/vllm#18957"],
    "attention reads the second block in place of the first",
    module=_ATTENTION,
    platform="cpu",
    cases=[EAGLE3, MTP],
    checks=TEXTS,
)(_attention(_first_hidden))

table(
    "attention_blocks_exchanged",
    ["ai-dynamo/dynamo#63", "vllm-project/vllm#50558"],
    "attention reads the first block and the last one the other way round",
    module=_ATTENTION,
    platform="cpu",
    cases=[EAGLE3, MTP],
    checks=TEXTS,
)(_attention(_exchanged))


@table(
    "positions_shifted",
    ["vllm-project/vllm#26498"],
    "every position that the rotary embedding is given is one too high from the thirty-second on",
    module=_ROTARY,
    platform="cpu",
    cases=[EAGLE3, TWINS],
    checks=TEXTS,
)
def _positions(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, positions: Any, *arguments: Any, **named: Any) -> Any:
        late = positions >= 32
        if bool(late.any()):
            fault.hit()
            positions = positions + late.to(positions.dtype)
        return original(self, positions, *arguments, **named)

    fault.replace(found.RotaryEmbedding, "forward_cpu", broken)


@window(
    "window_freed_early",
    ["vllm-project/vllm#57610"],
    "blocks at the edge of the window are given back while they are still attended",
    module=_WINDOWS,
    cases=[SLIDING],
    checks=("accuracy",),
)
def _freed_early(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, num_computed_tokens: int) -> Any:
        skipped = original(self, num_computed_tokens)
        if skipped > 0:
            fault.hit()
            skipped = min(skipped + self.block_size, num_computed_tokens)
        return skipped

    fault.replace(found.SlidingWindowManager, "get_num_skipped_tokens", broken)


@window(
    "window_ignored",
    ["vllm-project/vllm#57610"],
    "layers with a window attend to everything that is in the cache",
    module=_FLASH,
    cases=[SLIDING],
    checks=("accuracy",),
)
def _window_ignored(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, *arguments: Any, **named: Any) -> Any:
        window = self.sliding_window
        if window == (-1, -1):
            return original(self, *arguments, **named)
        fault.hit()
        self.sliding_window = (-1, -1)
        try:
            return original(self, *arguments, **named)
        finally:
            self.sliding_window = window

    fault.replace(found.FlashAttentionImpl, "forward", broken)
