"""The torch.library namespace `ophis`, and how its ops call the C++ ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.dlpack import to_dlpack

from ophis.errors import InvalidArgumentError

_library = torch.library.Library("ophis", "DEF")
FLOATS = (torch.float32, torch.bfloat16, torch.float16)


def define(schema: str, kernel: Callable, fake: Callable, backward: Callable | None = None,
           setup_context: Callable | None = None) -> Any:
    """Defines an op on CPU and CUDA tensors, with what torch.compile, export and autograd want to know of it."""
    name = schema.partition("(")[0]
    _library.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    for key in ("CPU", "CUDA"):
        _library.impl(name, kernel, key)
    torch.library.register_fake(f"ophis::{name}", fake, lib=_library)
    if backward is not None:
        torch.library.register_autograd(f"ophis::{name}", backward, setup_context=setup_context, lib=_library)
    return getattr(torch.ops.ophis, name).default


def call(op: Callable, out: torch.Tensor, **arguments: Any) -> None:
    """Runs an op of ophis._core.ops on tensors, on torch's current stream of their device."""
    stream = torch.cuda.current_stream(out.device).cuda_stream if out.is_cuda else None
    for name, value in arguments.items():
        if isinstance(value, torch.Tensor):
            arguments[name] = to_dlpack(value.detach())
    try:
        op(stream, out=to_dlpack(out), **arguments)
    except InvalidArgumentError as error:
        raise RuntimeError(str(error)) from error  # as torch's own ops do


def common_dtype(*tensors: torch.Tensor | None) -> torch.dtype:
    """The dtype that an op's activations are brought to: theirs if they agree, else float32."""
    dtypes = {tensor.dtype for tensor in tensors if tensor is not None}
    if len(dtypes) == 1 and (dtype := dtypes.pop()) in FLOATS:
        return dtype
    if any(not each.is_floating_point or each == torch.float64 for each in dtypes):
        raise RuntimeError(f"ophis computes on float32, bfloat16 and float16, not on {', '.join(map(str, dtypes))}")
    return torch.float32


def cast(tensor: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor | None:
    return tensor if tensor is None or tensor.dtype == dtype else tensor.to(dtype)


def empty_channels(x: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
    """Of the shape of x (batch, dim, seqlen), and dense in the order of its strides: channels last, or along time."""
    batch, dim, seqlen = x.shape
    strides = (seqlen * dim, 1, dim) if x.stride(1) == 1 else (dim * seqlen, seqlen, 1)
    return x.new_empty_strided((batch, dim, seqlen), strides, dtype=dtype or x.dtype)  # no view, which could not be changed


def gradients_by(formula: Callable, num_outputs: int) -> tuple[Callable, Callable]:
    """backward and setup_context of an op that recompute its outputs by `formula`, plain torch with the op's arguments."""

    def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
        ctx.set_materialize_grads(False)
        ctx.is_tensor = [isinstance(each, torch.Tensor) for each in inputs]
        ctx.others = [None if is_tensor else each for each, is_tensor in zip(inputs, ctx.is_tensor)]
        ctx.save_for_backward(*(each for each in inputs if isinstance(each, torch.Tensor)))

    def backward(ctx: Any, *grads: torch.Tensor | None) -> tuple:
        saved = iter(ctx.saved_tensors)
        inputs = [next(saved).detach() if is_tensor else other for is_tensor, other in zip(ctx.is_tensor, ctx.others)]
        wanted = [i for i, needed in enumerate(ctx.needs_input_grad) if needed]
        for i in wanted:
            inputs[i].requires_grad_()
        with torch.enable_grad():
            outputs = formula(*inputs)
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        pairs = [(output, grad.to(output.dtype)) for output, grad in zip(outputs[:num_outputs], grads)
                 if grad is not None and output.requires_grad]
        result: list[torch.Tensor | None] = [None] * len(inputs)
        if pairs:
            found = torch.autograd.grad([output for output, _ in pairs], [inputs[i] for i in wanted],
                                        [grad for _, grad in pairs], allow_unused=True)
            for i, grad in zip(wanted, found):
                result[i] = grad
        return tuple(result)

    return backward, setup_context
