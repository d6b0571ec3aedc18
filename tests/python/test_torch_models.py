"""Modules, the shim packages, and transformers' models with our functions."""

import importlib
import os
import subprocess
import sys

import ophis
import pytest

torch = pytest.importorskip("torch")
import ophis.torch as ot  # noqa: E402
from ophis import compat  # noqa: E402


@pytest.fixture(autouse=True)
def seed_and_uninstall():
    torch.manual_seed(0)
    yield
    ot.uninstall()


class Cache:
    """What mamba_ssm's modules take as inference_params."""

    def __init__(self):
        self.key_value_memory_dict, self.seqlen_offset = {}, 0


BLOCKS = {
    "mamba": lambda **more: ot.Mamba(32, layer_idx=0, **more),
    "mamba2": lambda **more: ot.Mamba2(32, d_state=16, headdim=8, layer_idx=0, chunk_size=8, **more),
    "mamba2-options": lambda **more: ot.Mamba2(32, d_state=16, headdim=8, layer_idx=0, chunk_size=8, ngroups=2, D_has_hdim=True,
                                               dt_limit=(0.01, 0.5), norm_before_gate=True, bias=True, **more),
    "mamba2-mlp": lambda **more: ot.Mamba2(32, d_state=16, headdim=8, layer_idx=0, chunk_size=8, d_ssm=32, rmsnorm=False, **more),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_steps_equal_the_whole(name):
    block = BLOCKS[name]()
    x = torch.randn(2, 13, 32)
    want = block(x)  # the fused path
    assert want.shape == x.shape
    with torch.no_grad():
        cache = Cache()
        got = [block(x[:, :9], inference_params=cache)]
        for t in range(9, 13):
            cache.seqlen_offset = t
            got.append(block(x[:, t:t + 1], inference_params=cache))
    torch.testing.assert_close(torch.cat(got, 1), want, rtol=1e-3, atol=1e-4)
    want.square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in block.parameters())


def test_parameters_have_mamba_ssms_names_and_shapes():
    shapes = {name: tuple(tensor.shape) for name, tensor in ot.Mamba(32).state_dict().items()}
    assert shapes == {"A_log": (64, 16), "D": (64,), "in_proj.weight": (128, 32), "conv1d.weight": (64, 1, 4),
                      "conv1d.bias": (64,), "x_proj.weight": (34, 64), "dt_proj.weight": (64, 2), "dt_proj.bias": (64,),
                      "out_proj.weight": (32, 64)}
    shapes = {name: tuple(tensor.shape) for name, tensor in ot.Mamba2(32, d_state=16, headdim=8).state_dict().items()}
    assert shapes == {"A_log": (8,), "D": (8,), "dt_bias": (8,), "in_proj.weight": (168, 32), "conv1d.weight": (96, 1, 4),
                      "conv1d.bias": (96,), "norm.weight": (64,), "out_proj.weight": (32, 64)}


def test_packed_sequences():
    block = BLOCKS["mamba2"]()
    one, other = torch.randn(1, 5, 32), torch.randn(1, 9, 32)
    idx = torch.tensor([[0] * 5 + [1] * 9], dtype=torch.int32)
    packed = block(torch.cat([one, other], 1), seq_idx=idx)
    torch.testing.assert_close(packed, torch.cat([block(one), block(other)], 1), rtol=1e-3, atol=1e-5)


def test_compiled_training_step():
    block = BLOCKS["mamba"]()
    x = torch.randn(2, 8, 32)
    want = torch.autograd.grad(block(x).square().mean(), list(block.parameters()))
    compiled = torch.compile(block, backend="aot_eager", fullgraph=True)
    got = torch.autograd.grad(compiled(x).square().mean(), list(block.parameters()))
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)


def test_shim_packages():
    ot.install()
    for name in ("mamba_ssm", "causal_conv1d"):
        assert importlib.import_module(name).__file__.startswith(compat.path)
    from causal_conv1d import causal_conv1d_fn
    from mamba_ssm import Mamba
    from mamba_ssm.modules.mamba2 import Mamba2
    from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined

    assert (Mamba, Mamba2, causal_conv1d_fn, mamba_chunk_scan_combined) == (
        ot.Mamba, ot.Mamba2, ot.causal_conv1d_fn, ot.mamba_chunk_scan_combined)
    ot.uninstall()
    assert compat.path not in sys.path and "mamba_ssm" not in sys.modules


