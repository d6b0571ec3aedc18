"""lm-eval's harness on a local task with local data."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lm_eval")
from lm_eval import simple_evaluate  # noqa: E402
from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.api.registry import get_model  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402
from ophis.lm_eval import OphisLM  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "examples/models/mamba2-tiny"
LINES = ["Shall I compare thee to a summer's day?", "To be, or not to be, that is the question:", "JULIET: O Romeo!"]


def request(kind, *arguments):
    return Instance(request_type=kind, doc={}, arguments=arguments, idx=0)


@pytest.fixture(scope="module")
def model():
    return OphisLM(str(MODEL), dtype="float32", batch_size=2)


def log_probabilities(lm, ids):
    logits = lm.forward([ids]).logits[0].astype(np.float64)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def test_loglikelihood(model):
    pairs = [("Shall I compare thee", " to a summer's day?"), ("To be", ", or"), ("JULIET: O", " Romeo!")]
    answers = model.loglikelihood([request("loglikelihood", *pair) for pair in pairs])
    for (context, continuation), (value, is_greedy) in zip(pairs, answers):
        ids, begin = model.tok_encode(context + continuation), len(model.tok_encode(context))
        log = log_probabilities(model.lm, ids)[begin - 1:-1]
        assert value == pytest.approx(log[np.arange(len(log)), ids[begin:]].sum(), rel=1e-3)
        assert is_greedy == bool((log.argmax(-1) == ids[begin:]).all())


def test_loglikelihood_rolling(model):
    values = model.loglikelihood_rolling([request("loglikelihood_rolling", line) for line in LINES])
    for line, value in zip(LINES, values):
        ids = [model.prefix_token_id, *model.tok_encode(line)]
        log = log_probabilities(model.lm, ids)[:-1]
        assert value == pytest.approx(log[np.arange(len(log)), ids[1:]].sum(), rel=1e-3)
    # In windows each token is still counted once.
    short = OphisLM(str(MODEL), dtype="float32", max_length=4)
    assert short.loglikelihood_rolling([request("loglikelihood_rolling", LINES[0])])[0] < values[0] * 0.5


def test_lm_evals_own_class_for_mamba_ssm(tmp_path):
    ot = pytest.importorskip("ophis.torch")
    pytest.importorskip("accelerate")  # which lm-eval's classes for transformers want
    config = ot.MambaConfig(d_model=64, n_layer=2, vocab_size=4096, ssm_cfg={"layer": "Mamba2", "d_state": 32, "headdim": 32})
    ot.MambaLMHeadModel(config).save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").symlink_to(MODEL / "tokenizer.json")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}')
    requests = [request("loglikelihood", *pair) for pair in [("Shall I compare thee", " to a summer's day?"), ("To be", ", or")]]
    ot.install()
    try:
        theirs = get_model("mamba_ssm")(str(tmp_path), tokenizer=str(tmp_path), device="cpu", dtype="float32", batch_size=2)
        answers = theirs.loglikelihood(requests)
    finally:
        ot.uninstall()
    for answer, want in zip(answers, OphisLM(str(tmp_path), dtype="float32", batch_size=2).loglikelihood(requests)):
        assert answer == (pytest.approx(want[0], rel=1e-4), want[1])


def test_quantized():
    line = request("loglikelihood", "Shall I compare", " thee")
    plain, quantized = (OphisLM(str(MODEL), **more).loglikelihood([line])[0][0] for more in ({}, {"quantize": "int4"}))
    assert plain != quantized and quantized == pytest.approx(plain, rel=0.2)


def test_generate_until(model):
    options = {"until": ["\n"], "max_gen_toks": 24, "do_sample": False}
    texts = model.generate_until([request("generate_until", line, options) for line in LINES])
    for line, text in zip(LINES, texts):
        assert text == model.lm.generate(line, max_new_tokens=24).split("\n")[0]
    options = {"do_sample": True, "temperature": 0.7, "top_k": 5, "max_gen_toks": 8}
    assert model.generate_until([request("generate_until", "JULIET:", options)]) == [
        model.lm.generate("JULIET:", max_new_tokens=8, temperature=0.7, top_k=5)]


def test_a_local_task(tmp_path):
    """The harness from end to end: a task file of the user's, with data beside it."""
    data = tmp_path / "lines.jsonl"
    data.write_text("\n".join(json.dumps({"text": line, "choices": [" a summer's day?", " zx qv kk"], "label": 0})
                              for line in ["Shall I compare thee to"] * 2))
    (tmp_path / "local_choice.yaml").write_text(f"""
task: local_choice
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{data}"}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{text}}}}"
doc_to_choice: choices
doc_to_target: label
metric_list: [{{metric: acc}}]
""")
    results = simple_evaluate(model="ophis", model_args=f"pretrained={MODEL},dtype=float32", tasks=["local_choice"],
                              batch_size=2, bootstrap_iters=0, task_manager=TaskManager(include_path=str(tmp_path)))
    assert results["results"]["local_choice"]["acc,none"] == 1.0


