"""GGUF files that llama.cpp's own Python package writes."""

import sys
from pathlib import Path

import numpy as np
import ophis
import pytest

pytest.importorskip("gguf")
sys.path.append(str(Path(__file__).resolve().parents[1] / "data"))
import make_gguf  # noqa: E402

IDS = [[(37 * i * i) % 4096 for i in range(24)]]


def logits(model):
    return ophis.LM.from_pretrained(model, dtype="float32").forward(IDS).logits


@pytest.mark.parametrize("type_name", ["F32", "BF16"])
def test_lossless_types(model_folder, tmp_path, type_name):
    file = tmp_path / "model.gguf"
    make_gguf.write_model(model_folder, file, type_name)
    # numpy's exponential of A_log is not ours to the last bit.
    np.testing.assert_allclose(logits(file), logits(model_folder), atol=1e-4)
    original, converted = ophis.LM.from_pretrained(model_folder), ophis.LM.from_pretrained(tmp_path)
    assert converted.generate("JULIET:", max_new_tokens=24) == original.generate("JULIET:", max_new_tokens=24)
    assert converted.tokenizer.encode("It's 12345 <|endoftext|>\n\n  x") == original.tokenizer.encode("It's 12345 <|endoftext|>\n\n  x")


@pytest.mark.parametrize("type_name", ["F16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_other_types(model_folder, tmp_path, type_name):
    files = tmp_path / "model.gguf", tmp_path / "dequantized.gguf"
    for file in files:
        make_gguf.write_model(model_folder, file, type_name, dequantize=file == files[1])
    given, wanted = map(logits, files)
    np.testing.assert_allclose(given, wanted, atol=2e-4)
    assert np.abs(wanted - logits(model_folder)).max() > (1e-3 if type_name.startswith("Q") else 0)
