"""Generation from a torch model, with the names, arguments and results of mamba_ssm.utils.generation."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ophis import _core
from ophis.lm import LM


@dataclass
class InferenceParams:
    """What the blocks remember: by the number of a layer its states, and how many positions they have seen."""

    max_seqlen: int
    max_batch_size: int
    seqlen_offset: int = 0
    batch_size_offset: int = 0
    key_value_memory_dict: dict = field(default_factory=dict)
    lengths_per_sample: Tensor | None = None

    def reset(self, max_seqlen: int, max_batch_size: int) -> None:
        self.max_seqlen, self.max_batch_size, self.seqlen_offset = max_seqlen, max_batch_size, 0
        if self.lengths_per_sample is not None:
            self.lengths_per_sample.zero_()


@dataclass
class GenerateDecoderOnlyOutput:
    """The result of a generation, where transformers, whose class of this name has the same fields, is not in use."""

    sequences: Tensor
    """(batch, length): the prompts and the new tokens"""
    scores: tuple[Tensor, ...] | None = None
    """(batch, vocab) for each new token: the logits it was chosen from, before penalties and filters"""
    logits: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    past_key_values: Any = None

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)


def _output_class() -> Any:
    """transformers' class for callers that use transformers; importing it for the others would take seconds."""
    if sys.modules.get("transformers") is not None:
        from transformers.generation import GenerateDecoderOnlyOutput as TransformersOutput

        return TransformersOutput
    return GenerateDecoderOnlyOutput


# The filters set the logits of tokens that are left out to -inf, in place. logits: (batch, vocab)

def modify_logits_for_top_k_filtering(logits: Tensor, top_k: int) -> None:
    """Keeps the top_k largest, and all that equal the last of them."""
    smallest_kept = logits.topk(top_k, dim=-1).values[..., -1:]
    logits.masked_fill_(logits < smallest_kept, -math.inf)


def modify_logits_for_top_p_filtering(logits: Tensor, top_p: float) -> None:
    """Keeps the most probable tokens that together reach top_p; all, unless it is between 0 and 1."""
    if not 0.0 < top_p < 1.0:
        return
    ordered, tokens = logits.float().sort(dim=-1, descending=True)
    probabilities = ordered.softmax(dim=-1)
    is_reached_before = probabilities.cumsum(dim=-1) - probabilities >= top_p
    is_reached_before[..., 0] = False
    logits.masked_fill_(torch.zeros_like(is_reached_before).scatter(-1, tokens, is_reached_before), -math.inf)


def modify_logits_for_min_p_filtering(logits: Tensor, min_p: float) -> None:
    """Keeps tokens at least min_p times as probable as the most probable one; all, unless it is between 0 and 1."""
    if 0.0 < min_p < 1.0:
        logits.masked_fill_(logits < logits.amax(dim=-1, keepdim=True) + math.log(min_p), -math.inf)


def modify_logit_for_repetition_penalty(logits: Tensor, prev_output_tokens: Tensor, repetition_penalty: float = 1.0) -> Tensor:
    """Divides positive logits of tokens that were there by the penalty and multiplies negative ones (arXiv:1909.05858), in
    place. prev_output_tokens: (batch, seqlen)"""
    if repetition_penalty != 1.0:
        seen = logits.gather(-1, prev_output_tokens)
        logits.scatter_(-1, prev_output_tokens, torch.where(seen > 0, seen / repetition_penalty, seen * repetition_penalty))
    return logits


def sample(logits: Tensor, top_k: int = 1, top_p: float = 0.0, min_p: float = 0.0, temperature: float = 1.0) -> Tensor:
    """A token of each row of logits (batch, vocab), by torch's random numbers: of the top_k (0: all; 1: no draw), of these by
    temperature those that reach top_p (0: all), of these those that reach min_p."""
    if top_k == 1 or temperature == 0.0:
        return logits.argmax(dim=-1)
    assert top_p <= 1.0, f"top_p is {top_p}, but must be at most 1"
    kept = logits.float() / temperature  # a copy: the caller's logits stay as they are
    if top_k > 0:
        modify_logits_for_top_k_filtering(kept, min(top_k, kept.shape[-1]))
    modify_logits_for_top_p_filtering(kept, top_p)
    modify_logits_for_min_p_filtering(kept, min_p)
    return torch.multinomial(kept.softmax(dim=-1), num_samples=1).squeeze(dim=-1)


class _ModuleSteps:
    """The logits (batch, vocab) after the prompts, then after each further token of them, by a model's forward."""

    def __init__(self, model: Any, batch: int, max_length: int):
        self.model = model
        self.params = InferenceParams(max_seqlen=max_length, max_batch_size=batch)

    def __call__(self, tokens: Tensor) -> Tensor:
        """tokens: (batch, seqlen), then (batch, 1)"""
        seen = self.params.seqlen_offset
        position_ids = torch.full((tokens.shape[0], 1), seen, device=tokens.device) if seen > 0 else None
        logits = self.model(tokens, position_ids=position_ids, inference_params=self.params, num_last_tokens=1).logits
        self.params.seqlen_offset += tokens.shape[1]
        return logits.squeeze(1)


