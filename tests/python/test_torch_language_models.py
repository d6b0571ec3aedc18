"""MambaLMHeadModel and its generation, and programs written for mamba_ssm."""

import json
import math
import os
import subprocess
import sys

import ophis
import pytest

torch = pytest.importorskip("torch")
import ophis.torch as ot  # noqa: E402
from ophis import compat  # noqa: E402
from ophis.torch import _generation  # noqa: E402
from ophis.torch._attention import MHA, RotaryEmbedding  # noqa: E402

CONFIGS = {
    "mamba": {"ssm_cfg": {"d_state": 8}},
    "mamba2": {"ssm_cfg": {"layer": "Mamba2", "d_state": 16, "headdim": 8, "chunk_size": 8, "dt_limit": [0.0, math.inf]}},
    "unfused": {"fused_add_norm": False, "rms_norm": False, "residual_in_fp32": False, "tie_embeddings": False},
    "hybrid": {"ssm_cfg": {"layer": "Mamba2", "d_state": 16, "headdim": 8}, "d_intermediate": 40, "attn_layer_idx": [1],
               "attn_cfg": {"causal": True, "d_conv": 4, "head_dim": 16, "num_heads": 4, "num_heads_kv": 2, "out_proj_bias": False,
                            "qkv_proj_bias": False, "rotary_emb_dim": 8, "mlp_dim": 256}},
}


def make_model(name, **more):
    torch.manual_seed(0)
    config = ot.MambaConfig(d_model=32, n_layer=2, vocab_size=98, **CONFIGS[name])
    return ot.MambaLMHeadModel(config, initializer_cfg={"initializer_range": 0.1}, **more).eval()


@pytest.fixture(params=CONFIGS)
def model(request):
    return make_model(request.param)


@pytest.fixture
def ids():
    torch.manual_seed(0)
    return torch.randint(0, 98, (2, 9))


@pytest.mark.parametrize("name", ["mamba", "mamba2", "unfused"])
def test_checkpoints(name, tmp_path, ids):
    """What save_pretrained writes is read by ophis.LM, which computes the same, and by from_pretrained."""
    model = make_model(name)
    model.save_pretrained(tmp_path / "new" / "folder")
    folder = tmp_path / "new" / "folder"
    config = json.loads((folder / "config.json").read_text())
    assert list(config) == ["d_model", "d_intermediate", "n_layer", "vocab_size", "ssm_cfg", "attn_layer_idx", "attn_cfg", "rms_norm",
                            "residual_in_fp32", "fused_add_norm", "pad_vocab_size_multiple", "tie_embeddings"]
    with torch.no_grad():
        want = model(ids).logits
    assert want.shape == (2, 9, 104)
    own = ophis.LM.from_pretrained(folder, dtype="float32", device=str(ids.device))
    torch.testing.assert_close(own.forward(ids).logits, want, rtol=1e-4, atol=1e-4)
    again = ot.MambaLMHeadModel.from_pretrained(str(folder), device=ids.device, dtype=torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(again(ids).logits, want, rtol=0, atol=0)
    assert ot.MambaLMHeadModel.from_pretrained(folder, dtype=torch.bfloat16).backbone.embedding.weight.dtype == torch.bfloat16


def test_names_of_parameters():
    model = make_model("hybrid")
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items() if ".layers.0.mixer." not in name}
    assert shapes == {
        "backbone.embedding.weight": (104, 32), "backbone.norm_f.weight": (32,), "lm_head.weight": (104, 32),
        **{f"backbone.layers.{i}.{name}.weight": shape for i in range(2)
           for name, shape in {"norm": (32,), "norm2": (32,), "mlp.fc1": (256, 32), "mlp.fc2": (32, 128)}.items()},
        "backbone.layers.1.mixer.in_proj.weight": (384, 32), "backbone.layers.1.mixer.conv1d.weight": (128, 1, 4),
        "backbone.layers.1.mixer.conv1d.bias": (128,), "backbone.layers.1.mixer.out_proj.weight": (32, 192)}
    assert model.lm_head.weight is model.backbone.embedding.weight
    cache = model.allocate_inference_cache(3, 7, dtype=torch.bfloat16)
    assert [[tuple(state.shape) for state in cache[i]] for i in range(2)] == [
        [(3, 96, 4), (3, 8, 8, 16)], [(3, 7, 2, 2, 16), (3, 128, 4)]]


