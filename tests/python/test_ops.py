"""The ops on numpy arrays and other producers of DLPack, against their definitions."""

import pathlib
import threading

import numpy as np
import ophis
import pytest
from ophis import ops


def softplus(x):
    return np.log1p(np.exp(x))


def silu(x):
    return x / (1 + np.exp(-x))


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


class OnlyDLPack:
    """An array of a library that nothing is known of."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **keywords):
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_selective_scan(rng):
    batch, seqlen, dim, dstate = 2, 9, 6, 4
    u, delta, z = (normal(rng, batch, seqlen, dim) for _ in range(3))
    A, D, bias = -np.exp(normal(rng, dim, dstate)), normal(rng, dim), normal(rng, dim)
    B, C = (normal(rng, batch, seqlen, 2, dstate) for _ in range(2))
    h = np.zeros((batch, dim, dstate))
    want = np.empty_like(u)
    for t in range(seqlen):
        step = softplus(delta[:, t] + bias)[..., None]
        h = np.exp(step * A) * h + step * np.repeat(B[:, t], 3, axis=1) * u[:, t, :, None]
        want[:, t] = ((h * np.repeat(C[:, t], 3, axis=1)).sum(-1) + D * u[:, t]) * silu(z[:, t])
    out, states = ops.selective_scan(u, delta, A, B, C, D, z, bias, True, return_final_states=True)
    assert isinstance(out, np.ndarray) and out.dtype == np.float32
    np.testing.assert_allclose(out, want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(states, h, rtol=1e-4, atol=1e-5)

    # Steps give the same, from strided inputs too.
    state = np.zeros((batch, dim, dstate), np.float32)
    for t in range(seqlen):
        y = ops.selective_state_update(state, u[:, t], delta[:, t], A, B[:, t], C[:, t], D, z[:, t], bias, True)
        np.testing.assert_allclose(y, want[:, t], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(state, states, rtol=1e-4, atol=1e-5)


def test_ssd_scan(rng):
    seqlen, nheads, headdim, dstate = 11, 4, 8, 16
    x = normal(rng, 1, seqlen, nheads, headdim)
    dt, A, D, bias = normal(rng, 1, seqlen, nheads), -np.exp(normal(rng, nheads)), normal(rng, nheads), normal(rng, nheads)
    B, C = normal(rng, 1, seqlen, 1, dstate), normal(rng, 1, seqlen, 1, dstate)
    lengths = np.array([0, 4, 11], np.int32)
    out, states = ops.ssd_scan(x, dt, A, B, C, D, None, bias, True, dt_limit=(0.1, 1.0), cu_seqlens=lengths,
                               return_final_states=True)
    assert states.shape == (2, nheads, headdim, dstate)
    state = np.zeros((1, nheads, headdim, dstate), np.float32)
    for t in range(seqlen):
        if t == 4:
            np.testing.assert_allclose(states[:1], state, rtol=1e-4, atol=1e-5)
            state[:] = 0
        step = np.clip(softplus(dt[0, t] + bias), 0.1, 1.0)[:, None, None]
        want = np.exp(step * A[:, None, None]) * state[0] + step * x[0, t, :, :, None] * B[0, t]
        y = ops.ssd_state_update(state, x[:, t], dt[:, t], A, B[:, t], C[:, t], D, None, bias, True, dt_limit=(0.1, 1.0))
        np.testing.assert_allclose(state[0], want, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(out[:, t], y, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(states[1:], state, rtol=1e-4, atol=1e-5)


def test_causal_conv1d(rng):
    x, weight, bias = normal(rng, 2, 7, 5), normal(rng, 5, 4), normal(rng, 5)
    padded = np.concatenate([np.zeros((2, 3, 5), np.float32), x], axis=1)
    want = silu(sum(padded[:, k:k + 7] * weight[:, k] for k in range(4)) + bias)
    out, states = ops.causal_conv1d(x, weight, bias, activation="silu", return_final_states=True)
    np.testing.assert_allclose(out, want, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(states, x[:, -3:].transpose(0, 2, 1))
    state = np.zeros((2, 5, 3), np.float32)
    for t in range(7):
        np.testing.assert_allclose(ops.causal_conv1d_update(x[:, t], state, weight, bias, activation="silu"), want[:, t],
                                   rtol=1e-4, atol=1e-5)


def test_the_other_ops(rng):
    x, weight, bias = normal(rng, 3, 4, 8), normal(rng, 8), normal(rng, 8)
    norm = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(ops.rms_norm(x, weight, z=x, norm_before_gate=True), norm * weight * silu(x), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ops.layer_norm(x, weight, bias), (x - x.mean(-1, keepdims=True)) / np.sqrt(
        x.var(-1, keepdims=True) + 1e-5) * weight + bias, rtol=1e-4, atol=1e-5)
    matrix = normal(rng, 5, 8)
    np.testing.assert_allclose(ops.linear(x, matrix), x @ matrix.T, rtol=1e-4, atol=1e-5)
    total = np.ones((3, 4, 5), np.float32)
    np.testing.assert_allclose(ops.linear(x, matrix, accumulate=True, out=total), x @ matrix.T + 1, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="out, which is not given"):
        ops.linear(x, matrix, accumulate=True)
    np.testing.assert_allclose(ops.norm_linear(x[0], matrix, norm_weight=weight), norm[0] * weight @ matrix.T, rtol=1e-4,
                               atol=1e-5)
    np.testing.assert_allclose(ops.softmax(x).sum(-1), np.ones((3, 4)), rtol=1e-5)
    np.testing.assert_allclose(np.exp(ops.softmax(x, log=True)), ops.softmax(x), rtol=1e-5)
    np.testing.assert_array_equal(ops.argmax(x), x.argmax(-1))
    np.testing.assert_allclose(ops.cumsum(x, 1), x.cumsum(1), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ops.activation(x, "silu"), silu(x), rtol=1e-5, atol=1e-6)
    ids = np.array([[1, 0], [2, 2]])
    np.testing.assert_array_equal(ops.embedding(ids, matrix), matrix[ids])
    labels = rng.integers(0, 8, (3, 4))
    np.testing.assert_allclose(ops.cross_entropy(x, labels), -np.log(np.take_along_axis(
        ops.softmax(x), labels[..., None], -1))[..., 0], rtol=1e-4, atol=1e-5)
    mask = np.array([[0, 1, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]])
    np.testing.assert_array_equal(ops.mask_positions(x, mask), x * mask[..., None])


@pytest.mark.parametrize("bits", [8, 4])
def test_quantized_weights(rng, bits):
    codes = rng.integers(0, 2**bits, (5, 64), np.uint8)
    scale, shift, bias = normal(rng, 5, 2), normal(rng, 5, 2), normal(rng, 5)
    packed = codes if bits == 8 else codes[:, 0::2] | codes[:, 1::2] << 4
    x = normal(rng, 3, 64)
    in_groups = lambda values: np.repeat(values, 32, axis=1)  # noqa: E731
    matrix = in_groups(scale) * codes + in_groups(shift)
    want = x @ matrix.T + bias
    np.testing.assert_allclose(ops.quantized_linear(x, packed, scale, shift, bias), want, rtol=1e-3, atol=1e-2)
    centred = in_groups(scale) * (codes.astype(np.float32) - 2**(bits - 1))
    np.testing.assert_allclose(ops.quantized_linear(x, packed, scale), x @ centred.T, rtol=1e-3, atol=1e-2)
    norm = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(ops.norm_linear(x, packed, weight_scale=scale, weight_shift=shift), norm @ matrix.T, rtol=1e-3,
                               atol=1e-2)
    ids = np.array([4, 0, 4])
    rows = ops.embedding(ids, packed, weight_scale=scale, weight_shift=shift, out=np.empty((3, 64), np.float32))
    np.testing.assert_allclose(rows, matrix[ids], rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="out must be given"):
        ops.embedding(ids, packed, weight_scale=scale)
    with pytest.raises(ValueError, match="out, which is not given"):
        ops.quantized_linear(x, packed, scale, accumulate=True)


def test_every_op_of_the_c_interface_is_here():
    symbols = (pathlib.Path(__file__).parents[2] / "interfaces/c/symbols.txt").read_text().split()
    in_c = {name.removeprefix("ophis_").removesuffix("_args_init") for name in symbols if name.endswith("_args_init")}
    assert in_c - {"forward"} == set(ops.__all__)


def test_sample(rng):
    logits = np.log(np.array([[0.5, 0.3, 0.2]] * 4000, np.float32))
    position = np.arange(4000)
    tokens = ops.sample(logits, temperature=np.ones(4000, np.float32), top_k=np.full(4000, 2), position=position)
    np.testing.assert_allclose(np.bincount(tokens, minlength=3) / 4000, [0.625, 0.375, 0], atol=0.03)
    assert (position == np.arange(1, 4001)).all()
    np.testing.assert_array_equal(ops.sample(logits[:3], temperature=np.zeros(3, np.float32)), [0, 0, 0])


def test_no_copies(rng):
    x = normal(rng, 4, 8)
    out = np.full_like(x, np.nan)
    assert ops.softmax(x, out=out) is out and np.isfinite(out).all()
    assert ops.softmax(x, out=x) is x
    np.testing.assert_array_equal(x, out)
    # Memory that a result lives in stays as long as the result.
    kept = [ops.activation(np.full((1000,), i, np.float32), "identity") for i in range(50)]
    assert all((each == i).all() for i, each in enumerate(kept))


def test_strided_and_read_only_inputs(rng):
    x = normal(rng, 6, 8)
    np.testing.assert_array_equal(ops.activation(x.T, "relu"), np.maximum(x.T, 0))
    np.testing.assert_array_equal(ops.activation(x[::2, ::-1], "relu"), np.maximum(x[::2, ::-1], 0))
    x.flags.writeable = False
    np.testing.assert_array_equal(ops.activation(x, "relu"), np.maximum(x, 0))
    with pytest.raises(ValueError, match="out is written to, but the given numpy.ndarray is read-only"):
        ops.activation(x, "relu", out=x)


def test_any_dlpack_producer(rng):
    x = normal(rng, 3, 5)
    out = ops.softmax(OnlyDLPack(x))
    assert hasattr(out, "__dlpack__") and not isinstance(out, np.ndarray)
    np.testing.assert_array_equal(np.from_dlpack(out), ops.softmax(x))
    assert ops.argmax(OnlyDLPack(x)).__dlpack_device__()[0] == 1


@pytest.mark.parametrize("call, text", [
    (lambda x: ops.softmax(3), "is builtins.int, but must be an array"),
    (lambda x: ops.softmax(x.astype(np.float64)), "softmax: x is float64"),
    (lambda x: ops.softmax(x, out=x[:1]), "softmax: out has shape"),
    (lambda x: ops.activation(x, "nonsense"), "unknown activation 'nonsense'"),
    (lambda x: ops.activation(x, 3), "kind is 3, which is not of the type"),
    (lambda x: ops.softmax(np.zeros((1,) * 7, np.float32)), "must be 0 to 6"),
    (lambda x: ops.embedding(np.array([7]), x), "embedding"),
])
def test_errors(rng, call, text):
    with pytest.raises(ophis.errors.InvalidArgumentError, match=text) as error:
        call(normal(rng, 2, 4))
    assert isinstance(error.value, ValueError) and isinstance(error.value, ophis.Error)


def test_several_threads(rng):
    x = normal(rng, 2, 64, 32)
    A, B = -np.exp(normal(rng, 32, 4)), normal(rng, 2, 64, 1, 4)
    want = ops.selective_scan(x, x, A, B, B, delta_softplus=True)
    wrong = []

    def work():
        for _ in range(20):
            if not np.array_equal(ops.selective_scan(x, x, A, B, B, delta_softplus=True), want):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
