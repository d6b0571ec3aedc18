"""Models, tokenizers and generation."""

import gc
import json
import threading
from pathlib import Path

import numpy as np
import ophis
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def lm(model_folder):
    return ophis.LM.from_pretrained(model_folder, dtype="float32")


def test_generate(lm):
    text = lm.generate("JULIET:", max_new_tokens=12)
    assert isinstance(text, str) and text
    assert lm.last.prompt_tokens == len(lm.tokenizer.encode("JULIET:")) and lm.last.decode_seconds > 0
    assert lm.last.finished == ["length"] and len(lm.last.ids[0]) == 12
    ids = lm.generate(lm.tokenizer.encode("JULIET:"), max_new_tokens=12)
    assert lm.tokenizer.decode(ids, True) == text
    texts = lm.generate(["JULIET:", "Shall I compare thee"], max_new_tokens=12)
    assert texts[0] == text and len(texts) == 2
    assert lm.generate([lm.tokenizer.encode("JULIET:")], max_new_tokens=12) == [ids]
    assert lm.generate("JULIET:", max_new_tokens=12, eos_token_ids=[ids[3]]) == lm.tokenizer.decode(ids[:4], True)


def test_sampling(lm):
    def sample(**options):
        return lm.generate("JULIET:", max_new_tokens=16, temperature=1.0, **options)

    assert sample(seed=1) == sample(seed=1) != sample(seed=2)
    assert sample(top_k=1) == sample(top_p=1e-6) == sample(min_p=1.0) == lm.generate("JULIET:", max_new_tokens=16)
    several = sample(num_return_sequences=3)
    assert len(set(several)) == 3 and several[0] == sample()
    assert sample(presence_penalty=2.0, frequency_penalty=1.0, repetition_penalty=1.3) != sample()
    with pytest.raises(ValueError, match="top_p"):
        sample(top_p=2.0)
    with pytest.raises(ValueError, match="top_k is 'five'"):
        sample(top_k="five")


def test_stop_strings_and_logprobs(lm):
    text = lm.generate("JULIET:", max_new_tokens=24, logprobs=True)
    assert len(lm.last.logprobs[0]) == 24 and max(lm.last.logprobs[0]) <= 0
    stop = text[5:8]
    assert lm.generate("JULIET:", max_new_tokens=24, stop=stop) == text[:text.find(stop)]
    assert lm.last.finished == ["stop"]
    assert "".join(lm.generate("JULIET:", max_new_tokens=24, stop=[stop], stream=True)) == text[:text.find(stop)]
    ids = lm.tokenizer.encode("JULIET:")
    log = lm.forward([ids], logits_to_keep=1).logits[0, 0].astype(np.float64)
    lm.generate(ids, max_new_tokens=1, logprobs=True)
    assert lm.last.logprobs[0][0] == pytest.approx(log.max() - np.log(np.exp(log).sum()), abs=1e-3)
    assert lm.last.top_logprobs == []
    lm.generate(ids, max_new_tokens=2, top_logprobs=3)
    first = lm.last.top_logprobs[0][0]
    assert [token for token, _ in first] == np.argsort(-log, kind="stable")[:3].tolist()
    assert len(lm.last.top_logprobs[0]) == 2
    assert [value for _, value in first] == pytest.approx(np.sort(log)[::-1][:3] - np.log(np.exp(log).sum()), abs=1e-3)
    with pytest.raises(ValueError, match="top_logprobs is -1"):
        lm.generate(ids, max_new_tokens=2, top_logprobs=-1)


def test_going_on_from_a_file(lm, tmp_path):
    whole = lm.generate(ids := lm.tokenizer.encode("JULIET:"), max_new_tokens=12, eos_token_ids=[])
    cache = lm.make_cache(1)
    first = lm.generate(ids, max_new_tokens=5, eos_token_ids=[], cache=cache)
    lm.save(cache, tmp_path / "states", [ids + first[:-1]])
    other = lm.make_cache(1)
    assert lm.load(other, tmp_path / "states") == [ids + first[:-1]]
    assert first + lm.generate(first[-1:], max_new_tokens=7, eos_token_ids=[], cache=other) == whole
    with pytest.raises(FileNotFoundError):
        lm.load(other, tmp_path / "none")