def test_steps_equal_the_whole(model, ids):
    """The logits of each step, when the tokens are given, are those of the forward pass."""
    with torch.no_grad():
        want = model(ids).logits
    torch.testing.assert_close(model(ids, num_last_tokens=2).logits, want[:, -2:], rtol=1e-5, atol=1e-5)
    output = model.generate(ids[:, :4], max_length=9, teacher_outputs=ids, output_scores=True, return_dict_in_generate=True, cg=True)
    assert torch.equal(output.sequences, ids)
    torch.testing.assert_close(torch.stack(output.scores, 1), want[:, 3:-1], rtol=1e-3, atol=1e-3)


def test_greedy(model, ids):
    sequences = model.generate(ids[:, :4], 8)
    assert sequences.shape == (2, 8) and torch.equal(sequences[:, :4], ids[:, :4])
    with torch.no_grad():
        assert torch.equal(sequences[:, 4:], model(sequences).logits[:, 3:-1].argmax(-1))
    end = sequences[0, 4:].tolist().index(sequences[0, 6]) + 5
    assert torch.equal(model.generate(ids[:1, :4], 8, eos_token_id=int(sequences[0, 6])), sequences[:1, :end])
    assert model.generate(ids[:, :4], 3).shape == (2, 5)  # as upstream: one token at least
    assert int(model.generate(ids[:, :4], 12, vocab_size=10)[:, 4:].max()) < 10


def test_generation_runs_on_lm(ids):
    """It shares the large weights, sees the small ones as they are at each call, and does what the modules do."""
    for name in ("mamba", "mamba2", "unfused"):
        model = make_model(name)
        lm = model.as_lm()
        assert lm is not None and lm.config["n_layer"] == 2
        with torch.no_grad():
            model.backbone.layers[0].mixer.in_proj.weight.mul_(2)
            torch.testing.assert_close(lm.forward(ids).logits, model(ids).logits, rtol=1e-4, atol=1e-4)
            model.backbone.norm_f.weight.mul_(2)
        output = model.generate(ids, 14, output_scores=True, return_dict_in_generate=True)
        hook = model.lm_head.register_forward_hook(lambda *_: None)
        assert model.as_lm() is None
        by_modules = model.generate(ids, 14, output_scores=True, return_dict_in_generate=True)
        assert torch.equal(output.sequences, by_modules.sequences)
        torch.testing.assert_close(torch.stack(output.scores), torch.stack(by_modules.scores), rtol=1e-3, atol=1e-3)
        hook.remove()
        assert model.as_lm() is not None
    half = make_model("mamba2", dtype=torch.bfloat16)
    assert half.as_lm() is not None
    assert half.generate(ids, 11, output_scores=True, return_dict_in_generate=True).scores[-1].dtype == torch.bfloat16


