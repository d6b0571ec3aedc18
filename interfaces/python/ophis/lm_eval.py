"""Ophis models for lm-eval (lm-evaluation-harness): `--model ophis` once this module is imported.

    python -m ophis.lm_eval --model ophis --model_args pretrained=path/to/model,batch_size=8 --tasks lambada_openai
"""

from __future__ import annotations

from typing import Any

import numpy
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import Collator
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from ophis import ops
from ophis.lm import LM


@register_model("ophis")
class OphisLM(TemplateLM):
    """loglikelihood, loglikelihood_rolling and generate_until, in batches of `batch_size` texts of like length.

    pretrained: a model's folder or hub id. device, dtype, quantize, quantize_tables, group_size, asymmetric: as
    LM.from_pretrained takes them. max_length: tokens of a context and its
    continuation that are looked at; longer ones lose their beginning. max_gen_toks: new tokens where a task names no number.
    """

    def __init__(self, pretrained: str, device: str | None = None, dtype: str | None = None, batch_size: int | str = 1,
                 max_length: int = 2048, max_gen_toks: int = 256, quantize: str | None = None,
                 quantize_tables: str | None = None, group_size: int = 128, asymmetric: bool = False, **_: Any):
        super().__init__()
        self.lm = LM.from_pretrained(pretrained, device=device or "cpu", dtype=None if dtype in (None, "auto") else dtype,
                                     quantize=quantize, quantize_tables=quantize_tables, group_size=group_size,
                                     asymmetric=asymmetric)
        self.batch_size = 1 if batch_size == "auto" else int(batch_size)
        self.max_length = int(max_length)
        self.max_gen_toks = int(max_gen_toks)

    @property
    def eot_token_id(self) -> int:
        return self.lm.config["eos_token_ids"][0] if self.lm.config["eos_token_ids"] else self.lm.config["bos_token_id"]

    @property
    def tokenizer_name(self) -> str:
        return ""

    def tok_encode(self, string: str, **_: Any) -> list[int]:
        return self.lm.tokenizer.encode(string, add_special_tokens=False)

    def _loglikelihood_tokens(self, requests: list[tuple[Any, list[int], list[int]]], disable_tqdm: bool = False,
                              **_: Any) -> list[tuple[float, bool]]:
        """For each (key, context, continuation) the continuation's log likelihood, and whether greedy choice gives it."""
        results: list[tuple[float, bool]] = []
        order = Collator(requests, sort_fn=lambda request: -len(request[1]) - len(request[2]))
        for batch in order.get_batched(n=self.batch_size):
            rows = [(context + continuation)[-self.max_length - 1:] for _, context, continuation in batch]
            logits = self._logits([row[:-1] for row in rows])
            for (key, _, continuation), row, row_logits in zip(batch, rows, logits):
                count = min(len(continuation), len(row) - 1)
                labels = numpy.asarray(row[-count:], dtype=numpy.int64)
                kept = row_logits[-count:]
                answer = (-float(ops.cross_entropy(kept, labels).sum()), bool((ops.argmax(kept) == labels).all()))
                if key is not None:
                    self.cache_hook.add_partial("loglikelihood", key, answer)
                results.append(answer)
        return order.get_original(results)

    def _logits(self, rows: list[list[int]]) -> numpy.ndarray:
        """(batch, longest, vocab_size), of rows padded on the left."""
        longest = max(map(len, rows))
        ids = numpy.zeros((len(rows), longest), dtype=numpy.int64)
        mask = numpy.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, longest - len(row):] = row
            mask[i, longest - len(row):] = 1
        return self.lm.forward(ids, attention_mask=None if mask.all() else mask).logits

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Of whole texts, in windows of max_length tokens whose contexts do not overlap."""
        windows: list[tuple[int, tuple[Any, list[int], list[int]]]] = []
        for i, request in enumerate(requests):
            pieces = get_rolling_token_windows(token_list=self.tok_encode(request.args[0]), prefix_token=self.prefix_token_id,
                                               max_seq_len=self.max_length, context_len=1)
            windows += [(i, (None, *window)) for window in map(make_disjoint_window, pieces)]
        answers = self._loglikelihood_tokens([window for _, window in windows])
        totals = [0.0] * len(requests)
        for (i, _), (value, _) in zip(windows, answers):
            totals[i] += value
        for request, total in zip(requests, totals):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Continuations that end before the first of a task's stop strings; greedy unless the task samples."""
        results: list[str] = []
        order = Collator([request.args for request in requests], sort_fn=lambda args: -len(args[0]),
                         group_by="gen_kwargs", group_fn=lambda args: args[1])
        for batch in order.get_batched(n=self.batch_size):
            options = dict(batch[0][1])
            sampling = {name: options[name] for name in ("top_k", "top_p", "min_p") if name in options}
            temperature = options.get("temperature", 1.0) if options.get("do_sample") else 0.0
            prompts = [self.tok_encode(context)[-self.max_length:] or [self.prefix_token_id] for context, _ in batch]
            ids = self.lm.generate(prompts, int(options.get("max_gen_toks", self.max_gen_toks)), temperature=temperature,
                                   stop=_strings(options.get("until")), **sampling)
            texts = self.lm.last.texts or [self.lm.tokenizer.decode(each, True) for each in ids]
            for args, text in zip(batch, texts):
                self.cache_hook.add_partial("generate_until", args, text)
                results.append(text)
        return order.get_original(results)


def _strings(until: Any) -> list[str]:
    strings = [until] if isinstance(until, str) else list(until or [])
    return [each for each in strings if each]


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
