#!/usr/bin/env python3
"""Times mamba_ssm's language models with random weights; `ophis bench model` is their counterpart.

    python3 bench/peers/compare_models.py --shape mamba2-2.7b --batch 1 --prompt-tokens 2048 --new-tokens 128

Generation runs as CUDA graphs, as mamba_ssm's own benchmark does it. Prints JSON.
"""

import argparse
import json
import time
from pathlib import Path

import peers

SHAPES = {
    "mamba-130m": (768, 24, "Mamba1"),
    "mamba-2.8b": (2560, 64, "Mamba1"),
    "mamba2-130m": (768, 24, "Mamba2"),
    "mamba2-2.7b": (2560, 64, "Mamba2"),
}


def measure(shape: str, batch: int, prompt_tokens: int, new_tokens: int) -> dict:
    import torch
    from mamba_ssm.models.config_mamba import MambaConfig
    from mamba_ssm.models.mixer_seq_simple import MambaLMHeadModel

    d_model, n_layer, layer = SHAPES[shape]
    config = MambaConfig(
        d_model=d_model, n_layer=n_layer, vocab_size=50277, ssm_cfg={"layer": layer}, rms_norm=True,
        residual_in_fp32=True, fused_add_norm=True,
    )  # fmt: skip
    model = MambaLMHeadModel(config, device="cuda", dtype=torch.bfloat16).eval()
    ids = torch.randint(1, 1000, (batch, prompt_tokens), device="cuda")

    def seconds(work) -> float:
        times = []
        for _ in range(3):
            torch.cuda.synchronize()
            start = time.perf_counter()
            work()
            torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
        return sorted(times)[1]

    def generate(length: int):
        return lambda: model.generate(
            input_ids=ids, max_length=prompt_tokens + length, cg=True, temperature=1.0, top_k=1
        )

    generate(new_tokens)()  # autotuning, and recording the graph
    with torch.inference_mode():
        prefill = seconds(lambda: model(ids, num_last_tokens=1))
    # A run's prefill and first token fall out of the difference.
    step = (seconds(generate(new_tokens)) - seconds(generate(1))) / (new_tokens - 1)
    return {
        "peer": "mamba_ssm", "model": shape, "dtype": "bfloat16", "batch": batch, "prompt_tokens": prompt_tokens,
        "new_tokens": new_tokens, "device": torch.cuda.get_device_name(), "prefill_seconds": prefill,
        "seconds_per_step": step,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", action="append", choices=SHAPES, required=True)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--prompt-tokens", type=int, default=2048)
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--peers", type=Path, default=Path("build/peers"), help="the folder of fetch.sh")
    options = parser.parse_args()
    peers.load(options.peers.resolve())
    rows = [measure(shape, options.batch, options.prompt_tokens, options.new_tokens) for shape in options.shape]
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
