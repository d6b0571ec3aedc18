"""Models, tokenizers and generation."""

import gc
import json
import threading

import numpy as np
import ophis
import pytest


@pytest.fixture
def lm(model_folder):
    return ophis.LM.from_pretrained(model_folder, dtype="float32")


def test_generate(lm):
    text = lm.generate("JULIET:", max_new_tokens=12)
    assert isinstance(text, str) and text
    assert lm.stats.prompt_tokens == len(lm.tokenizer.encode("JULIET:")) and lm.stats.decode_seconds > 0
    ids = lm.generate(lm.tokenizer.encode("JULIET:"), max_new_tokens=12)
    assert lm.tokenizer.decode(ids, True) == text
    texts = lm.generate(["JULIET:", "Shall I compare thee"], max_new_tokens=12)
    assert texts[0] == text and len(texts) == 2
    assert lm.generate([lm.tokenizer.encode("JULIET:")], max_new_tokens=12) == [ids]
    assert lm.generate("JULIET:", max_new_tokens=12, eos_token_ids=[ids[3]]) == lm.tokenizer.decode(ids[:4], True)


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
    with pytest.raises(ValueError, match="tokenizer"):
        lm.tokenizer
    with pytest.raises(ValueError, match="mamba2-130m"):
        ophis.LM.random("no such model")
