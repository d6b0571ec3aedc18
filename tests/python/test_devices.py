"""Models and ops on a GPU, where the build and the machine have one."""

import numpy as np
import ophis
import pytest
from ophis import ops

DEVICES = [device for device in ophis.devices() if device != "cpu"]
pytestmark = pytest.mark.skipif(not DEVICES, reason="no other device than the CPU")


@pytest.fixture
def models(model_folder):
    """On the CPU and on the GPU."""
    return [ophis.LM.from_pretrained(model_folder, dtype="float32", device=device) for device in ("cpu", DEVICES[0])]


def test_texts(models):
    for options in ({}, {"temperature": 0.9, "top_p": 0.95, "seed": 3}, {"stop": ["\n\n"], "num_return_sequences": 2,
                                                                       "temperature": 1.0}):
        texts = [model.generate(["JULIET:", "Shall I compare thee to"], 40, **options) for model in models]
        assert texts[0] == texts[1]
    assert "".join(models[1].generate("JULIET:", 40, stream=True)) == models[0].generate("JULIET:", 40)
    assert models[1].device.startswith(DEVICES[0])


def test_logits_and_states(models, tmp_path):
    ids = np.array([models[0].tokenizer.encode("Shall I compare thee to a summer's day?")])
    caches = [model.make_cache(1) for model in models]
    outputs = [model.forward(ids, labels=ids, cache=cache, output_hidden_states=True) for model, cache in zip(models, caches)]
    for own, other in zip((outputs[0].logits, *outputs[0].hidden_states), (outputs[1].logits, *outputs[1].hidden_states)):
        np.testing.assert_allclose(own, other, rtol=1e-3, atol=2e-3)
    assert outputs[0].loss == pytest.approx(outputs[1].loss, rel=1e-4)
    steps = [model.step([5], cache) for model, cache in zip(models, caches)]
    np.testing.assert_allclose(steps[0], steps[1], rtol=1e-3, atol=2e-3)
    fork = models[1].copy(caches[1])
    models[1].save(fork, tmp_path / "states")
    models[1].load(models[1].make_cache(1), tmp_path / "states")
    np.testing.assert_allclose(models[1].step([7], fork), models[0].step([7], caches[0]), rtol=1e-3, atol=2e-3)
    for own, other in zip(models[0].generate(ids[0], 3, top_logprobs=2) and models[0].last.top_logprobs[0],
                          models[1].generate(ids[0], 3, top_logprobs=2) and models[1].last.top_logprobs[0]):
        assert [token for token, _ in own] == [token for token, _ in other]


def test_quantized(model_folder):
    ids = [[1, 5, 9, 200, 30]]
    logits = [ophis.LM.from_pretrained(model_folder, dtype="float32", device=device, quantize="int4").forward(ids).logits
              for device in ("cpu", DEVICES[0])]
    np.testing.assert_allclose(logits[0], logits[1], rtol=1e-2, atol=1e-2)


def test_ops_on_memory_of_ophis(models):
    """Without another library's arrays: states are inputs, and results have the states' device."""
    cache = models[1].make_cache(1)
    models[1].forward([[1, 5, 9, 200, 30]], cache=cache)
    own = models[0].make_cache(1)
    models[0].forward([[1, 5, 9, 200, 30]], cache=own)
    state, want = cache.layer(0)[1], own.layer(0)[1]
    out = ops.activation(state, "tanh")
    assert out.__dlpack_device__() == state.__dlpack_device__() != (1, 0)
    assert ops.argmax(ops.softmax(state)) is not None
    with pytest.raises(ValueError, match="device"):
        ops.activation(state, "tanh", out=np.empty(want.shape, np.float32))
    torch = pytest.importorskip("torch")
    torch.testing.assert_close(torch.from_dlpack(out).cpu(), torch.tanh(torch.as_tensor(want)), rtol=1e-3, atol=1e-3)


def test_torch_tensors(models, rng):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch has no GPU")
    ids = torch.tensor([[1, 5, 9, 200, 30]], device=DEVICES[0])
    logits = models[1].forward(ids).logits
    assert isinstance(logits, torch.Tensor) and logits.is_cuda
    np.testing.assert_allclose(logits.cpu(), models[0].forward(ids.cpu()).logits, rtol=1e-3, atol=2e-3)
    x = torch.as_tensor(rng.standard_normal((2, 300, 64), np.float32))
    weight = torch.as_tensor(rng.standard_normal((48, 64), np.float32))
    want = ops.linear(ops.rms_norm(x), weight)
    torch.testing.assert_close(ops.linear(ops.rms_norm(x.to(DEVICES[0])), weight.to(DEVICES[0])).cpu(), want, rtol=1e-3, atol=1e-3)
    # On the stream that is current: what is queued there before is seen, and what follows sees the result.
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for i in range(20):
            big = torch.full((4096, 1024), float(i), device=DEVICES[0])
            total = ops.activation(big, "relu2")[::512, 0].sum()
            assert float(total) == 8 * float(i) ** 2
