"""State-space models: the Mamba and Mamba-2 language models, and their operations on numpy, torch and DLPack arrays.

>>> import ophis
>>> model = ophis.LM.from_pretrained("examples/models/mamba2-tiny")
>>> print(model.generate("JULIET:", max_new_tokens=60))

`ophis.ops` holds the operations, `ophis.torch` the functions of mamba_ssm and causal_conv1d for PyTorch, and
`ophis.errors` the exceptions. Nothing here needs PyTorch but `ophis.torch`.
"""

from ophis import errors, ops
from ophis._core import Cache, StreamDecoder, Tokenizer, __version__, backend, devices, num_threads
from ophis.errors import Error
from ophis.lm import LM, Generation, LMOutput, quantize

__all__ = ["LM", "LMOutput", "Generation", "Cache", "Tokenizer", "StreamDecoder", "Error", "errors", "ops", "quantize",
           "backend", "devices", "num_threads", "__version__"]
