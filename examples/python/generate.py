#!/usr/bin/env python3
"""Prints the most probable next token after a text, and continues it by a model's forward pass, steps and argmax, through ctypes alone.

Usage: generate.py FOLDER [PROMPT [NEW_TOKENS]]. OPHIS_LIBRARY names libophis.so where the system does not find it.
"""

import ctypes
import os
import sys
from ctypes import POINTER, Structure, byref, c_char_p, c_int32, c_int64, c_size_t, c_uint8, c_uint16, c_uint64, c_void_p


class Device(Structure):
    _fields_ = [("device_type", c_int32), ("device_id", c_int32)]


class DType(Structure):
    _fields_ = [("code", c_uint8), ("bits", c_uint8), ("lanes", c_uint16)]


class Tensor(Structure):
    """ophis_tensor, which is also DLPack's DLTensor."""

    _fields_ = [("data", c_void_p), ("device", Device), ("ndim", c_int32), ("dtype", DType),
                ("shape", POINTER(c_int64)), ("strides", POINTER(c_int64)), ("byte_offset", c_uint64)]


class LoadOptions(Structure):
    _fields_ = [("size", c_size_t), ("device", Device), ("dtype", DType), ("progress", c_void_p), ("user_data", c_void_p)]


class ForwardArgs(Structure):
    _fields_ = [("size", c_size_t), ("input_ids", POINTER(Tensor)), ("inputs_embeds", POINTER(Tensor)),
                ("attention_mask", POINTER(Tensor)), ("labels", POINTER(Tensor)), ("cache", c_void_p),
                ("logits_to_keep", c_int64), ("output_hidden_states", c_int32), ("logits_positions", POINTER(Tensor))]


class ArgmaxArgs(Structure):
    _fields_ = [("size", c_size_t), ("x", POINTER(Tensor)), ("out", POINTER(Tensor))]


CPU = Device(1, 0)
FLOAT32 = DType(2, 32, 1)
DTYPES = {ctypes.c_float: FLOAT32, c_int32: DType(0, 32, 1), c_int64: DType(0, 64, 1)}

library = ctypes.CDLL(os.environ.get("OPHIS_LIBRARY", "libophis.so.0"))
library.ophis_last_error.restype = c_char_p
library.ophis_free.argtypes = [c_void_p]
for kind in ("cache", "context", "model", "output", "tokenizer"):
    getattr(library, f"ophis_{kind}_destroy").argtypes = [c_void_p]


def call(name, *arguments):
    """Calls a function that returns a status."""
    if getattr(library, name)(*arguments) != 0:
        raise RuntimeError(library.ophis_last_error().decode())


def create(name, *arguments):
    """The handle that a function writes through its last parameter."""
    handle = c_void_p()
    call(name, *arguments, byref(handle))
    return handle


def tensor(array, *shape):
    """A view of a ctypes array. It keeps the array and the shape alive."""
    view = Tensor(ctypes.addressof(array), CPU, len(shape), DTYPES[array._type_], (c_int64 * len(shape))(*shape), None, 0)
    view.array = array
    return view


def encode(tokenizer, text):
    data = text.encode()
    ids, count = POINTER(c_int32)(), c_int64()
    call("ophis_tokenizer_encode", tokenizer, data, c_size_t(len(data)), 1, byref(ids), byref(count))
    result = ids[:count.value]
    library.ophis_free(ids)
    return result


def decode(tokenizer, ids):
    text, size = c_void_p(), c_size_t()
    call("ophis_tokenizer_decode", tokenizer, (c_int32 * len(ids))(*ids), c_int64(len(ids)), 1, byref(text), byref(size))
    result = ctypes.string_at(text, size.value).decode()
    library.ophis_free(text)
    return result


def last_logits(model, context, cache, ids):
    """The logits after the last of the ids, as a tensor (1, vocab_size); the cache remembers the ids."""
    input_ids = tensor((c_int32 * len(ids))(*ids), 1, len(ids))
    args = ForwardArgs()
    call("ophis_forward_args_init", byref(args), c_size_t(ctypes.sizeof(args)))
    args.input_ids, args.cache, args.logits_to_keep = ctypes.pointer(input_ids), cache, 1
    output, logits = create("ophis_model_forward", model, context, byref(args)), POINTER(Tensor)()
    call("ophis_output_logits", output, byref(logits))
    vocab_size = logits.contents.shape[2]
    values = (ctypes.c_float * vocab_size).from_buffer_copy(ctypes.string_at(logits.contents.data, 4 * vocab_size))
    library.ophis_output_destroy(output)
    return tensor(values, 1, vocab_size)


def generate(model, context, ids, new_tokens):
    """Greedy: the ids and what follows them."""
    cache = create("ophis_cache_create", model, c_int64(1), None)
    logits = last_logits(model, context, cache, ids)
    following = tensor((c_int64 * 1)(), 1)
    argmax = ArgmaxArgs(ctypes.sizeof(ArgmaxArgs), ctypes.pointer(logits), ctypes.pointer(following))
    best = max(range(len(logits.array)), key=logits.array.__getitem__)
    print(f"most probable next: {best} ({logits.array[best]:.4f})")
    for _ in range(new_tokens):
        call("ophis_argmax", context, byref(argmax))
        ids.append(following.array[0])
        call("ophis_model_step", model, context, byref(following), cache, byref(logits))
    library.ophis_cache_destroy(cache)
    return ids


def main():
    arguments = sys.argv[1:] + ["examples/models/mamba2-tiny", "JULIET:", "60"][len(sys.argv) - 1:]
    folder, prompt, new_tokens = arguments[0].encode(), arguments[1], int(arguments[2])
    options = LoadOptions(ctypes.sizeof(LoadOptions), CPU, FLOAT32, None, None)
    context = create("ophis_context_create", CPU, None)
    model = create("ophis_model_load", folder, byref(options))
    tokenizer = create("ophis_tokenizer_load", folder)
    print(decode(tokenizer, generate(model, context, encode(tokenizer, prompt), new_tokens)))
    library.ophis_tokenizer_destroy(tokenizer)
    library.ophis_model_destroy(model)
    library.ophis_context_destroy(context)


if __name__ == "__main__":
    main()