def test_changed_modules_run_themselves(ids):
    assert make_model("hybrid").as_lm() is None and make_model("mamba").double().as_lm() is None
    model = make_model("mamba")
    with torch.autocast(ids.device.type, torch.bfloat16):
        assert model.as_lm() is None

    class Doubled(torch.nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    model.backbone.layers[1].mixer.in_proj = Doubled(32, 128, bias=False)
    assert model.as_lm() is None
    sequences = model.generate(ids, 12)
    with torch.no_grad():
        assert torch.equal(sequences[:, 9:], model(sequences).logits[:, 8:-1].argmax(-1))
    model = make_model("mamba")
    model.lm_head.weight = torch.nn.Parameter(-model.lm_head.weight)  # no longer tied
    assert model.as_lm() is None


def test_sampling(ids):
    model = make_model("mamba")

    def run(**options):
        torch.manual_seed(3)
        return model.generate(ids[:, :4], 40, **options)

    greedy = run()
    assert torch.equal(run(top_k=5), run(top_k=5)) and not torch.equal(run(top_k=5), greedy)
    assert torch.equal(run(top_k=0, top_p=1e-6), greedy) and torch.equal(run(top_k=0, min_p=0.999), greedy)
    assert torch.equal(run(top_k=0, temperature=1e-4), greedy)
    scores = model.generate(ids[:, :4], 8, repetition_penalty=1.5, output_scores=True, return_dict_in_generate=True)
    for t, logits in enumerate(scores.scores):
        before = scores.sequences[:, :4 + t]
        seen = logits.gather(-1, before)
        penalised = logits.scatter(-1, before, torch.where(seen > 0, seen / 1.5, seen * 1.5))
        assert torch.equal(penalised.argmax(-1), scores.sequences[:, 4 + t])


def test_filters():
    logits = torch.tensor([[0.1, 0.4, 0.3, 0.2], [0.97, 0.01, 0.01, 0.01]]).log()
    kept = lambda change, value: (change(copy := logits.clone(), value), copy.isfinite().int().tolist())[1]  # noqa: E731
    assert kept(_generation.modify_logits_for_top_k_filtering, 2) == [[0, 1, 1, 0], [1, 1, 1, 1]]  # equal ones stay
    assert kept(_generation.modify_logits_for_top_p_filtering, 0.65) == [[0, 1, 1, 0], [1, 0, 0, 0]]
    assert kept(_generation.modify_logits_for_top_p_filtering, 0.0) == [[1] * 4] * 2
    assert kept(_generation.modify_logits_for_min_p_filtering, 0.6) == [[0, 1, 1, 0], [1, 0, 0, 0]]
    torch.manual_seed(0)
    tokens = _generation.sample(logits[:1].expand(4000, 4), top_k=0, top_p=0.75)
    torch.testing.assert_close(tokens.bincount(minlength=4) / 4000, torch.tensor([0, 4 / 9, 3 / 9, 2 / 9]), rtol=0, atol=0.03)


def test_streamer_and_timing(ids, capsys):
    class Streamer:
        def __init__(self):
            self.told = []

        def put(self, tokens):
            self.told.append(tokens.tolist())

        def end(self):
            self.told.append("end")

    streamer = Streamer()
    sequences = make_model("mamba").generate(ids[:1, :4], 7, streamer=streamer, enable_timing=True)
    assert streamer.told == [ids[:1, :4].tolist(), *([[each]] for each in sequences[0, 4:].tolist()), "end"]
    assert capsys.readouterr().out.startswith("Prompt processing + decoding time: ")


def test_attention():
    """Against its definition, and several positions after others."""
    torch.manual_seed(0)
    layer = MHA(32, 4, num_heads_kv=2, causal=True, layer_idx=0, rotary_emb_dim=8, qkv_proj_bias=False, out_proj_bias=False)
    x = torch.randn(2, 7, 32)
    q, k, v = layer.in_proj(x).split([32, 16, 16], -1)
    rotate = RotaryEmbedding(8)
    q, k = rotate(q.unflatten(-1, (4, 8)), 0), rotate(k.unflatten(-1, (2, 8)), 0)
    k, v = k.repeat_interleave(2, 2), v.unflatten(-1, (2, 8)).repeat_interleave(2, 2)
    weights = (torch.einsum("blhd,bmhd->bhlm", q, k) / 8**0.5).masked_fill(torch.ones(7, 7).triu(1).bool(), -math.inf)
    want = layer.out_proj(torch.einsum("bhlm,bmhd->blhd", weights.softmax(-1), v).flatten(2))
    torch.testing.assert_close(layer(x), want, rtol=1e-4, atol=1e-5)
    cache = ot.InferenceParams(max_seqlen=7, max_batch_size=2)
    got = [layer(x[:, :3], inference_params=cache)]
    for begin, end in ((3, 6), (6, 7)):
        cache.seqlen_offset = begin
        got.append(layer(x[:, begin:end], inference_params=cache))
    torch.testing.assert_close(torch.cat(got, 1), want, rtol=1e-4, atol=1e-5)
    cache.seqlen_offset = 7
    with pytest.raises(AssertionError, match="position 7 is beyond the cache of 7"):
        layer(x[:, :1], inference_params=cache)
    # Rotated by its position: products depend on the distance alone, in both orders of the elements.
    for interleaved in (False, True):
        rotate = RotaryEmbedding(8, interleaved=interleaved)
        one, other = torch.randn(2, 1, 1, 1, 8)
        torch.testing.assert_close((rotate(one, 5) * rotate(other, 3)).sum(), (rotate(one, 12) * rotate(other, 10)).sum())
        assert not torch.allclose(rotate(one, 5), rotate(one, 6))


def test_errors(tmp_path, model_folder):
    with pytest.raises(FileNotFoundError):
        ot.MambaLMHeadModel.from_pretrained(tmp_path / "none")
    with pytest.raises(NotImplementedError, match="mamba_ssm's layout"):
        ot.MambaLMHeadModel.from_pretrained(model_folder)
    make_model("mamba").save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ophis.errors.CorruptDataError, match="config.json"):
        ot.MambaLMHeadModel.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="Invalid ssm_layer: Mamba9"):
        ot.MambaLMHeadModel(ot.MambaConfig(d_model=32, n_layer=1, ssm_cfg={"layer": "Mamba9"}))


