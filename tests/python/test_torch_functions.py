"""The functions of ophis.torch against plain torch: results, gradients, in-place updates, compilation."""

import itertools

import pytest

torch = pytest.importorskip("torch")
import ophis.torch as ot  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from ophis.torch import _formulas  # noqa: E402

INFINITY = float("inf")


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def sequential_selective_scan(u, delta, A, B, C, D, z, bias, softplus):
    """One step after the other (Gu and Dao 2023, algorithm 2)."""
    delta = delta if bias is None else delta + bias[:, None]
    delta = F.softplus(delta) if softplus else delta
    h = torch.zeros(u.shape[0], *A.shape, dtype=A.dtype)
    ys = []
    for t in range(u.shape[-1]):
        at = lambda M: M if M.dim() == 2 else M[..., t].repeat_interleave(len(A) // M.shape[1], 1)  # noqa: E731, B023
        step = delta[..., t, None]
        h = torch.exp(step * A) * h + step * at(B) * u[..., t, None]
        ys.append((h * at(C)).sum(-1))
    y = torch.stack(ys, -1)
    y = y if D is None else y + D[:, None] * u
    return (y if z is None else y * F.silu(z)), h


def sequential_ssd(x, dt, A, B, C, D, z, bias, initial, seq_idx, limit):
    dt = F.softplus(dt + bias).clamp(*limit)
    heads = x.shape[2] // B.shape[2]
    S = torch.zeros(*x.shape[::2][:1], *x.shape[2:], B.shape[-1], dtype=x.dtype) if initial is None else initial
    ys = []
    for t in range(x.shape[1]):
        if seq_idx is not None and t > 0:
            S = S * (seq_idx[:, t] == seq_idx[:, t - 1])[:, None, None, None]
        B_t, C_t = (M[:, t].repeat_interleave(heads, 1) for M in (B, C))
        S = (torch.exp(dt[:, t] * A)[..., None, None] * S
             + dt[:, t, :, None, None] * x[:, t, ..., None] * B_t[:, :, None])
        ys.append((S * C_t[:, :, None]).sum(-1))
    y = torch.stack(ys, 1)
    y = y + x * (D if D.dim() == 2 else D[:, None])
    return (y if z is None else y * F.silu(z)), S


def scan_inputs(batch=2, dim=6, seqlen=9, dstate=4, groups=2, constant=False, dtype=torch.float32):
    shape = (dim, dstate) if constant else (batch, groups, dstate, seqlen)
    tensors = [torch.randn(batch, dim, seqlen), torch.randn(batch, dim, seqlen), -torch.rand(dim, dstate) - 0.1,
               torch.randn(shape), torch.randn(shape), torch.randn(dim), torch.randn(batch, dim, seqlen), torch.randn(dim)]
    return [tensor.to(dtype).requires_grad_() for tensor in tensors]


def ssd_inputs(batch=2, seqlen=11, nheads=4, headdim=3, ngroups=2, dstate=5, dtype=torch.float32):
    tensors = [torch.randn(batch, seqlen, nheads, headdim), torch.randn(batch, seqlen, nheads), -torch.rand(nheads) - 0.1,
               torch.randn(batch, seqlen, ngroups, dstate), torch.randn(batch, seqlen, ngroups, dstate),
               torch.randn(nheads, headdim), torch.randn(batch, seqlen, nheads, headdim), torch.randn(nheads),
               torch.randn(batch, nheads, headdim, dstate)]
    return [tensor.to(dtype).requires_grad_() for tensor in tensors]


def assert_same_gradients(got, want, inputs):
    """Of a weighted sum of the outputs."""
    got, want = ([each] if isinstance(each, torch.Tensor) else list(each) for each in (got, want))
    weights = [torch.randn_like(each) for each in want]
    grads = [torch.autograd.grad(sum((o * w).sum() for o, w in zip(outputs, weights)), inputs, allow_unused=True)
             for outputs in (got, want)]
    for one, other in zip(*grads):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("has_options", [False, True])
def test_selective_scan(constant, has_options):
    inputs = scan_inputs(constant=constant)
    if not has_options:
        inputs[5:] = [None, None, None]
    want, state = sequential_selective_scan(*inputs, softplus=has_options)
    out, last = ot.selective_scan_fn(*inputs, delta_softplus=has_options, return_last_state=True)
    torch.testing.assert_close(out, want, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(last, state, rtol=1e-4, atol=1e-5, check_dtype=False)
    assert_same_gradients(out, want, [each for each in inputs if each is not None])


def test_formulas_against_finite_differences():
    """The backward passes recompute by these."""
    inputs = scan_inputs(batch=1, dim=2, seqlen=4, dstate=2, groups=1, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *a: _formulas.selective_scan(*a, True), inputs)
    x, dt, A, B, C, D, z, bias, initial = ssd_inputs(1, 5, 2, 2, 1, 2, torch.float64)
    idx = torch.tensor([[0, 0, 1, 1, 1]])
    for seq_idx in (None, idx):
        assert torch.autograd.gradcheck(
            lambda x, dt, A, B, C, D, z, bias, initial: _formulas.ssd_scan(  # noqa: B023
                x, dt, A, B, C, 2, D, z, bias, initial, seq_idx, True, 0.0, INFINITY), (x, dt, A, B, C, D, z, bias, initial))
    x, w, b, s = (torch.randn(shape, dtype=torch.float64).requires_grad_() for shape in ((1, 2, 5), (2, 3), (2,), (1, 2, 2)))
    assert torch.autograd.gradcheck(lambda x, w, b, s: _formulas.causal_conv1d(x, w, b, None, s, True, "silu"), (x, w, b, s))
    assert torch.autograd.gradcheck(lambda x, w, b: _formulas.causal_conv1d(x, w, b, idx, None, False, "silu")[0], (x, w, b))
    x, w, b, r, z = (torch.randn(shape, dtype=torch.float64).requires_grad_() for shape in ((2, 6), (6,), (6,), (2, 6), (2, 6)))
    for is_rms, before in itertools.product((True, False), (True, False)):
        assert torch.autograd.gradcheck(
            lambda x, w, b, r, z: _formulas.norm(x, w, b, r, z if is_rms else None, 1e-5, is_rms, before,  # noqa: B023
                                                 3 if is_rms else 0, None), (x, w, b, r, z))  # noqa: B023


def test_selective_scan_with_complex_A():
    batch, dim, seqlen, dstate = 1, 3, 5, 2
    u, delta = torch.randn(batch, dim, seqlen), torch.rand(batch, dim, seqlen)
    A = torch.complex(-torch.rand(dim, dstate), torch.randn(dim, dstate))
    B, C = (torch.randn(batch, dstate, 2 * seqlen) for _ in range(2))
    h, ys = torch.zeros(batch, dim, dstate, dtype=torch.complex64), []
    Bc, Cc = (torch.view_as_complex(M.unflatten(-1, (-1, 2)).contiguous()) for M in (B, C))
    for t in range(seqlen):
        step = delta[..., t, None]
        h = torch.exp(step * A) * h + step * Bc[:, None, :, t] * u[..., t, None]
        ys.append(2 * (h * Cc[:, None, :, t]).sum(-1).real)
    torch.testing.assert_close(ot.selective_scan_fn(u, delta, A, B, C), torch.stack(ys, -1))


@pytest.mark.parametrize("seq_idx", [None, torch.tensor([[0] * 4 + [1] * 7, [0] * 2 + [1] * 3 + [2] * 6], dtype=torch.int32)])
@pytest.mark.parametrize("limit", [(0.0, INFINITY), (0.2, 0.9)])
def test_chunk_scan(seq_idx, limit):
    inputs = x, dt, A, B, C, D, z, bias, initial = ssd_inputs()
    want = sequential_ssd(x, dt, A, B, C, D, z, bias, initial, seq_idx, limit)
    got = ot.mamba_chunk_scan_combined(x, dt, A, B, C, 4, D, z, bias, initial, seq_idx, dt_softplus=True, dt_limit=limit,
                                       return_final_states=True)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
    assert_same_gradients(got, want, inputs)


def test_varlen_states():
    x, dt, A, B, C, D, z, bias, initial = (each.detach() for each in ssd_inputs(batch=1))
    ends, idx = torch.tensor([0, 4, 11]), torch.tensor([[0] * 4 + [1] * 7], dtype=torch.int32)
    out, final, states = ot.mamba_chunk_scan_combined(x, dt, A, B, C, 4, D, None, bias, seq_idx=idx, cu_seqlens=ends,
                                                      dt_softplus=True, return_final_states=True, return_varlen_states=True)
    for i, (begin, end) in enumerate([(0, 4), (4, 11)]):
        piece = [each[:, begin:end] for each in (x, dt, B, C)]
        want, state = sequential_ssd(piece[0], piece[1], A, piece[2], piece[3], D, None, bias, None, None, (0.0, INFINITY))
        torch.testing.assert_close(states[i:i + 1], state, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(out[:, begin:end], want, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(final, states[1:])
    # Behind the last sequence there may be padding, and a sequence may be empty.
    ends = torch.tensor([0, 4, 4, 9])
    _, states = ot.mamba_chunk_scan_combined(x, dt, A, B, C, 4, D, None, bias, cu_seqlens=ends, dt_softplus=True,
                                             return_varlen_states=True)
    _, want = ot.mamba_chunk_scan_combined(x[:, 4:9], dt[:, 4:9], A, B[:, 4:9], C[:, 4:9], 4, D, None, bias, dt_softplus=True,
                                           return_final_states=True)
    torch.testing.assert_close(states[2:], want)
    assert not states[1].any()


@pytest.mark.parametrize("channel_last", [False, True])
@pytest.mark.parametrize("activation", [None, "silu", "gelu"])
@pytest.mark.parametrize("with_seq_idx", [False, True])
def test_causal_conv1d(channel_last, activation, with_seq_idx):
    x = torch.randn(2, 7, 5).transpose(1, 2) if channel_last else torch.randn(2, 5, 7)
    x, weight, bias, initial = (each.requires_grad_() for each in (x, torch.randn(5, 4), torch.randn(5), torch.randn(2, 5, 3)))
    seq_idx = torch.tensor([[0, 0, 0, 1, 1, 1, 1], [0, 1, 1, 1, 2, 2, -1]], dtype=torch.int32) if with_seq_idx else None
    initial = None if with_seq_idx else initial
    want = _formulas.causal_conv1d(x, weight, bias, seq_idx, initial, True, activation or "identity")
    got = ot.causal_conv1d_fn(x, weight, bias, seq_idx, initial, return_final_states=True, activation=activation)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    assert got[0].stride() == x.stride()
    assert_same_gradients(got, want, [each for each in (x, weight, bias, initial) if each is not None])


def test_gradients_without_final_states():
    x, weight = torch.randn(2, 5, 7, requires_grad=True), torch.randn(5, 4, requires_grad=True)
    want = _formulas.causal_conv1d(x, weight, None, None, None, False, "silu")[0]
    assert_same_gradients(ot.causal_conv1d_fn(x, weight, activation="silu"), want, [x, weight])
    inputs = x, dt, A, B, C, *_ = ssd_inputs()
    want = _formulas.ssd_scan(x, dt, A, B, C, 4, None, None, None, None, None, True, 0.0, INFINITY)[0]
    assert_same_gradients(ot.mamba_chunk_scan_combined(x, dt, A, B, C, 4, dt_softplus=True), want, inputs)


def test_outputs_may_be_changed_in_place():
    x = torch.randn(2, 7, 5).transpose(1, 2).requires_grad_()
    out, states = ot.causal_conv1d_fn(x, torch.randn(5, 4), return_final_states=True)
    out += 1
    states *= 2
    (out.sum() + states.sum()).backward()
    assert x.grad is not None


def test_gradients_of_halves_are_summed_in_float32():
    x, weight = torch.randn(1, 4, 33), torch.randn(4, 4)
    half = x.half().requires_grad_()
    ot.causal_conv1d_fn(half, weight).square().sum().backward()
    exact = half.detach().float().requires_grad_()
    _formulas.causal_conv1d(exact, weight, None, None, None, False, "identity")[0].square().sum().backward()
    assert (half.grad.float() - exact.grad).abs().max() < 4e-3 * exact.grad.abs().max()


def test_causal_conv1d_writes_final_states():
    x, weight, states = torch.randn(2, 5, 7), torch.randn(5, 4), torch.empty(2, 5, 3)
    out, written = ot.causal_conv1d_fn(x, weight, return_final_states=True, final_states_out=states)
    assert written is states and torch.equal(states, x[..., -3:])
    with pytest.raises(NotImplementedError, match="activation must be None, silu"):
        ot.causal_conv1d_fn(x, weight, activation="softmax")


@pytest.mark.parametrize("seqlen", [None, 1, 4])
@pytest.mark.parametrize("ring", [False, True])
def test_causal_conv1d_update(seqlen, ring):
    batch, dim, width, state_len = 3, 5, 4, 6
    weight, bias, state = torch.randn(dim, width), torch.randn(dim), torch.randn(batch, dim, state_len)
    x = torch.randn(batch, dim) if seqlen is None else torch.randn(batch, dim, seqlen)
    tokens = x[..., None] if seqlen is None else x
    starts = torch.tensor([0, 3, 8], dtype=torch.int32) if ring else None
    # What the window holds before: in a ring the state starts at its oldest element.
    before = state if not ring else torch.stack([row.roll(-int(start) % state_len, -1) for row, start in zip(state, starts)])
    line = torch.cat([before, tokens], -1)
    want = F.silu(F.conv1d(line, weight[:, None], bias, groups=dim)[..., -tokens.shape[-1]:])
    out = ot.causal_conv1d_update(x, state, weight, bias, "silu", starts)
    torch.testing.assert_close(out, want[..., 0] if seqlen is None else want, rtol=1e-4, atol=1e-5)
    after = line[..., -state_len:]
    if ring:
        after = torch.stack([row.roll(int(start) + tokens.shape[-1], -1) for row, start in zip(after, starts)])
    torch.testing.assert_close(state, after)


def test_updates_of_chosen_rows():
    weight, states = torch.randn(5, 4), torch.randn(10, 5, 4)
    x, rows, old = torch.randn(3, 5), torch.tensor([7, -1, 2], dtype=torch.int32), states.clone()
    out = ot.causal_conv1d_update(x, states, weight, conv_state_indices=rows)
    chosen = old[[7, 2]]
    torch.testing.assert_close(out[[0, 2]], ot.causal_conv1d_update(x[[0, 2]], chosen, weight))
    assert torch.equal(states[[7, 2]], chosen) and (out[1] == 0).all()
    untouched = [0, 1, 3, 4, 5, 6, 8, 9]
    assert torch.equal(states[untouched], old[untouched])

    state, A = torch.randn(6, 4, 3), -torch.rand(4, 3)
    x, dt, B, C = torch.randn(2, 4), torch.rand(2, 4), torch.randn(2, 3), torch.randn(2, 3)
    chosen = state[[5, 1]]
    want = ot.selective_state_update(chosen, x, dt, A, B, C)
    got = ot.selective_state_update(state, x, dt, A, B, C, state_batch_indices=torch.tensor([5, 1], dtype=torch.int32))
    assert torch.equal(got, want) and torch.equal(state[[5, 1]], chosen)


@pytest.mark.parametrize("heads", [None, "own", "tied"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("state_dtype", [torch.float32, torch.bfloat16])
def test_selective_state_update(heads, dtype, state_dtype):
    batch, nheads, dim, dstate, groups = 2, 4, 6, 5, 2
    H = () if heads is None else (nheads,)
    state = torch.randn(batch, *H, dim, dstate).to(state_dtype)
    x, z = (torch.randn(batch, *H, dim).to(dtype) for _ in range(2))
    if heads == "tied":
        A = -torch.rand(nheads)[:, None, None].expand(nheads, dim, dstate)
        dt = torch.randn(batch, nheads).to(dtype)[..., None].expand(batch, nheads, dim)
        bias, D = torch.randn(nheads)[:, None].expand(nheads, dim), torch.randn(nheads)[:, None].expand(nheads, dim)
    else:
        A, dt = -torch.rand(*H, dim, dstate), torch.randn(batch, *H, dim).to(dtype)
        bias, D = torch.randn(*H, dim), torch.randn(*H, dim)
    B, C = (torch.randn(batch, *((groups,) if H else ()), dstate).to(dtype) for _ in range(2))
    step = F.softplus(dt.float() + bias)[..., None]
    B_, C_ = ((M.repeat_interleave(nheads // groups, 1) if H else M).float()[..., None, :] for M in (B, C))
    want = torch.exp(step * A) * state.float() + step * B_ * x.float()[..., None]
    out = ot.selective_state_update(state, x, dt, A, B, C, D, z, bias, True)
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == state_dtype == torch.float32 else {"rtol": 3e-2, "atol": 3e-2}
    torch.testing.assert_close(state.float(), want, **tolerance)
    torch.testing.assert_close(out.float(), ((want * C_).sum(-1) + D * x.float()) * F.silu(z.float()), **tolerance)
    assert out.dtype == dtype


@pytest.mark.parametrize("is_rms_norm", [False, True])
@pytest.mark.parametrize("options", [{}, {"residual": True}, {"residual": True, "x1": True, "weight1": True},
                                     {"rowscale": True}, {"residual_in_fp32": True}])
def test_layer_norm(is_rms_norm, options):
    x, residual, x1 = (torch.randn(3, 4, 8).requires_grad_() for _ in range(3))
    weight, bias, weight1 = (torch.randn(8).requires_grad_() for _ in range(3))
    scale = torch.rand(3, 4)
    total = x * scale[..., None] if "rowscale" in options else x
    total = total + x1 if "x1" in options else total
    total = total + residual if "residual" in options else total
    norm = lambda w, b: (F.rms_norm(total, (8,), w, 1e-6) + (0 if b is None else b) if is_rms_norm  # noqa: E731
                         else F.layer_norm(total, (8,), w, b, 1e-6))
    want = [norm(weight, bias)] + ([norm(weight1, None)] if "weight1" in options else []) + [total]
    given = {"residual": residual, "x1": x1, "weight1": weight1, "rowscale": scale, "residual_in_fp32": True}
    got = ot.layer_norm_fn(x, weight, bias, **{name: given[name] for name in options}, prenorm=True, is_rms_norm=is_rms_norm)
    torch.testing.assert_close(list(got), want, rtol=1e-4, atol=1e-5)
    assert_same_gradients(got, want, [x, weight, bias, residual, x1, weight1])


def test_dropout():
    x, weight = torch.ones(400, 8), torch.ones(8)
    y, total, mask, none = ot.rms_norm_fn(x, weight, None, dropout_p=0.25, prenorm=True, return_dropout_mask=True)
    assert none is None and torch.equal(total, mask / 0.75) and 0.6 < mask.float().mean() < 0.9
    torch.testing.assert_close(y, F.rms_norm(total, (8,), weight, 1e-6))


def test_residual_dtypes():
    x, weight = torch.randn(3, 8).bfloat16(), torch.randn(8).bfloat16()
    y, total = ot.rms_norm_fn(x, weight, None, prenorm=True, residual_in_fp32=True)
    assert y.dtype == torch.bfloat16 and total.dtype == torch.float32
    y, total = ot.rms_norm_fn(x, weight, None, residual=torch.randn(3, 8).bfloat16(), prenorm=True)
    assert total.dtype == torch.bfloat16


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("group_size", [None, 4])
@pytest.mark.parametrize("is_rms_norm", [False, True])
def test_gated_norms(before, group_size, is_rms_norm):
    x, z, weight, bias = (torch.randn(shape).requires_grad_() for shape in ((3, 4, 8), (3, 4, 8), (8,), (8,)))
    rows = x if before else x * F.silu(z)
    groups = rows.unflatten(-1, (-1, group_size or 8))
    norm = F.rms_norm(groups, groups.shape[-1:], eps=1e-6) if is_rms_norm else F.layer_norm(groups, groups.shape[-1:], eps=1e-6)
    want = norm.flatten(-2) * weight + bias
    want = want * F.silu(z) if before else want
    got = ot.layernorm_fn(x, weight, bias, z, group_size=group_size, norm_before_gate=before, is_rms_norm=is_rms_norm)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    assert_same_gradients(got, want, [x, z, weight, bias])


def test_errors_are_torchs_own():
    with pytest.raises(RuntimeError, match="selective_scan"):
        ot.selective_scan_fn(*[each.detach() for each in scan_inputs()][:3], torch.randn(2, 2, 4, 5), torch.randn(2, 2, 4, 9))
    with pytest.raises(RuntimeError, match="float64"):
        ot.causal_conv1d_fn(torch.randn(1, 2, 3, dtype=torch.float64), torch.randn(2, 2))
    x, dt, A, B, C, *_ = (each.detach() for each in ssd_inputs())
    with pytest.raises(AssertionError):
        ot.mamba_chunk_scan_combined(x, dt[..., :3], A, B, C, 4)


@pytest.mark.parametrize("name, inputs", [
    ("selective_scan", lambda: (*scan_inputs(), True)),
    ("causal_conv1d", lambda: (torch.randn(2, 5, 7, requires_grad=True), torch.randn(5, 4), None, None, None, True, "silu")),
    ("ssd_scan", lambda: (*ssd_inputs()[:5], 4, None, None, None, None, None, True, 0.0, INFINITY)),
    ("recurrence", lambda: (torch.randn(5, 2, 3, requires_grad=True), torch.randn(5, 2, 3, requires_grad=True))),
    ("norm", lambda: (torch.randn(3, 8, requires_grad=True), torch.ones(8), None, None, None, 1e-5, True, True, 0, None)),
    ("causal_conv1d_update", lambda: (torch.randn(2, 5), torch.randn(2, 5, 3), torch.randn(5, 4), None, "silu")),
    ("selective_state_update", lambda: (torch.randn(2, 1, 4, 3), torch.randn(2, 1, 4), torch.rand(2, 1, 4), -torch.rand(1, 4, 3),
                                        torch.randn(2, 1, 3), torch.randn(2, 1, 3), None, None, None, True)),
])
def test_ops_are_registered_rightly(name, inputs):
    """Schemas, fake kernels, autograd and tracing with symbolic shapes."""
    # The last check, of compiled gradients with symbolic shapes, takes a minute for the SSD scan's formula.
    checks = ["test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic"]
    torch.library.opcheck(getattr(torch.ops.ophis, name).default, inputs(),
                          test_utils=checks[:3] if name == "ssd_scan" else checks)


def test_export():
    class Model(torch.nn.Module):
        def forward(self, x, w):
            return ot.causal_conv1d_fn(x, w, activation="silu")

    x, w = torch.randn(2, 5, 7), torch.randn(5, 4)
    program = torch.export.export(Model(), (x, w), dynamic_shapes={"x": {2: torch.export.Dim("seqlen", min=4)}, "w": None})
    x = torch.randn(2, 5, 19)
    torch.testing.assert_close(program.module()(x, w), ot.causal_conv1d_fn(x, w, activation="silu"))
