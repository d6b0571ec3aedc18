"""The ops of Ophis on PyTorch's tensors, through the C interface (interfaces/c/include/ophis.h)."""

import ctypes
from ctypes import POINTER, c_double, c_int32, c_int64, c_size_t, c_uint8, c_uint16, c_uint64, c_void_p
from pathlib import Path

import torch


class Device(ctypes.Structure):
    _fields_ = [("device_type", c_int32), ("device_id", c_int32)]


class DType(ctypes.Structure):
    _fields_ = [("code", c_uint8), ("bits", c_uint8), ("lanes", c_uint16)]


class Tensor(ctypes.Structure):
    _fields_ = [
        ("data", c_void_p),
        ("device", Device),
        ("ndim", c_int32),
        ("dtype", DType),
        ("shape", POINTER(c_int64)),
        ("strides", POINTER(c_int64)),
        ("byte_offset", c_uint64),
    ]


DTYPES = {torch.float32: (2, 32), torch.float16: (2, 16), torch.bfloat16: (4, 16), torch.int32: (0, 32)}
CUDA = 2


def view(tensor: torch.Tensor) -> Tensor:
    code, bits = DTYPES[tensor.dtype]
    axes = c_int64 * tensor.ndim
    return Tensor(
        tensor.data_ptr(),
        Device(CUDA, tensor.device.index),
        tensor.ndim,
        DType(code, bits, 1),
        axes(*tensor.shape),
        axes(*tensor.stride()),
        0,
    )


def _args(name: str, *fields) -> type:
    """A struct of arguments: tensors by their names, others as (name, ctype)."""
    members = [("size", c_size_t)]
    for field in fields:
        members.append((field, POINTER(Tensor)) if isinstance(field, str) else field)
    return type(name, (ctypes.Structure,), {"_fields_": members})


ARGS = {
    "causal_conv1d": _args(
        "CausalConv1dArgs", "x", "weight", "bias", "initial_states", "seq_idx", "cu_seqlens",
        ("activation", c_int32), "out", "final_states",
    ),
    "selective_scan": _args(
        "SelectiveScanArgs", "u", "delta", "A", "B", "C", "D", "z", "delta_bias", ("delta_softplus", c_int32),
        "initial_states", "cu_seqlens", "out", "final_states",
    ),
    "ssd_scan": _args(
        "SsdScanArgs", "x", "dt", "A", "B", "C", "D", "z", "dt_bias", ("dt_softplus", c_int32),
        ("dt_min", c_double), ("dt_max", c_double), ("chunk_size", c_int64), "initial_states", "seq_idx",
        "cu_seqlens", "out", "final_states",
    ),
    "ssd_state_update": _args(
        "SsdStateUpdateArgs", "state", "x", "dt", "A", "B", "C", "D", "z", "dt_bias", ("dt_softplus", c_int32),
        ("dt_min", c_double), ("dt_max", c_double), "out",
    ),
    "cumsum": _args("CumsumArgs", "x", ("axis", c_int32), ("reverse", c_int32), "out"),
}  # fmt: skip
SILU = 1


class Library:
    """libophis.so, working on one stream of PyTorch's."""

    def __init__(self, path: Path, stream: torch.cuda.Stream):
        self._library = ctypes.CDLL(str(path))
        self._library.ophis_last_error.restype = ctypes.c_char_p
        self._library.ophis_context_create.argtypes = [Device, c_void_p, POINTER(c_void_p)]
        self._context = c_void_p()
        self._check(
            self._library.ophis_context_create(
                Device(CUDA, stream.device_index), stream.cuda_stream, ctypes.byref(self._context)
            )
        )

    def _check(self, status: int) -> None:
        if status != 0:
            raise RuntimeError(self._library.ophis_last_error().decode())

    def prepare(self, op: str, **given):
        """The op with its arguments, as a function of none: its call costs the host little."""
        args = ARGS[op]()
        self._check(
            getattr(self._library, f"ophis_{op}_args_init")(ctypes.byref(args), c_size_t(ctypes.sizeof(args)))
        )
        keep = [given]
        for name, value in given.items():
            if isinstance(value, torch.Tensor):
                keep.append(view(value))
                value = ctypes.pointer(keep[-1])
            setattr(args, name, value)
        function = getattr(self._library, f"ophis_{op}")

        def run():
            self._check(function(self._context, ctypes.byref(args)))

        run.keep = keep  # the tensors live as long as the function
        return run