def test_shims_by_the_environment():
    program = "import mamba_ssm, causal_conv1d; print(mamba_ssm.Mamba.__module__)"
    path = ":".join([compat.path, *sys.path])
    output = subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True)
    assert output.stdout.startswith("ophis.torch")


def tiny_model(transformers, name):
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 100}
    if name == "mamba":
        return transformers.MambaForCausalLM(transformers.MambaConfig(state_size=8, **shape))
    # Up to 5.17 at least transformers gates over the whole width at inference, and over groups, which is right, in training.
    groups = 1 if [int(part) for part in transformers.__version__.split(".")[:2]] <= [5, 17] else 2
    return transformers.Mamba2ForCausalLM(transformers.Mamba2Config(state_size=16, num_heads=8, head_dim=8, n_groups=groups,
                                                                     chunk_size=8, **shape))


@pytest.mark.parametrize("name", ["mamba", "mamba2"])
def test_transformers(name):
    transformers = pytest.importorskip("transformers")
    model = tiny_model(transformers, name)
    ids = torch.randint(0, 100, (2, 21))
    mask = torch.ones_like(ids)
    mask[0, :5] = 0

    def everything():
        model.eval()
        with torch.no_grad():
            logits = model(ids, attention_mask=mask).logits
        text = model.generate(ids, attention_mask=mask, max_new_tokens=6, min_new_tokens=6, do_sample=False)
        loss = model.train()(ids, labels=ids).loss
        return logits[mask.bool()], text, loss, *torch.autograd.grad(loss, list(model.parameters()))

    own = everything()
    with torch.profiler.profile() as profile:
        ot.install()
        ours = everything()
    calls = {event.name for event in profile.events() if event.name.startswith("ophis::")}
    scan = "ophis::selective_scan" if name == "mamba" else "ophis::ssd_scan"
    assert {scan, "ophis::causal_conv1d", "ophis::causal_conv1d_update", "ophis::selective_state_update"} <= calls
    assert torch.equal(ours[1], own[1])
    torch.testing.assert_close(ours, own, rtol=1e-3, atol=1e-5)
    ot.uninstall()
    with torch.profiler.profile() as profile:
        everything()
    assert not any(event.name.startswith("ophis::") for event in profile.events())


@pytest.mark.parametrize("name", ["mamba", "mamba2"])
def test_lm_of_a_transformers_model(name):
    transformers = pytest.importorskip("transformers")
    model = tiny_model(transformers, name).eval()
    lm = ophis.LM.from_module(model)
    ids = torch.randint(0, 100, (2, 9))
    with torch.no_grad():
        torch.testing.assert_close(lm.forward(ids).logits, model(ids).logits, rtol=1e-3, atol=1e-5)
        model.backbone.embeddings.weight.mul_(2)  # is shared
        torch.testing.assert_close(lm.forward(ids).logits, model(ids).logits, rtol=1e-3, atol=1e-5)
    text = model.generate(ids[:1], max_new_tokens=6, min_new_tokens=6, do_sample=False)
    assert lm.generate(ids[0].tolist(), 6, eos_token_ids=[]) == text[0, 9:].tolist()
    del model.backbone.layers[1].mixer.D
    with pytest.raises(ophis.errors.NotFoundError, match=r"backbone\.layers\.1\.mixer\.D"):
        ophis.LM.from_module(model)
    with pytest.raises(ophis.errors.UnsupportedError, match="gpt2"):
        ophis.LM.from_module(transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=9)))


def test_transformers_that_is_imported_afterwards():
    pytest.importorskip("transformers")
    program = """
import torch, ophis.torch
ophis.torch.install()
import transformers
model = transformers.MambaForCausalLM(transformers.MambaConfig(hidden_size=32, num_hidden_layers=1, vocab_size=100)).eval()
with torch.profiler.profile() as profile:
    model(torch.zeros(1, 4, dtype=torch.long))
print(sorted({event.name for event in profile.events() if event.name.startswith("ophis::")}))
"""
    output = subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": ":".join(sys.path)}, capture_output=True,
                            text=True, check=True)
    assert "ophis::selective_scan" in output.stdout
