"""Language models."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from os import PathLike, fspath
from typing import Any

from ophis import _core
from ophis._core import Cache, Tokenizer
from ophis.errors import InvalidArgumentError


@dataclass
class LMOutput:
    """What a forward pass gives: torch tensors on the model's device if the ids came in one, else numpy arrays."""

    logits: Any
    """(batch, kept, vocab_size) float32"""
    loss: float | None = None
    """mean over the labels that count, in nats; with labels"""
    hidden_states: tuple[Any, ...] = ()
    """n_layer + 1 of (batch, seqlen, d_model), with output_hidden_states; bfloat16 is float32 in numpy"""


@dataclass
class Generation:
    """What a generation gave: of each sequence, num_return_sequences of the first prompt, then those of the second, ..."""

    ids: list[list[int]]
    """the new tokens; the one that ended a sequence is its last"""
    texts: list[str]
    """the new text, cut before a stop string; empty where the prompts were ids and there are no stop strings"""
    finished: list[str]
    """why it ended: "length", "eos", "stop" or "cancelled" """
    logprobs: list[list[float]]
    """with logprobs: of each token the logarithm of its probability, by the model's softmax alone"""
    top_logprobs: list[list[list[tuple[int, float]]]]
    """with top_logprobs: for each token the most probable ones at its place and their logarithms, the first of them first"""
    prompt_tokens: int
    steps: int
    prefill_seconds: float
    decode_seconds: float


@dataclass
class _Request:
    """The prompts of one call as ids, and how the answer looks."""

    ids: list[list[int]]
    is_single: bool
    is_text: bool