class _FusedSteps:
    """The same by ophis.LM; on a GPU each step is one recorded graph, on the stream that is torch's current one."""

    def __init__(self, lm: LM, batch: int, device: torch.device):
        self.lm, self.cache, self.dtype = lm, lm.make_cache(batch), getattr(torch, lm.dtype)
        stream = torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else None
        self.stepper = _core.Stepper(lm._model, self.cache, stream)
        self.ids, self.logits = self.stepper.ids("torch"), self.stepper.logits("torch")

    def __call__(self, tokens: Tensor) -> Tensor:
        if self.cache.seqlen == 0:
            return self.lm.forward(tokens, cache=self.cache, logits_to_keep=1).logits[:, 0].to(self.dtype)
        self.ids.copy_(tokens[:, 0])
        self.stepper.run()
        return self.logits.to(self.dtype, copy=True)


_streams = threading.local()


@contextmanager
def _own_stream(device: torch.device) -> Iterator[None]:
    """A stream of the thread's own: it can be recorded, which torch's default one cannot."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.synchronize(device)
    if (streams := vars(_streams)).get(str(device)) is None:
        streams[str(device)] = torch.cuda.Stream(device)
    with torch.cuda.stream(streams[str(device)]):
        try:
            yield
        finally:
            torch.cuda.current_stream(device).synchronize()


@torch.inference_mode()
def decode(input_ids, model, max_length, top_k=1, top_p=0.0, min_p=0.0, temperature=1.0, repetition_penalty=1.0,
           eos_token_id=None, teacher_outputs=None, vocab_size=None, cg=False, enable_timing=False, output_scores=False,
           streamer=None):
    """Continues prompts of one length, input_ids (batch, seqlen), up to max_length tokens, or until all have drawn eos_token_id
    in one step. `sample` tells of the filters.

    teacher_outputs: (batch, seqlen), the tokens to take instead as far as they go. vocab_size: logits beyond it are left out.
    enable_timing prints the time. streamer: has put(tokens) and end(), as transformers' TextStreamer.

    A model whose as_lm() gives an ophis.LM runs on it, and steps on a GPU are recorded as graphs, whether or not cg asks for
    them; others run by their forward.
    """
    if streamer is not None:
        streamer.put(input_ids.cpu())
    start = _now(input_ids.device) if enable_timing else 0.0
    batch, prompt_length = input_ids.shape
    lm = model.as_lm() if isinstance(model, GenerationMixin) else None
    sequences, new, scores = input_ids, input_ids, []
    with _own_stream(input_ids.device):
        steps = (_ModuleSteps(model, batch, max(max_length, prompt_length)) if lm is None
                 else _FusedSteps(lm, batch, input_ids.device))
        while True:
            logits = steps(new)[..., :vocab_size]
            if output_scores:
                scores.append(logits.clone())
            seen = sequences.shape[1]
            if teacher_outputs is not None and seen < teacher_outputs.shape[1]:
                token = teacher_outputs[:, seen]
            else:
                logits = modify_logit_for_repetition_penalty(logits, sequences, repetition_penalty)
                token = sample(logits, top_k, top_p, min_p, temperature)
            new = token.unsqueeze(1)
            sequences = torch.cat([sequences, new], dim=1)
            if streamer is not None:
                streamer.put(new.cpu())
            if seen >= max_length - 1 or (eos_token_id is not None and bool((new == eos_token_id).all())):
                break
    if streamer is not None:
        streamer.end()
    if enable_timing:
        print(f"Prompt processing + decoding time: {1e3 * (_now(input_ids.device) - start):.0f}ms")
    return _output_class()(sequences=sequences, scores=tuple(scores))


def _now(device: torch.device) -> float:
    """Seconds, when the device has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


class GenerationMixin:
    """generate() for a model whose forward takes inference_params and num_last_tokens."""

    def allocate_inference_cache(self, batch_size, max_seqlen, dtype=None, **kwargs):
        raise NotImplementedError

    def as_lm(self) -> LM | None:
        """An ophis.LM that computes what this model does, if there is one."""
        return None

    def generate(self, input_ids, max_length, top_k=1, top_p=0.0, min_p=0.0, temperature=1.0, return_dict_in_generate=False,
                 output_scores=False, **kwargs):
        """`decode`, whose further arguments are taken too. Returns the sequences (batch, length), or with
        return_dict_in_generate a GenerateDecoderOnlyOutput, with its scores if output_scores."""
        output = decode(input_ids, self, max_length, top_k=top_k, top_p=top_p, min_p=min_p, temperature=temperature,
                        output_scores=output_scores, **kwargs)
        if not output_scores:
            output.scores = None
        return output if return_dict_in_generate else output.sequences
