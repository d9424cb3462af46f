"""Run by the engine's interpreter: what transformers makes of a checkpoint. No module of ours is imported.

Reads JSON from standard input, ``{"folder": ..., "prompts": [token ids, ...], "max_tokens": ...}``, and writes the
token ids of each greedy answer as JSON to standard output. Prompts are answered one at a time, in bf16, on the CPU.
"""

import json
import sys

import torch  # type: ignore[import-not-found] # of the engine's environment
import transformers  # type: ignore[import-not-found]


def main() -> None:
    asked = json.load(sys.stdin)
    torch.set_num_threads(1)
    config = transformers.AutoConfig.from_pretrained(asked["folder"])
    kind = getattr(transformers, config.architectures[0], None) or transformers.AutoModelForCausalLM
    model, loading = kind.from_pretrained(
        asked["folder"], dtype=torch.bfloat16, attn_implementation="eager", output_loading_info=True
    )
    answers = []
    for prompt in asked["prompts"]:
        tokens = torch.tensor([prompt])
        with torch.inference_mode():
            found = model.generate(
                tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=asked["max_tokens"], do_sample=False
            )
        answers.append(found[0, len(prompt) :].tolist())
    json.dump({"answers": answers, "missing": sorted(loading["missing_keys"])}, sys.stdout)


main()