class LM:
    """A Mamba or Mamba-2 language model with its tokenizer. Several threads may use one at once."""

    def __init__(self, model: _core.LanguageModel, folder: str | None = None):
        self._model = model
        self._folder = folder
        self._tokenizer: Tokenizer | None = None
        self.last: Generation | None = None
        """The last generation, with its log probabilities and times."""

    @classmethod
    def from_pretrained(cls, name: str | PathLike[str], *, device: str = "cpu", dtype: str | None = None,
                        quantize: str | None = None, quantize_tables: str | None = None, group_size: int = 128,
                        asymmetric: bool = False, revision: str = "", progress: Callable[[int, int], None] | None = None,
                        download_progress: Callable[[str, int, int], None] | None = None) -> LM:
        """Reads config.json, the weights and tokenizer.json of a model.

        `name`: a folder, of Hugging Face's or mamba_ssm's layout, with safetensors or pytorch_model.bin; a GGUF file; or the id of
        a model on the Hugging Face hub, such as "state-spaces/mamba-130m-hf", of a `revision`: it is taken from the hub's local cache,
        or else downloaded into it. `device`: "cpu", "cuda", "cuda:1". `dtype`: "float32", "bfloat16" or "float16"; None: as the
        checkpoint says. `progress` is told the bytes read and the bytes in all, `download_progress` a file and its bytes.

        `quantize`: "int8" or "int4" quantizes the projections of all blocks as they are loaded, `quantize_tables` the head, and
        the embedding where it is the same table; `group_size` inputs (0: a whole row) share a scale, and with `asymmetric` a
        zero point. Weights that are quantized in the checkpoint stay as they are. ophis.quantize writes such a model to a folder.

        Raises NotFoundError, CorruptDataError or UnsupportedError that names the file or parameter.
        """
        folder = _core.resolve_model(fspath(name), revision, False, download_progress)
        model = _core.LanguageModel.load(folder, device, None if dtype is None else _dtype_name(dtype), quantize,
                                         quantize_tables, group_size, asymmetric, progress)
        return cls(model, folder)

    @classmethod
    def random(cls, name: str, *, device: str = "cpu", dtype: str = "float32", seed: int = 0, quantize: str | None = None,
               quantize_tables: str | None = None, group_size: int = 128, asymmetric: bool = False) -> LM:
        """A published model's shape, such as "mamba2-130m", with random weights, quantized as from_pretrained does it."""
        return cls(_core.LanguageModel.random(name, device, _dtype_name(dtype), seed, quantize, quantize_tables, group_size,
                                              asymmetric))

    @classmethod
    def from_module(cls, module: Any) -> LM:
        """The model that a torch module is: MambaLMHeadModel of ophis.torch or mamba_ssm, or MambaForCausalLM or Mamba2ForCausalLM
        of transformers, on its device and in its dtype.

        The weights of linear layers and the embedding are shared with the module, and follow it where it changes them in place;
        norms, convolutions and the scan's parameters are copied as they are now. It has no tokenizer until one is assigned.

        Raises UnsupportedError that names what ophis.LM cannot do, such as layers of attention.
        """
        config = module.config
        text = config.to_json_string(use_diff=False) if hasattr(config, "to_json_string") else json.dumps(asdict(config))
        tensors = module.state_dict()
        table = tensors["lm_head.weight"]
        is_matrix = lambda name, tensor: tensor.dim() == 2 and name.endswith(".weight")  # noqa: E731
        parameters = {
            name: (tensor.detach().to(table.device, table.dtype).contiguous() if is_matrix(name, tensor)
                   else tensor.detach().float().cpu()) for name, tensor in tensors.items()}
        return cls(_core.LanguageModel.from_parameters(text, parameters, str(table.device), _dtype_name(table.dtype)))

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the model's folder, read at the first use."""
        if self._tokenizer is None:
            if self._folder is None:
                raise InvalidArgumentError("tokenizer: a model with random weights has none; assign one")
            self._tokenizer = Tokenizer.from_file(self._folder)
        return self._tokenizer

    @tokenizer.setter
    def tokenizer(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    @property
    def config(self) -> dict[str, Any]:
        """The configuration, with mamba_ssm's names."""
        return self._model.config

    @property
    def dtype(self) -> str:
        """Of weights and activations."""
        return self._model.dtype

    @property
    def device(self) -> str:
        """Where the model computes."""
        return self._model.device

    @property
    def step_bytes(self) -> int:
        """Bytes of the parameters that a step of generation reads: of all but an embedding that is not the head as well."""
        return self._model.step_bytes

    def __repr__(self) -> str:
        config = self.config
        return (f"LM({config['model_type']}, {config['n_layer']} layers of {config['d_model']}, "
                f"vocabulary of {config['vocab_size']}, {self.dtype}, {self.device})")

    def make_cache(self, batch: int = 1, state_dtype: str = "float32") -> Cache:
        """States of zeros for `batch` sequences; `state_dtype`, of the recurrent states, is float32 or the model's."""
        return self._model.make_cache(batch, _dtype_name(state_dtype))

    def reset(self, cache: Cache) -> None:
        """Makes a cache forget all positions."""
        self._model.reset(cache)

    def copy(self, cache: Cache) -> Cache:
        """A cache with the same states, so that one prompt may be continued in several ways."""
        state_dtype = _core.dtype_of(cache.layer(0)[1]) if len(cache) else "float32"
        result = self._model.make_cache(cache.batch, state_dtype)
        self._model.copy_cache(cache, result)
        return result

    def forward(self, input_ids: Any = None, *, inputs_embeds: Any = None, attention_mask: Any = None, labels: Any = None,
                cache: Cache | None = None, logits_to_keep: int = 0, output_hidden_states: bool = False) -> LMOutput:
        """All positions at once.

        input_ids: (batch, seqlen), an integer array or nested lists; or inputs_embeds: (batch, seqlen, d_model).
        attention_mask: (batch, seqlen), 0 for left padding. labels: (batch, seqlen) int64, for the loss of
        logits[:, l] against labels[:, l + 1]; -100 is passed over. With a cache the sequences go on from its states,
        which are advanced. logits_to_keep: logits of the last so many positions; 0: of all.
        """
        given = inputs_embeds if input_ids is None else input_ids
        library = "torch" if _core.library_of(given) == "torch" else "numpy"
        logits, loss, hidden_states = self._model.forward(
            _integers(input_ids), inputs_embeds, _integers(attention_mask), _integers(labels), cache, logits_to_keep,
            output_hidden_states, library)
        return LMOutput(logits, loss, hidden_states)

    __call__ = forward

    def step(self, ids: Any, cache: Cache) -> Any:
        """The logits (batch, vocab_size) after one more token of each sequence, ids (batch); advances the cache."""
        library = "torch" if _core.library_of(ids) == "torch" else "numpy"
        return self._model.step(_integers(ids), cache, library)

    def save(self, cache: Cache, path: str | PathLike[str], tokens: Sequence[Sequence[int]] = ()) -> None:
        """Writes the states to a file, bit for bit, with the tokens of each sequence that they have seen."""
        self._model.save_cache(cache, fspath(path), [list(each) for each in tokens])

    def load(self, cache: Cache, path: str | PathLike[str]) -> list[list[int]]:
        """Reads the states of such a file into a cache of the same batch and dtype; returns the tokens."""
        return self._model.load_cache(cache, fspath(path))

    def generate(self, prompt: Any, max_new_tokens: int = 128, *, stream: bool = False, temperature: float = 0.0,
                 top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0, repetition_penalty: float = 1.0,
                 presence_penalty: float = 0.0, frequency_penalty: float = 0.0, seed: int = 0, num_return_sequences: int = 1,
                 stop: str | Sequence[str] = (), logprobs: bool = False, top_logprobs: int = 0,
                 eos_token_ids: Sequence[int] | None = None, state_dtype: str | None = None, cache: Cache | None = None,
                 history: Sequence[Sequence[int]] = ()) -> Any:
        """Continues a prompt, or each of a list of prompts.

        prompt: a text, or a list of token ids; or a list of texts or of lists of ids, of any lengths.
        Returns the new text, or for ids the list of new ids; a list of those for a list of prompts or several
        num_return_sequences. `last` then has them all, why each ended, and with `logprobs` the tokens' log probabilities, with
        `top_logprobs` those of so many of the most probable tokens at each place.

        A sequence ends after max_new_tokens, with one of eos_token_ids (None: the model's own; []: none), or where one of the
        `stop` strings is complete in its text, which is cut before it.

        With temperature 0 the most probable token is taken; else tokens are drawn from the top_k (0: all) most probable ones,
        of them those that reach top_p (1: all), of them those at least min_p times as probable as the first; the same for the
        same seed. Penalties are those of transformers (repetition) and OpenAI (presence, frequency).

        With `stream` an iterator comes back at once that yields the pieces as they are made: text (or ids) of a single
        sequence, (number of the sequence, piece) of several. Closing it stops the generation.

        With `cache` the prompts go on from its states; `history` tells what it has seen, for the repetition penalty.
        """
        options: dict[str, Any] = {
            "max_new_tokens": max_new_tokens, "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p,
            "repetition_penalty": repetition_penalty, "presence_penalty": presence_penalty,
            "frequency_penalty": frequency_penalty, "seed": seed, "num_return_sequences": num_return_sequences,
            "stop": [stop] if isinstance(stop, str) else list(stop), "logprobs": logprobs,
            "top_logprobs": top_logprobs,
            "history": [list(each) for each in history]}
        if eos_token_ids is not None:
            options["eos_token_ids"] = list(eos_token_ids)
        if state_dtype is not None:
            options["state_dtype"] = _dtype_name(state_dtype)
        request = self._request(prompt)
        request.is_single = request.is_single and num_return_sequences == 1
        arguments = (self._model, request.ids, options, self.tokenizer if request.is_text or options["stop"] else None, cache)
        if stream:
            return self._stream(request.is_single, request.is_text, arguments)
        self.last = Generation(**_core.generate(*arguments))
        result = self.last.texts if request.is_text else self.last.ids
        return result[0] if request.is_single else result

    def _request(self, prompt: Any) -> _Request:
        if isinstance(prompt, str):
            return _Request([self.tokenizer.encode(prompt)], True, True)
        prompts = list(prompt)
        if prompts and all(isinstance(each, str) for each in prompts):
            return _Request([self.tokenizer.encode(each) for each in prompts], False, True)
        if prompts and all(hasattr(each, "__index__") for each in prompts):
            return _Request([[int(each) for each in prompts]], True, False)
        return _Request([[int(each) for each in ids] for ids in prompts], False, False)

    def _stream(self, is_single: bool, is_text: bool, arguments: tuple[Any, ...]) -> Iterator[Any]:
        """Runs the generation in a thread of its own, and yields what it sends."""
        pieces: queue.SimpleQueue[Any] = queue.SimpleQueue()
        is_closed = threading.Event()

        def on_piece(sequence: int, piece: Any) -> bool:
            pieces.put((sequence, piece))
            return not is_closed.is_set()

        def run() -> None:
            try:
                self.last = Generation(**_core.generate(*arguments, **{"on_text" if is_text else "on_token": on_piece}))
                pieces.put(None)
            except BaseException as error:  # handed to the thread that reads
                pieces.put(error)

        thread = threading.Thread(target=run, name="ophis-generate", daemon=True)
        thread.start()
        try:
            while (item := pieces.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item[1] if is_single else item
        finally:
            is_closed.set()
            thread.join()


def quantize(name: str | PathLike[str], out: str | PathLike[str], format: str | None = "int4", *, tables: str | None = None,
             group_size: int = 128, asymmetric: bool = False, calibration_text: str = "", calibration_tokens: int = 8192,
             revision: str = "", progress: Callable[[int, int], None] | None = None,
             download_progress: Callable[[str, int, int], None] | None = None) -> None:
    """Writes the model `name`, a folder or a hub id, with quantized weights to the folder `out`, which must not exist.

    `format`, of the blocks' projections, and `tables`, of the head and an embedding that is the same, are "int8", "int4" or None:
    as they are. `group_size` and `asymmetric` are those of LM.from_pretrained, which reads the folder. With `calibration_text`
    the model is run over at most `calibration_tokens` of it, and weights are rounded so that the outputs change least (GPTQ).
    `progress` is told the bytes of weights done and in all. The folder appears whole or not at all.
    """
    folder = _core.resolve_model(fspath(name), revision, False, download_progress)
    _core.quantize(folder, fspath(out), format, tables, group_size, asymmetric, calibration_text, calibration_tokens, progress)


def _dtype_name(dtype: Any) -> str:
    """"float32" of "float32", numpy.float32, torch.float32 and their like."""
    if isinstance(dtype, str):
        return dtype
    return getattr(dtype, "__name__", str(dtype)).removeprefix("torch.")


def _integers(values: Any) -> Any:
    """Nested lists, and arrays of other integers than int32 and int64, as int64 arrays of numpy; others as they are."""
    if values is None:
        return None
    import numpy

    if isinstance(values, (list, tuple)):
        try:
            values = numpy.asarray(values)
            if values.size > 0 and values.dtype.kind not in "iu":
                raise ValueError(f"their dtype is {values.dtype}")
        except ValueError as error:
            raise InvalidArgumentError(f"token ids must be integers, as many in every sequence: {error}") from error
    is_converted = isinstance(values, numpy.ndarray) and values.dtype not in (numpy.int32, numpy.int64)
    return values.astype(numpy.int64) if is_converted and values.dtype.kind in "iub" else values