def test_models_by_hub_id(model_folder, tmp_path, monkeypatch):
    """From the hub's cache; the download itself is tested in tests/hub."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    repository = tmp_path / "models--someone--mamba-tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text("a" * 40)
    (repository / "snapshots").mkdir()
    (repository / "snapshots" / ("a" * 40)).symlink_to(model_folder)
    lm = ophis.LM.from_pretrained("someone/mamba-tiny", dtype="float32")
    assert lm.generate("JULIET:", max_new_tokens=4)
    with pytest.raises(ophis.Error, match="someone/other"):
        ophis.LM.from_pretrained("someone/other")


def test_stream(lm):
    text = lm.generate("JULIET:", max_new_tokens=12)
    pieces = list(lm.generate("JULIET:", max_new_tokens=12, stream=True))
    assert len(pieces) > 1 and "".join(pieces) == text
    several = list(lm.generate(["JULIET:", "ROMEO:"], max_new_tokens=5, stream=True))
    assert "".join(piece for i, piece in several if i == 1) == lm.generate("ROMEO:", max_new_tokens=5)
    ids = lm.tokenizer.encode("JULIET:")
    assert list(lm.generate(ids, max_new_tokens=5, stream=True)) == lm.generate(ids, max_new_tokens=5)


def test_closing_a_stream_stops_the_generation(lm):
    stream = lm.generate("JULIET:", max_new_tokens=10**6, eos_token_ids=[], stream=True)
    next(stream)
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "ophis-generate"]


def test_errors_reach_the_reader_of_a_stream(lm):
    with pytest.raises(ValueError, match="token 999999 is outside the vocabulary"):
        next(lm.generate([999999], stream=True))


def test_forward_and_steps(lm):
    ids = np.array([lm.tokenizer.encode("Shall I compare thee to a summer's day?")])
    output = lm(ids, labels=ids, output_hidden_states=True)
    assert output.logits.shape == (*ids.shape, lm.config["vocab_size"]) and output.logits.dtype == np.float32
    assert len(output.hidden_states) == lm.config["n_layer"] + 1
    log = output.logits[0, :-1] - np.log(np.exp(output.logits[0, :-1]).sum(-1, keepdims=True))
    assert output.loss == pytest.approx(-np.take_along_axis(log, ids[0, 1:, None], -1).mean(), rel=1e-4)
    cache = lm.make_cache(1)
    lm.forward(ids[:, :4], cache=cache, logits_to_keep=1)
    fork = lm.copy(cache)
    for t in range(4, ids.shape[1]):
        np.testing.assert_allclose(lm.step(ids[:, t], cache), output.logits[:, t], rtol=1e-3, atol=1e-3)
    assert cache.seqlen == ids.shape[1]
    np.testing.assert_allclose(lm.step([int(ids[0, 4])], fork), output.logits[:, 4], rtol=1e-3, atol=1e-3)
    lm.reset(cache)
    assert cache.seqlen == 0 and not cache.layer(0)[1].any()


def test_the_states_of_a_cache_are_its_memory(lm):
    cache = lm.make_cache(1)
    ids = lm.tokenizer.encode("JULIET:")
    lm.forward([ids], cache=cache)
    conv, ssm = cache.layer(0)
    assert ssm.any()
    kept = [tuple(state.copy() for state in cache.layer(i)) for i in range(len(cache))]
    want = lm.step([5], cache)
    other = lm.make_cache(1)
    for i, states in enumerate(kept):
        for state, old in zip(other.layer(i), states):
            state[:] = old
    np.testing.assert_array_equal(lm.step([5], other), want)
    del cache
    gc.collect()
    assert np.isfinite(ssm).all()  # the view keeps the memory


def test_dtypes_and_progress(model_folder):
    seen = []
    lm = ophis.LM.from_pretrained(model_folder, dtype="bfloat16", progress=lambda done, total: seen.append((done, total)))
    assert lm.dtype == "bfloat16" and seen and seen[-1][0] == seen[-1][1]
    assert lm.forward([[1, 2]], output_hidden_states=True).hidden_states[-1].dtype == np.float32
    assert "bfloat16" in repr(lm)
    lm = ophis.LM.from_pretrained(model_folder, dtype=np.float32)
    assert lm.dtype == "float32" and lm.device == "cpu"


def test_what_a_callback_raises_arrives(model_folder):
    def fail(done, total):
        raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        ophis.LM.from_pretrained(model_folder, progress=fail)


@pytest.mark.parametrize("options", [{"quantize": "int8"}, {"quantize": "int4", "group_size": 64, "asymmetric": True},
                                     {"quantize": "int4", "quantize_tables": "int8", "group_size": 0}])
def test_quantized_weights(lm, model_folder, tmp_path, options):
    ids = [lm.tokenizer.encode("Shall I compare thee to a summer's day?")]
    quantized = ophis.LM.from_pretrained(model_folder, dtype="float32", **options)
    assert quantized.step_bytes < lm.step_bytes * (0.3 if "quantize_tables" in options else 0.9)
    logits, want = quantized.forward(ids).logits, lm.forward(ids).logits
    error = np.linalg.norm(logits - want) / np.linalg.norm(want)
    assert 1e-4 < error < (0.02 if options["quantize"] == "int8" else 0.15)
    rest = {name: value for name, value in options.items() if not name.startswith("quantize")}
    ophis.quantize(model_folder, tmp_path / "quantized", options["quantize"], tables=options.get("quantize_tables"), **rest)
    read = ophis.LM.from_pretrained(tmp_path / "quantized", dtype="float32")
    np.testing.assert_array_equal(read.forward(ids).logits, logits)
    assert read.step_bytes == quantized.step_bytes


def test_quantizing_by_a_calibration_text(model_folder, tmp_path):
    told = []
    text = (ROOT / "README.md").read_text()
    ophis.quantize(model_folder, tmp_path / "out", calibration_text=text, calibration_tokens=300,
                   progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] > 0
    plain = ophis.LM.from_pretrained(model_folder, quantize="int4")
    ids = [plain.tokenizer.encode("Shall I compare thee")]
    assert (ophis.LM.from_pretrained(tmp_path / "out").forward(ids).logits != plain.forward(ids).logits).any()

    def fail(done, total):
        raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        ophis.quantize(model_folder, tmp_path / "other", progress=fail)
    assert not (tmp_path / "other").exists()
    with pytest.raises(ValueError, match="int3"):
        ophis.LM.from_pretrained(model_folder, quantize="int3")
    with pytest.raises(ValueError, match="exists"):
        ophis.quantize(model_folder, tmp_path / "out")


def test_tokenizer(lm):
    tokenizer = lm.tokenizer
    ids = tokenizer.encode("naïve 😀 text")
    assert tokenizer.decode(ids) == "naïve 😀 text"
    decoder = ophis.StreamDecoder(tokenizer)
    assert "".join(decoder.push(each) for each in ids) + decoder.flush() == "naïve 😀 text"
    assert tokenizer.token_to_id(tokenizer.id_to_token(5)) == 5 and tokenizer.token_to_id("no such token") is None
    assert len(tokenizer) == tokenizer.vocab_size > 0


def test_errors(tmp_path, lm):
    with pytest.raises(FileNotFoundError, match="config.json"):
        ophis.LM.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ophis.errors.CorruptDataError, match="config.json"):
        ophis.LM.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "other"}))
    with pytest.raises(NotImplementedError, match="other"):
        ophis.LM.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="prompt is empty"):
        lm.generate("")
    with pytest.raises(ValueError, match="there is no prompt"):
        lm.generate([])
    with pytest.raises(ValueError, match="integers"):
        lm.forward([[1, 2], [3]])
    with pytest.raises(ValueError, match="layer is 99"):
        lm.make_cache(1).layer(99)
    with pytest.raises(ophis.Error, match="cuda|nonsense"):
        ophis.LM.from_pretrained(tmp_path, device="nonsense")


def test_random_weights():
    lm = ophis.LM.random("mamba2-130m", seed=1)
    assert lm.config["n_layer"] == 24
    assert ophis.LM.random("mamba2-130m", seed=1, quantize="int4").step_bytes < lm.step_bytes
    with pytest.raises(ValueError, match="tokenizer"):
        lm.tokenizer
    with pytest.raises(ValueError, match="mamba2-130m"):
        ophis.LM.random("no such model")
