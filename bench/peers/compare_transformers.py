#!/usr/bin/env python3
"""Measures transformers' Mamba and Mamba-2 on the CPU with ophis.torch's kernels beside its own, in one process.

Shapes of mamba-130m and mamba2-130m, random weights, float32. Runs of the two alternate, and medians are compared, so that
both see the same machine. Linear layers are torch's in both. Logits of both are compared with the model's own in float64.
"""

import argparse
import statistics
import time

import ophis.torch
import torch
import transformers
from transformers import Mamba2Config, Mamba2ForCausalLM, MambaConfig, MambaForCausalLM


def make_model(name, layers):
    torch.manual_seed(0)
    shape = {"hidden_size": 768, "num_hidden_layers": layers, "initializer_range": 0.02}
    if name == "mamba-130m":
        return MambaForCausalLM(MambaConfig(vocab_size=50280, state_size=16, **shape)).eval()
    return Mamba2ForCausalLM(Mamba2Config(vocab_size=50288, state_size=128, num_heads=24, head_dim=64, n_groups=1, expand=2,
                                          **shape)).eval()


clock = time.perf_counter


def timed(work):
    start = clock()
    work()
    return clock() - start


def alternate(work, runs):
    """Median seconds of work by transformers itself and with ophis, in turns."""
    seconds = {False: [], True: []}
    for run in range(runs + 1):
        for is_ours in (False, True):
            ophis.torch.install() if is_ours else ophis.torch.uninstall()
            seconds[is_ours].append(work())
    ophis.torch.uninstall()
    return tuple(statistics.median(each[1:]) for each in seconds.values())  # the first warms up


def decode_seconds(model, ids, steps):
    """Seconds a token of greedy generation after the prompt, without the prefill."""
    cache = model(ids, use_cache=True, logits_to_keep=1).cache_params
    token = ids[:, -1:]

    def steps_():
        for _ in range(steps):
            model(token, cache_params=cache, use_cache=True)

    return timed(steps_) / steps


def largest_errors(model, ids):
    """Of the logits of both against the float64 model's, relative to its largest."""
    own = model(ids).logits
    ophis.torch.install()
    ours = model(ids).logits
    ophis.torch.uninstall()
    exact = model.double()(ids).logits
    model.float()
    scale = exact.abs().max()
    return [((logits - exact).abs().max() / scale).item() for logits in (own, ours)] + [((own - ours).abs().max() / scale).item()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["mamba-130m", "mamba2-130m"])
    parser.add_argument("--lengths", nargs="+", type=int, default=[128, 512, 2048])
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--cpu-time", action="store_true", help="seconds of the processor, for a busy machine; with one thread")
    options = parser.parse_args()
    if options.cpu_time:
        global clock
        clock = time.process_time
        torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    transformers.logging.set_verbosity_error()
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, ophis {ophis.__version__}, "
          f"{torch.get_num_threads()} threads, float32, {options.layers} layers; medians of {options.runs}"
          + (", seconds of the processor" if options.cpu_time else ""))
    for name in options.models:
        model = make_model(name, options.layers)
        for length in options.lengths:
            ids = torch.randint(0, 50000, (1, length))
            own, ours = alternate(lambda: timed(lambda: model(ids, use_cache=True, logits_to_keep=1)), options.runs)  # noqa: B023
            print(f"{name} prefill of {length}: own {own:.3f} s, ophis {ours:.3f} s: {own / ours:.2f} times as fast")
        own, ours = alternate(lambda: decode_seconds(model, ids[:, :16], options.steps), options.runs)  # noqa: B023
        print(f"{name} decode: own {own * 1e3:.1f} ms a token, ophis {ours * 1e3:.1f} ms: {own / ours:.2f} times as fast")
        own, ours, apart = largest_errors(model, torch.randint(0, 50000, (1, 64)))
        print(f"{name} logits, relative to the largest: own {own:.1e} from float64, ophis {ours:.1e}, {apart:.1e} from each other")


if __name__ == "__main__":
    main()
