#!/usr/bin/env python3
"""Times ops of Ophis beside mamba_ssm, causal_conv1d and torch, in one process, on the same tensors.

    bench/peers/fetch.sh build/peers
    python3 bench/peers/compare_ops.py --library build/cuda-sm90/interfaces/c/libophis.so > ops.json

Both sides of a row run alternately, each with an L2 cache that holds nothing of its tensors; the medians are
told, with the least times, and the largest difference of the results, relative to the largest result. The
floor is the rate of a copy of 1 GiB, and in turns with them a copy that moves as many bytes as the op must.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

import torch

import ophis_c
import peers

DEVICE, DTYPE = "cuda:0", torch.bfloat16
GROUP, LEAST, MOST, SECONDS = 10, 20, 100, 0.1


class Timer:
    """Microseconds of work on a stream, the L2 cache overwritten before."""

    def __init__(self, stream: torch.cuda.Stream):
        self._stream = stream
        self._flush = torch.empty(1 << 28, dtype=torch.uint8, device=DEVICE)

    def group(self, work) -> list[float]:
        """The times of some calls, all given to the device before any is waited for: the host may run ahead."""
        events = []
        for _ in range(GROUP):
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            self._flush.zero_()
            start.record(self._stream)
            work()
            end.record(self._stream)
            events.append((start, end))
        torch.cuda.synchronize()
        return [1e3 * start.elapsed_time(end) for start, end in events]

    def alternate(self, works: list) -> list[list[float]]:
        """The times of each, run in turns."""
        for work in works:  # compilation, autotuning, memory
            for _ in range(3):
                work()
        torch.cuda.synchronize()
        times = [[] for _ in works]
        while len(times[0]) < LEAST or (sum(map(sum, times)) < 1e6 * SECONDS and len(times[0]) < MOST):
            for work, found in zip(works, times):
                found += self.group(work)
        return times


def uniform(*shape, low=-1.0, high=1.0, dtype=DTYPE) -> torch.Tensor:
    return torch.empty(shape, device=DEVICE).uniform_(low, high).to(dtype)


def conv(library, batch, seqlen, dim, channels_last):
    from causal_conv1d import causal_conv1d_fn

    x = uniform(batch, dim, seqlen)
    if channels_last:
        x = x.transpose(1, 2).contiguous().transpose(1, 2)
    weight, bias, out = uniform(dim, 4), uniform(dim), torch.empty_like(x)
    ours = library.prepare(
        "causal_conv1d", x=x.transpose(1, 2), weight=weight, bias=bias, activation=ophis_c.SILU, out=out.transpose(1, 2)
    )
    return ours, lambda: causal_conv1d_fn(x, weight, bias, activation="silu"), out, 2 * x.nbytes


def selective_scan(library, batch, seqlen, dim, dstate=16):
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    u, z, out = uniform(batch, dim, seqlen), uniform(batch, dim, seqlen, low=-2), uniform(batch, dim, seqlen)
    delta, A = uniform(batch, dim, seqlen, low=-3), uniform(dim, dstate, low=-4, high=-1, dtype=torch.float32)
    B, C = uniform(batch, 1, dstate, seqlen), uniform(batch, 1, dstate, seqlen)
    D, bias = uniform(dim, dtype=torch.float32), uniform(dim, dtype=torch.float32)

    def steps(t):
        return t.transpose(1, 2)

    ours = library.prepare(
        "selective_scan", u=steps(u), delta=steps(delta), A=A, B=B.permute(0, 3, 1, 2), C=C.permute(0, 3, 1, 2), D=D,
        z=steps(z), delta_bias=bias, delta_softplus=1, out=steps(out),
    )  # fmt: skip
    peer = lambda: selective_scan_fn(u, delta, A, B, C, D, z, bias, True)  # noqa: E731
    return ours, peer, out, 4 * u.nbytes + 2 * B.nbytes


def ssd_scan(library, batch, seqlen, nheads, ngroups=1, headdim=64, dstate=128):
    from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined

    x, out = uniform(batch, seqlen, nheads, headdim), torch.empty(batch, seqlen, nheads, headdim, device=DEVICE, dtype=DTYPE)
    dt, A = uniform(batch, seqlen, nheads, low=-3), uniform(nheads, low=-8, high=-0.1, dtype=torch.float32)
    B, C = uniform(batch, seqlen, ngroups, dstate), uniform(batch, seqlen, ngroups, dstate)
    D, bias = uniform(nheads, dtype=torch.float32), uniform(nheads, dtype=torch.float32)
    ours = library.prepare("ssd_scan", x=x, dt=dt, A=A, B=B, C=C, D=D, dt_bias=bias, dt_softplus=1, out=out)
    peer = lambda: mamba_chunk_scan_combined(x, dt, A, B, C, 256, D=D, dt_bias=bias, dt_softplus=True)  # noqa: E731
    return ours, peer, out, 2 * x.nbytes + dt.nbytes + 2 * B.nbytes


def ssd_state_update(library, batch, nheads, ngroups=1, headdim=64, dstate=128):
    from mamba_ssm.ops.triton.selective_state_update import selective_state_update

    state = uniform(batch, nheads, headdim, dstate, dtype=torch.float32)
    x, dt, A = uniform(batch, nheads, headdim), uniform(batch, nheads, low=-3), uniform(nheads, low=-8, high=-0.1, dtype=torch.float32)
    B, C, out = uniform(batch, ngroups, dstate), uniform(batch, ngroups, dstate), torch.empty_like(x)
    D, bias = uniform(nheads, dtype=torch.float32), uniform(nheads, dtype=torch.float32)
    ours = library.prepare(
        "ssd_state_update", state=state.clone(), x=x, dt=dt, A=A, B=B, C=C, D=D, dt_bias=bias, dt_softplus=1, out=out
    )

    def peer():
        return selective_state_update(
            state, x, dt[..., None].expand(-1, -1, headdim), A[:, None, None].expand(-1, headdim, dstate), B, C,
            D[:, None].expand(-1, headdim), dt_bias=bias[:, None].expand(-1, headdim), dt_softplus=True,
        )  # fmt: skip

    return ours, peer, out, 2 * state.nbytes


def cumsum(library, rows, length, dtype):
    x = uniform(rows, length, low=0, dtype=dtype)
    out = torch.empty_like(x)
    return library.prepare("cumsum", x=x, out=out), lambda: torch.cumsum(x, -1), out, 2 * x.nbytes


CASES = {
    "conv": [
        ("causal_conv1d", "causal_conv1d", f"batch 8, seqlen 2048, dim 5376, width 4, channels {name}",
         lambda lib, last=last: conv(lib, 8, 2048, 5376, last))
        for name, last in (("first", False), ("last", True))
    ],
    "selective_scan": [
        ("selective_scan", "mamba_ssm", f"batch {b}, seqlen {l}, dim {d}, dstate 16",
         lambda lib, b=b, l=l, d=d: selective_scan(lib, b, l, d))
        for b, l, d in ((8, 2048, 4096), (1, 2048, 1536), (1, 32768, 4096))
    ],
    "ssd_scan": [
        ("ssd_scan", "mamba_ssm", f"batch {b}, seqlen {l}, nheads {h}, headdim 64, dstate 128, ngroups {g}",
         lambda lib, b=b, l=l, h=h, g=g: ssd_scan(lib, b, l, h, g))
        for b, l, h, g in ((8, 2048, 80, 1), (1, 2048, 80, 1), (1, 32768, 80, 1), (1, 131072, 80, 1), (8, 2048, 128, 8))
    ],
    "update": [
        ("ssd_state_update", "mamba_ssm", f"batch {b}, nheads 80, headdim 64, dstate 128",
         lambda lib, b=b: ssd_state_update(lib, b, 80))
        for b in (1, 64, 256)
    ],
    "cumsum": [
        ("cumsum", "torch", f"rows {r}, length {n}", lambda lib, r=r, n=n, t=t: cumsum(lib, r, n, t))
        for t in (torch.bfloat16, torch.float32) for r, n in ((1, 1 << 28), (4096, 1 << 16))
    ],
}  # fmt: skip


def measure(timer: Timer, library, op: str, peer_name: str, shape: str, make) -> dict:
    torch.manual_seed(0)
    ours, peer, out, nbytes = make(library)
    ours()
    want = peer().float()
    torch.cuda.synchronize()
    difference = ((out.float() - want).abs().max() / want.abs().max()).item() if op != "cumsum" else None
    source = torch.empty(nbytes // 2, dtype=torch.uint8, device=DEVICE)
    target = torch.empty_like(source)
    our_times, peer_times, copy_times = timer.alternate([ours, peer, lambda: target.copy_(source)])
    row = {
        "op": op,
        "shape": shape,
        "dtype": str(out.dtype).removeprefix("torch."),
        "peer": peer_name,
        "difference": difference,
        "bytes": nbytes,
        "equal_copy_us": statistics.median(copy_times),
        "repetitions": len(our_times),
    }
    for name, times in (("ophis", our_times), ("peer", peer_times)):
        row[f"{name}_us"] = statistics.median(times)
        row[f"{name}_min_us"] = min(times)
    row["ratio"] = row["peer_us"] / row["ophis_us"]
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", type=Path, required=True, help="libophis.so of a CUDA build")
    parser.add_argument("--peers", type=Path, default=Path("build/peers"), help="the folder of fetch.sh")
    parser.add_argument("--section", action="append", choices=CASES, help="only these; may be given more than once")
    options = parser.parse_args()
    peers.load(options.peers.resolve())
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        timer, library = Timer(stream), ophis_c.Library(options.library.resolve(), stream)
        a = torch.empty(1 << 30, dtype=torch.uint8, device=DEVICE)
        b = torch.empty_like(a)
        copy_us = min(timer.alternate([lambda: b.copy_(a)])[0])
        del a, b
        report = {
            "device": torch.cuda.get_device_name(),
            "torch": torch.__version__,
            "copy_gb_s": 2e-3 * (1 << 30) / copy_us,
            "results": [],
        }
        for section in options.section or CASES:
            for case in CASES[section]:
                row = measure(timer, library, *case)
                row["percent_of_copy"] = 100e-3 * row["bytes"] / row["ophis_us"] / report["copy_gb_s"]
                report["results"].append(row)
                print(f"{row['op']}, {row['shape']}: {row['ophis_us']:.1f} us, peer {row['peer_us']:.1f} us, "
                      f"{row['ratio']:.2f}x", file=sys.stderr, flush=True)  # fmt: skip
    json.dump(report, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
