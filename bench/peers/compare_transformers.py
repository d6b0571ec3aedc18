#!/usr/bin/env python3
"""Measures transformers' Mamba and Mamba-2 on the CPU with ophis.torch's kernels beside its own, in one process.

Shapes of mamba-130m and mamba2-130m, random weights, float32. Linear layers are torch's in both: they are run alone, too, as the
floor of what other kernels can reach, and so is the whole model by ophis.LM over the same weights. Runs of the four alternate,
and medians are compared, so that all see the same machine. Logits are compared with the model's own in float64.
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


def alternate(works, runs):
    """Median results of each of several works, in turns, so that all see the same machine."""
    results = [[] for _ in works]
    for _ in range(runs + 1):
        for work, result in zip(works, results):
            result.append(work())
    return [statistics.median(each[1:]) for each in results]  # the first warms up


def with_ophis(work):
    ophis.torch.install()
    try:
        return work()
    finally:
        ophis.torch.uninstall()


def linear_layers(model, run):
    """A function that does the linear layers of one run of the model, and nothing else."""
    calls = []
    hooks = [module.register_forward_pre_hook(lambda module, inputs: calls.append((module, inputs[0])))
             for module in model.modules() if isinstance(module, torch.nn.Linear)]
    run()
    for hook in hooks:
        hook.remove()

    # Mamba multiplies with the weight of one more layer itself.
    time_steps = [(module.dt_proj.weight, torch.randn(1, module.time_step_rank, calls[0][1].shape[1]))
                  for module in model.modules() if hasattr(module, "dt_proj")]

    def work():
        for module, x in calls:
            module(x)
        for weight, x in time_steps:
            weight @ x

    return work


def decode_steps(model, ids, steps):
    """A function that takes further steps after a prompt."""
    cache = model(ids, use_cache=True, logits_to_keep=1).cache_params

    def work():
        for _ in range(steps):
            model(ids[:, -1:], cache_params=cache, use_cache=True)

    return work


def lm_steps(lm, ids, steps):
    cache = lm.make_cache()
    lm.forward(ids, cache=cache, logits_to_keep=1)

    def work():
        for _ in range(steps):
            lm.step(ids[:, -1], cache)

    return work


def report(what, count, seconds):
    own, ours, linear, lm = (1e3 * each / count for each in seconds)
    print(f"{what}: own {own:.1f} ms, with ophis {ours:.1f} ms: {own / ours:.2f} times as fast; torch's linear layers alone "
          f"{linear:.1f} ms, and without them {(own - linear) / (ours - linear):.1f} times; ophis.LM.from_module {lm:.1f} ms: "
          f"{own / lm:.2f} times", flush=True)


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
        lm = ophis.LM.from_module(model)
        for length in options.lengths:
            ids = torch.randint(0, 50000, (1, length))
            prefill = lambda: model(ids, use_cache=True, logits_to_keep=1)  # noqa: B023, E731
            linear = linear_layers(model, prefill)
            report(f"{name} prefill of {length}", 1, alternate(
                [lambda: timed(prefill), lambda: with_ophis(lambda: timed(prefill)), lambda: timed(linear),  # noqa: B023
                 lambda: timed(lambda: lm.forward(ids, logits_to_keep=1))], options.runs))  # noqa: B023
        ids = ids[:, :16]
        linear = linear_layers(model, decode_steps(model, ids, 1))
        report(f"{name} decode of {options.steps}", options.steps, alternate(
            [lambda: timed(decode_steps(model, ids, options.steps)),  # noqa: B023
             lambda: with_ophis(lambda: timed(decode_steps(model, ids, options.steps))),  # noqa: B023
             lambda: timed(lambda: [linear() for _ in range(options.steps)]),  # noqa: B023
             lambda: timed(lm_steps(lm, ids, options.steps))], options.runs))  # noqa: B023
        own, ours, apart = largest_errors(model, torch.randint(0, 50000, (1, 64)))
        print(f"{name} logits, relative to the largest: own {own:.1e} from float64, ophis {ours:.1e}, {apart:.1e} from each other")


if __name__ == "__main__":
    main()
