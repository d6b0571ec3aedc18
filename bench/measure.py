#!/usr/bin/env python3
"""Runs the benchmarks on this machine and writes bench/results/<device>/<date>.json.

    python3 bench/measure.py --program build/openmp/interfaces/cli/ophis --device-name epyc-2-cores \\
        --description "AMD EPYC with AVX-512, 2 cores" --dtype float32 --dtype bfloat16 --shape mamba-130m
    python3 bench/measure.py --program build/cuda-sm90/interfaces/cli/ophis --device cuda --device-name h100 \\
        --description "NVIDIA H100 80GB HBM3" --dtype bfloat16 --shape mamba2-2.7b --peers build/peers \\
        --library build/cuda-sm90/interfaces/c/libophis.so

With --peers or --llama (docs/benchmarks.md says how to get them) the peers are measured in the same run. bench/report.py draws the results.
"""

import argparse
import datetime
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


class Run:
    """Runs commands that print JSON, and remembers them as a reader would type them. One that fails, or takes
    too long, is told and left out."""

    def __init__(self, limit: float | None):
        self.limit = limit
        self.commands = []
        self.failed = 0

    def __call__(self, shown: str, command: list, otherwise: dict | list) -> dict | list:
        print(shown, file=sys.stderr, flush=True)
        words = [str(word) for word in command]
        try:
            done = subprocess.run(words, stdout=subprocess.PIPE, check=True, timeout=self.limit)
            result = json.loads(done.stdout)
        except (subprocess.SubprocessError, json.JSONDecodeError) as error:
            print(f"left out: {error}", file=sys.stderr, flush=True)
            self.failed += 1
            return otherwise
        self.commands.append(shown)
        return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, required=True, help="the program ophis")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--device-name", required=True, help="the results' folder")
    parser.add_argument("--description", required=True, help="what the device is, for people")
    parser.add_argument("--dtype", action="append", required=True)
    parser.add_argument("--shape", action="append", default=[], help="a model's shape; more than one may be given")
    parser.add_argument("--batch", action="append", type=int, help="of the models; default 1")
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--batched-state-dtype", default="float32", help="of the models' caches at batches above 1")
    parser.add_argument("--peers", type=Path, help="the folder that bench/peers/fetch.sh has made")
    parser.add_argument("--library", type=Path, help="libophis.so, to compare it with the peers")
    parser.add_argument("--llama", type=Path, help="the folder that bench/peers/llama.sh has made, to compare it on the CPU")
    parser.add_argument("--limit", type=float, help="seconds that one of the commands may take")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    if options.peers and not options.library:
        parser.error("--peers needs --library")

    run = Run(options.limit)
    at = [] if options.device == "cpu" else ["--device", options.device]
    dtypes = [word for dtype in options.dtype for word in ("--dtype", dtype)]
    today = datetime.date.today().isoformat()
    path = options.out / options.device_name / f"{today}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    report = {"device": options.description, "date": today, "commands": run.commands}

    def keep(**results) -> None:
        report.update(results)
        path.write_text(json.dumps(report, indent=1) + "\n")

    models, peer_models = [], []
    for shape in options.shape:
        for dtype in options.dtype:
            for batch in options.batch or [1]:
                what = ["--shape", shape, "--dtype", dtype, "--batch", batch]
                size = ["--prompt-tokens", options.prompt_tokens // batch, "--new-tokens", options.new_tokens]
                if batch > 1 and dtype != "float32":
                    what += ["--state-dtype", options.batched_state_dtype]
                words = [*what, *size, *at, "--json"]
                shown = " ".join(["ophis bench model", *map(str, words)])
                result = run(shown, [options.program, "bench", "model", *words], {})
                models += [result] if result else []
                if options.peers and dtype == "bfloat16":
                    words = ["--shape", shape, "--batch", batch, *size, "--peers", options.peers]
                    shown = " ".join(["bench/peers/compare_models.py", *map(str, words)])
                    peer_models += run(shown, [sys.executable, HERE / "peers/compare_models.py", *words], [])
                keep(models=models, peer_models=peer_models)
    if options.peers:
        words = ["--library", options.library, "--peers", options.peers]
        keep(peer_ops=run(
            "bench/peers/compare_ops.py", [sys.executable, HERE / "peers/compare_ops.py", *words], {}
        ))  # fmt: skip
    if options.llama:
        words = ["--ophis", options.program, "--folder", options.llama, "--json"]
        keep(llama_cpp=run(
            "bench/peers/compare_llama.py --json",
            [options.llama / "venv/bin/python", HERE / "peers/compare_llama.py", *words], {},
        ))  # fmt: skip
    words = ["ops", *dtypes, *at, "--json"]
    keep(ops=run(" ".join(["ophis bench", *words]), [options.program, "bench", *words], {}))
    print(path)
    sys.exit(1 if run.failed else 0)


if __name__ == "__main__":
    main()
