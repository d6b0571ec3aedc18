#!/usr/bin/env python3
"""Measures llama.cpp and ophis side by side: prefill of 512 tokens (on a GPU 2048) and decode of 64, at every precision.

Both have models of the same shape with random weights. Runs of the two alternate, and medians are compared, so that both see
the same machine; ophis measures the read bandwidth in each of its runs. First `bench/peers/llama.sh build/peers/llama`, then
`build/peers/llama/venv/bin/python bench/peers/compare_llama.py --ophis build/openmp/interfaces/cli/ophis`.

On an NVIDIA GPU: `bench/peers/llama.sh build/peers/llama cuda` and `--device cuda --ophis build/cuda-sm90/interfaces/cli/ophis`.
Making the larger shapes' files takes 11 GB of memory and 22 GB of disk each.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

import gguf
import numpy as np

SHAPES = {
    "mamba-130m": (768, 24), "mamba-370m": (1024, 48), "mamba-1.4b": (2048, 48),
    "mamba2-130m": (768, 24), "mamba2-370m": (1024, 48), "mamba2-1.3b": (2048, 48),
    "mamba-2.8b": (2560, 64), "mamba2-2.7b": (2560, 64),
}
# By device: the folder that llama.sh builds in, the shapes and prompt that are measured, llama-bench's options.
DEVICES = {
    "cpu": ("build", ["mamba-130m", "mamba2-130m", "mamba-370m", "mamba2-370m"], 512, []),
    "cuda": ("build-cuda", ["mamba2-2.7b", "mamba-2.8b", "mamba2-130m", "mamba-130m"], 2048, ["-ngl", "999"]),
}
# By precision: llama.cpp's, of which the best counts, and ophis's.
PRECISIONS = {
    "float32": (["F32"], ["--dtype", "float32"]),
    "bfloat16": (["BF16"], ["--dtype", "bfloat16"]),
    "int8": (["Q8_0"], ["--dtype", "bfloat16", "--quantize", "int8", "--quantize-tables", "int8"]),
    "int4": (["Q4_0", "Q4_K_M"], ["--dtype", "bfloat16", "--quantize", "int4", "--quantize-tables", "int4"]),
}


def write_vocabulary(writer, source, size):
    """The tokenizer of a vocabulary that comes with llama.cpp."""
    reader = gguf.GGUFReader(source / "models" / "ggml-vocab-gpt-neox.gguf")
    keys = gguf.Keys.Tokenizer

    def strings(key):
        field = reader.get_field(key)
        return [bytes(field.parts[i]) for i in field.data]

    types = reader.get_field(keys.TOKEN_TYPE)
    tokens, kinds = strings(keys.LIST), [types.parts[i].tolist()[0] for i in types.data]
    missing = size - len(tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("mpt")
    writer.add_token_list((tokens + [b"[PAD%d]" % i for i in range(missing)])[:size])
    writer.add_token_types((kinds + [gguf.TokenType.UNUSED] * missing)[:size])
    writer.add_token_merges(strings(keys.MERGES))
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)


def write_model(path, name, source):
    """A model of a shape, with random weights in float32."""
    d_model, layers = SHAPES[name]
    is_mamba2 = name.startswith("mamba2")
    d_inner, vocab = 2 * d_model, 50288 if is_mamba2 else 50280
    d_state, dt_rank = (128, d_inner // 64) if is_mamba2 else (16, d_model // 16)
    writer = gguf.GGUFWriter(path, "mamba2" if is_mamba2 else "mamba")
    write_vocabulary(writer, source, vocab)
    writer.add_context_length(2**20)
    writer.add_embedding_length(d_model)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(layers)
    writer.add_ssm_conv_kernel(4)
    writer.add_ssm_inner_size(d_inner)
    writer.add_ssm_state_size(d_state)
    writer.add_ssm_time_step_rank(dt_rank)
    writer.add_layer_norm_rms_eps(1e-5)
    if is_mamba2:
        writer.add_ssm_group_count(1)
    else:
        writer.add_ssm_dt_b_c_rms(False)
    random = np.random.default_rng(0)

    def add(tensor, *shape, scale=0.02, offset=0.0):
        writer.add_tensor(tensor, (offset + scale * random.standard_normal(shape, np.float32)).astype(np.float32))

    add("token_embd.weight", vocab, d_model)
    add("output_norm.weight", d_model, offset=1.0)
    for i in range(layers):
        block = f"blk.{i}."
        conv_dim = d_inner + 2 * d_state if is_mamba2 else d_inner
        add(block + "attn_norm.weight", d_model, offset=1.0)
        add(block + "ssm_in.weight", d_inner + conv_dim + dt_rank if is_mamba2 else 2 * d_inner, d_model)
        add(block + "ssm_conv1d.weight", conv_dim, 4, scale=0.3)
        add(block + "ssm_conv1d.bias", conv_dim)
        add(block + "ssm_dt.bias", dt_rank if is_mamba2 else d_inner, offset=-4.0)
        if is_mamba2:
            add(block + "ssm_a", dt_rank, 1, offset=-2.0)
            add(block + "ssm_d", dt_rank, 1, offset=1.0)
            add(block + "ssm_norm.weight", 1, d_inner, offset=1.0)
        else:
            add(block + "ssm_x.weight", dt_rank + 2 * d_state, d_inner)
            add(block + "ssm_dt.weight", d_inner, dt_rank, scale=0.1)
            add(block + "ssm_a", d_inner, d_state, offset=-2.0)
            add(block + "ssm_d", d_inner, offset=1.0)
        add(block + "ssm_out.weight", d_model, d_inner)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def program(options, name):
    return options.folder / DEVICES[options.device][0] / "bin" / name


def model_file(options, name, precision):
    """The model's file at one of llama.cpp's precisions, made if it is not there."""
    path = options.folder / "models" / f"{name}-{precision}.gguf"
    if path.exists():
        return path
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(".partial")
    if precision == "F32":
        write_model(partial, name, options.folder / "src" / "vendor" / "llama.cpp")
    else:
        full = model_file(options, name, "F32")
        subprocess.run([program(options, "llama-quantize"), full, partial, precision], check=True, capture_output=True)
    partial.rename(path)
    return path


def run_llama(name, precision, options):
    """Tokens per second: prefill, decode."""
    _, _, prompt, words = DEVICES[options.device]
    done = subprocess.run([program(options, "llama-bench"), "-m", model_file(options, name, precision), "-t", str(options.threads),
                           "-p", str(prompt), "-n", "64", "-r", "1", "-o", "json", *words],
                          check=True, capture_output=True, text=True)
    runs = {("prefill" if run["n_prompt"] else "decode"): run["avg_ts"] for run in json.loads(done.stdout)}
    return runs["prefill"], runs["decode"]


def run_ophis(name, arguments, options):
    """Tokens per second and shares of the floors: prefill, decode, percent of GEMM, percent of read."""
    done = subprocess.run([options.ophis, "bench", "model", "--shape", name, "--threads", str(options.threads), "--repetitions", "1",
                           "--device", options.device, "--prompt-tokens", str(DEVICES[options.device][2]), "--new-tokens", "64",
                           "--json", *arguments], check=True, capture_output=True, text=True)
    report = json.loads(done.stdout)
    prefill, decode = report["prefill"], report["decode"]
    return prefill["tokens_per_second"], decode["tokens_per_second"], prefill["percent_of_gemm"], decode["percent_of_read"]


def medians(runs):
    return [statistics.median(column) for column in zip(*runs, strict=True)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ophis", default="build/openmp/interfaces/cli/ophis")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("build/peers/llama"))
    parser.add_argument("--device", default="cpu", choices=DEVICES)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES)
    parser.add_argument("--precisions", nargs="+", default=list(PRECISIONS), choices=PRECISIONS)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print the medians as one JSON document")
    options = parser.parse_args()
    if not program(options, "llama-bench").exists():
        parser.error(f"{program(options, 'llama-bench')} is not there: first run bench/peers/llama.sh {options.folder} {options.device}")
    results = []
    told = sys.stderr if options.json else sys.stdout
    print("shape, precision: prefill llama.cpp, ophis (of GEMM), ratio; decode llama.cpp, ophis (of read), ratio; tokens/s",
          file=told)
    for name in options.shapes or DEVICES[options.device][1]:
        for precision in options.precisions:
            theirs, arguments = PRECISIONS[precision]
            for each in theirs:
                model_file(options, name, each)
            llama, ophis = {each: [] for each in theirs}, []
            for _ in range(options.rounds):
                for each in theirs:
                    llama[each].append(run_llama(name, each, options))
                ophis.append(run_ophis(name, arguments, options))
            best = [max(column) for column in zip(*map(medians, llama.values()), strict=True)]
            prefill, decode, of_gemm, of_read = medians(ophis)
            results.append({
                "shape": name, "precision": precision, "llama_cpp": {"prefill": best[0], "decode": best[1]},
                "ophis": {"prefill": prefill, "decode": decode, "percent_of_gemm": of_gemm, "percent_of_read": of_read},
            })
            print(f"{name:12} {precision:9} prefill {best[0]:7.1f} {prefill:7.1f} ({of_gemm:3.0f} %) {prefill / best[0]:5.2f}x   "
                  f"decode {best[1]:6.1f} {decode:6.1f} ({of_read:3.0f} %) {decode / best[1]:5.2f}x",
                  file=told, flush=True)
    if options.json:
        print(json.dumps({"device": options.device, "threads": options.threads, "rounds": options.rounds, "results": results}))


if __name__ == "__main__":
    main()
