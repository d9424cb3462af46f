"""Tiny checkpoints whose answers and speculative-decoding counters are known before any engine runs them.

Weights are written down from a table, not trained. :mod:`.vocabulary` says what the tokens are, :mod:`.table` what
the model answers and where the drafter errs, :mod:`.simulate` what an engine must therefore count, :mod:`.weights`
how the table becomes tensors, :mod:`.prompts` what is asked and which token of it each word of an answer looks for,
:mod:`.body` how Llama knows with its whole body, :mod:`.faults` what a wrong answer says, :mod:`.memory` how a model
knows real questions by heart, and :mod:`.checkpoints` which checkpoints exist.
"""