PROGRAM = """
import sys, time
for name in ("transformers", "einops", "triton", "safetensors", "huggingface_hub"):
    sys.modules[name] = None  # not there
import torch
from mamba_ssm.models.mixer_seq_simple import MambaLMHeadModel
from mamba_ssm.models.config_mamba import MambaConfig
from mamba_ssm.modules.block import Block
from mamba_ssm.modules.mha import MHA
from mamba_ssm.modules.mlp import GatedMLP
from mamba_ssm.utils.generation import GenerationMixin, InferenceParams
from mamba_ssm.utils.hf import load_config_hf, load_state_dict_hf
import mamba_ssm

assert mamba_ssm.MambaLMHeadModel is MambaLMHeadModel and issubclass(MambaLMHeadModel, GenerationMixin)
assert load_config_hf(sys.argv[1])["d_model"] == 32
assert load_state_dict_hf(sys.argv[1], dtype=torch.float16)["backbone.norm_f.weight"].dtype == torch.float16
model = MambaLMHeadModel.from_pretrained(sys.argv[1], device="cpu", dtype=torch.float32)
model.eval()
print(sum(p.numel() for p in model.parameters() if p.requires_grad))
input_ids = torch.randint(1, 98, (2, 10))
generate = lambda: model.generate(
    input_ids=input_ids, max_length=30, cg=True, return_dict_in_generate=True, output_scores=True, enable_timing=False,
    temperature=0.7, top_k=1, top_p=0.9, min_p=0.0, repetition_penalty=1.2)
out = generate()
start = time.time()
for _ in range(3):
    generate()
print(f"Prompt length: {len(input_ids[0])}, generation length: {len(out.sequences[0]) - len(input_ids[0])}")
"""


def test_a_program_for_mamba_ssm(tmp_path):
    """With nothing but torch and ophis."""
    model = make_model("mamba2")
    model.save_pretrained(tmp_path)
    output = subprocess.run([sys.executable, "-c", PROGRAM, tmp_path], env={**os.environ, "PYTHONPATH": ":".join([compat.path, *sys.path])},
                            capture_output=True, text=True, check=False)
    assert output.returncode == 0, output.stderr
    count = sum(parameter.numel() for parameter in model.parameters())
    assert output.stdout == f"{count}\nPrompt length: 10, generation length: 20\n"


def test_the_result_is_transformers_own_for_its_users(ids):
    transformers = pytest.importorskip("transformers")
    output = make_model("mamba").generate(ids, 11, return_dict_in_generate=True)
    assert isinstance(output, transformers.generation.GenerateDecoderOnlyOutput) and output.scores is None
