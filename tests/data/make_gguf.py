"""Writes GGUF files with the Python package gguf, which is llama.cpp's own.

python3 make_gguf.py types [FILE]                  tests/data/ggml_types.gguf: a tensor of each quantized type, and what it stands for
python3 make_gguf.py model FOLDER FILE [--type T]  a Mamba or Mamba-2 folder in Hugging Face's layout, as llama.cpp's converter writes it
"""

import argparse
import json
import struct
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

UNPACKED = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]
# Where a block has its float16 numbers: random bytes there would be huge, or not numbers.
HALVES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}


def random_blocks(random, name, rows, columns):
    """Bytes (rows, ...) of blocks whose other fields take every value."""
    elements, size = gguf.GGML_QUANT_SIZES[Type[name]]
    blocks = random.integers(0, 256, (rows * columns // elements, size), dtype=np.uint8)
    for at in HALVES[name]:
        halves = random.uniform(-0.1, 0.1, len(blocks)).astype(np.float16)
        blocks[:, at:at + 2] = halves.view(np.uint8).reshape(-1, 2)
    return blocks.reshape(rows, -1)


def write_types(path):
    random = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "mamba")
    writer.add_string("test.text", "Ωphis")
    writer.add_float32("test.float32", 1e-5)
    writer.add_bool("test.bool", True)
    writer.add_int8("test.int8", -7)
    writer.add_uint64("test.uint64", 2**63 + 1)
    writer.add_array("test.texts", ["a", "", "Ġ b"])
    writer.add_array("test.integers", [1, -2, 3])
    for name in UNPACKED:
        columns = 256
        blocks = random_blocks(random, name, 2, columns)
        writer.add_tensor(name, blocks, raw_dtype=Type[name])
        writer.add_tensor(name + ".reference", gguf.quants.dequantize(blocks, Type[name]))
    values = random.normal(size=(3, 5)).astype(np.float32)
    for name in ("F32", "F16", "BF16"):
        data = gguf.quants.quantize(values, Type[name])
        writer.add_tensor(name, data, raw_dtype=Type[name])
        writer.add_tensor(name + ".reference", gguf.quants.dequantize(data, Type[name]))
    finish(writer)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read_safetensors(path):
    """The tensors of a file, in float32, by name."""
    content = path.read_bytes()
    header_bytes = struct.unpack("<Q", content[:8])[0]
    tensors = {}
    for name, info in json.loads(content[8:8 + header_bytes]).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + header_bytes + offset for offset in info["data_offsets"])
        data = np.frombuffer(content[begin:end], {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}[info["dtype"]])
        if info["dtype"] == "BF16":
            data = (data.astype(np.uint32) << 16).view(np.float32)
        tensors[name] = data.astype(np.float32).reshape(info["shape"])
    return tensors


NAMES = {"backbone.embeddings": "token_embd", "backbone.norm_f": "output_norm", "lm_head": "output", "norm": "attn_norm",
         "mixer.in_proj": "ssm_in", "mixer.conv1d": "ssm_conv1d", "mixer.x_proj": "ssm_x", "mixer.dt_proj": "ssm_dt",
         "mixer.norm": "ssm_norm", "mixer.out_proj": "ssm_out"}


def convert_tensor(name, values, config):
    """Name and values as conversion/mamba.py of llama.cpp has them."""
    block = ""
    if name.startswith("backbone.layers."):
        _, _, number, name = name.split(".", 3)
        block = f"blk.{number}."
    if name == "mixer.A_log":
        name, values = "ssm_a", -np.exp(values)
    elif name == "mixer.D":
        name = "ssm_d"
    elif name == "mixer.dt_bias":
        name = "ssm_dt.bias"
    else:
        layer, part = name.rsplit(".", 1)
        name = f"{NAMES[layer]}.{part}"
    if name == "ssm_conv1d.weight":
        values = values.squeeze()
    if config["model_type"] == "mamba2":
        if name in ("ssm_a", "ssm_d"):
            values = values.reshape(-1, 1)
        elif name == "ssm_norm.weight":
            values = values.reshape(config["n_groups"], -1)
    return block + name, values


def add_config(writer, config):
    d_model = config["hidden_size"]
    d_inner = config.get("intermediate_size", config["expand"] * d_model)
    writer.add_context_length(2**20)
    writer.add_embedding_length(d_model)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_ssm_conv_kernel(config["conv_kernel"])
    writer.add_ssm_inner_size(d_inner)
    writer.add_ssm_state_size(config["state_size"])
    writer.add_layer_norm_rms_eps(config["layer_norm_epsilon"])
    if config["model_type"] == "mamba2":
        writer.add_ssm_time_step_rank(config["num_heads"])
        writer.add_ssm_group_count(config["n_groups"])
    else:
        writer.add_ssm_time_step_rank(config["time_step_rank"])
        writer.add_ssm_dt_b_c_rms(False)


def add_tokenizer(writer, tokenizer, config):
    """That of GPT-NeoX and of the sample models, which llama.cpp knows as mpt's."""
    vocab = tokenizer["model"]["vocab"]
    spelling = {id: token for token, id in vocab.items()} | {t["id"]: t["content"] for t in tokenizer["added_tokens"]}
    added = {t["id"]: gguf.TokenType.CONTROL if t["special"] else gguf.TokenType.USER_DEFINED
             for t in tokenizer["added_tokens"]}
    size = config["vocab_size"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("mpt")
    writer.add_token_list([spelling.get(id, f"[PAD{id}]") for id in range(size)])
    writer.add_token_types([added.get(id, gguf.TokenType.NORMAL if id in spelling else gguf.TokenType.UNUSED)
                            for id in range(size)])
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])


def write_model(folder, path, type_name="F32", dequantize=False):
    """`dequantize`: with the values that the type gives the matrices, in float32."""
    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(path, config["model_type"])
    add_config(writer, config)
    add_tokenizer(writer, json.loads((folder / "tokenizer.json").read_text()), config)
    for name, values in read_safetensors(folder / "model.safetensors").items():
        name, values = convert_tensor(name, values, config)
        # What llama.cpp keeps in float32: what has one axis, norms, the convolution and Mamba-2's A and D.
        is_matrix = values.ndim == 2 and values.shape[1] > 1 and "norm" not in name and "conv1d" not in name and "ssm_a" not in name
        fits = values.shape[-1] % gguf.GGML_QUANT_SIZES[Type[type_name]][0] == 0
        kind = Type[type_name] if is_matrix and fits else Type.F16 if is_matrix else Type.F32
        data = gguf.quants.quantize(values, kind)
        if dequantize:
            kind, data = Type.F32, gguf.quants.dequantize(data, kind)
        writer.add_tensor(name, data, raw_dtype=kind)
    finish(writer)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    types = commands.add_parser("types")
    types.add_argument("file", type=Path, nargs="?", default=Path(__file__).parent / "ggml_types.gguf")
    model = commands.add_parser("model")
    model.add_argument("folder", type=Path)
    model.add_argument("file", type=Path)
    model.add_argument("--type", default="F32")
    arguments = parser.parse_args()
    if arguments.command == "types":
        write_types(arguments.file)
    else:
        write_model(arguments.folder, arguments.file, arguments.type)


if __name__ == "__main__":
    main()
