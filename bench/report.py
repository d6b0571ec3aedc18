#!/usr/bin/env python3
"""Writes the newest results of every device (bench/results) into docs/performance.md, as tables and plots.

    pip install matplotlib
    python3 bench/report.py

What stands between the lines `<!-- results: DEVICE -->` and `<!-- end of results -->` is replaced; the plots
are docs/figures/DEVICE.svg.
"""

import json
import re
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "ophis"  # the same file for the same results
matplotlib.rcParams["svg.fonttype"] = "none"
from matplotlib import pyplot  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/performance.md"
OPHIS, PEER = "#2a6f97", "#c9ada7"


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def floors(results: dict) -> str:
    found = results["ops"]["floors"] if results.get("ops") else results["models"][0]["floors"]
    if not isinstance(found["gemm_gflop_s"], dict):
        found = {**found, "gemm_gflop_s": {results["models"][0]["dtype"]: found["gemm_gflop_s"]}}
    gemm = ", ".join(f"{dtype} {value / 1e3:.1f}" for dtype, value in found["gemm_gflop_s"].items())
    return (
        f"Floors of the run: copy {found['copy_gb_s']:.0f} GB/s, read {found['read_gb_s']:.0f} GB/s, GEMM {gemm} TFLOP/s."
    )


def peer_model(results: dict, model: dict) -> dict | None:
    for row in results.get("peer_models", []):
        if all(row[key] == model[key] for key in ("model", "dtype", "batch", "prompt_tokens")):
            return row
    return None


def models_table(results: dict) -> str:
    with_peer = bool(results.get("peer_models"))
    header = ["shape", "dtype", "batch", "prompt tokens", "prefill ms", "decode ms a step", "% of read", "% of copy"]
    if with_peer:
        header += ["mamba_ssm prefill ms", "mamba_ssm decode ms"]
    rows = []
    for model in results["models"]:
        state = model.get("state_dtype", "float32")
        dtype = model["dtype"] + (f", {state} states" if model["batch"] > 1 and state != "float32" else "")
        decode = model["decode"]
        copy = decode.get("percent_of_copy")
        row = [
            model["model"], dtype, str(model["batch"]), str(model["prompt_tokens"]),
            f"{1e3 * model['prefill']['seconds']:.1f}", f"{1e3 * decode['seconds_per_step']:.2f}",
            f"{decode['percent_of_read']:.0f}", f"{copy:.0f}" if copy else "",
        ]  # fmt: skip
        if with_peer:
            peer = peer_model(results, model)
            for ours, key in (
                (model["prefill"]["seconds"], "prefill_seconds"),
                (decode["seconds_per_step"], "seconds_per_step"),
            ):
                row.append(f"{1e3 * peer[key]:.2f} ({peer[key] / ours:.1f}x)" if peer else "")
        rows.append(row)
    return table(header, rows)


def peer_ops_table(results: dict) -> str:
    rows = results["peer_ops"]["results"]
    columns = {
        "op": lambda row: row["op"],
        "shape": lambda row: row["shape"],
        "dtype": lambda row: row["dtype"],
        "us": lambda row: f"{row['ophis_us']:.1f}",
        "% of copy": lambda row: f"{row['percent_of_copy']:.0f}",
        "% of equal copy": lambda row: f"{100 * row['equal_copy_us'] / row['ophis_us']:.0f}",
        "peer": lambda row: row["peer"],
        "peer us": lambda row: f"{row['peer_us']:.1f}",
        "faster": lambda row: f"{row['ratio']:.2f}x",
    }
    if "equal_copy_us" not in rows[0]:  # results from before it was measured
        del columns["% of equal copy"]
    return table(list(columns), [[value(row) for value in columns.values()] for row in rows])


def llama_table(results: dict) -> str:
    rows = []
    for row in results["llama_cpp"]["results"]:
        cells = [row["shape"], row["precision"]]
        for what in ("prefill", "decode"):
            ours, theirs = row["ophis"][what], row["llama_cpp"][what]
            cells += [f"{ours:.0f}", f"{theirs:.0f}", f"{ours / theirs:.2f}x"]
        rows.append([*cells, f"{row['ophis']['percent_of_gemm']:.0f}", f"{row['ophis']['percent_of_read']:.0f}"])
    header = ["shape", "precision", "prefill", "llama.cpp", "faster", "decode", "llama.cpp", "faster", "% of GEMM", "% of read"]
    return table(header, rows)


def ops_table(results: dict) -> str:
    rows = [
        [
            row["op"], row["shape"], row["impl"], row["dtype"], f"{row['median_us']:.4g}",
            f"{row['percent_of_copy']:.0f}", f"{row['percent_of_gemm']:.0f}",
        ]
        for row in results["ops"]["results"]
        if row["status"] == "ok"
    ]  # fmt: skip
    return table(["op", "shape", "implementation", "dtype", "median us", "% of copy", "% of GEMM"], rows)


def bars(axes, title: str, labels: list[str], series: dict[str, tuple[list[float], str]]) -> None:
    height = 0.8 / len(series)
    for i, (name, (values, colour)) in enumerate(series.items()):
        axes.barh([y + i * height for y in range(len(labels))], values, height, label=name, color=colour)
    axes.set_yticks([y + 0.4 - height / 2 for y in range(len(labels))], labels, fontsize=7)
    axes.invert_yaxis()
    axes.set_title(title, fontsize=9, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="x", labelsize=7)
    if len(series) > 1:
        axes.legend(fontsize=7, frameon=False)


def short(row: dict) -> str:
    return f"{row['op']} ({row['shape']})" + (f", {row['dtype']}" if row["op"] == "cumsum" else "")


def plot(results: dict, path: Path) -> None:
    """Beside peers where there are any, else beside the floor. Only models, where only they were measured."""
    peer_ops = results.get("peer_ops", {}).get("results", [])
    decoded = [m for m in results["models"] if m["batch"] == 1]
    if results.get("ops"):
        figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), width_ratios=(3, 2), layout="constrained")
    else:
        figure, right = pyplot.subplots(figsize=(5, 2.2), layout="constrained")
    if peer_ops:
        labels = [short(row) for row in peer_ops]
        bars(left, "Times as fast as the peer", labels, {"": ([row["ratio"] for row in peer_ops], OPHIS)})
        left.axvline(1.0, color="black", linewidth=0.6)
    elif results.get("llama_cpp"):
        rows = results["llama_cpp"]["results"]
        series = {
            what: ([row["ophis"][what] / row["llama_cpp"][what] for row in rows], colour)
            for what, colour in (("prefill", PEER), ("decode", OPHIS))
        }
        bars(left, "Times as fast as llama.cpp", [f"{row['shape']}, {row['precision']}" for row in rows], series)
        left.axvline(1.0, color="black", linewidth=0.6)
    elif results.get("ops"):
        rows = [row for row in results["ops"]["results"] if row["status"] == "ok" and row["dtype"] == "float32"][:16]
        values = [row["percent_of_copy"] for row in rows]
        bars(left, "Percent of the copy bandwidth, float32", [short(row) for row in rows], {"": (values, OPHIS)})
    labels = [f"{m['model']}, {m['dtype']}" for m in decoded]
    series = {"Ophis": ([1e3 * m["decode"]["seconds_per_step"] for m in decoded], OPHIS)}
    theirs = [peer_model(results, m) for m in decoded]
    if any(theirs):
        series["mamba_ssm"] = ([1e3 * p["seconds_per_step"] if p else 0.0 for p in theirs], PEER)
    bars(right, "Decode, batch 1: ms a token", labels, series)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def section(device: str, path: Path) -> str:
    results = json.loads(path.read_text())
    plot(results, ROOT / f"docs/figures/{device}.svg")
    parts = [
        f"{results['device']}, {results['date']} ([everything measured](../{path.relative_to(ROOT)})). {floors(results)}",
        f"![Speed on {device}](figures/{device}.svg)",
        "Models with random weights:",
        models_table(results),
    ]
    if results.get("peer_ops"):
        parts += [
            "Ops beside their peers, in one process, in turns, the L2 cache overwritten before each call:",
            peer_ops_table(results),
        ]
    if results.get("llama_cpp"):
        compared = results["llama_cpp"]
        parts += [
            f"llama.cpp of llama-cpp-python 0.3.36 and Ophis in turns, medians of {compared['rounds']} runs each, {compared['threads']} "
            "threads; tokens a second, prompts of 512 tokens, 64 new ones; int8 is its Q8_0, int4 the better of its Q4_0 and Q4_K_M:",
            llama_table(results),
        ]
    if results.get("ops"):
        parts += ["All ops:", "<details><summary>Table</summary>", ops_table(results), "</details>"]
    parts.append("Commands:")
    parts.append("```sh\n" + "\n".join(results["commands"]) + "\n```")
    return "\n\n".join(parts)


def main() -> None:
    text = PAGE.read_text()

    def replace(match: re.Match) -> str:
        device = match[1]
        newest = max((ROOT / "bench/results" / device).glob("*.json"))
        return f"<!-- results: {device} -->\n\n{section(device, newest)}\n\n<!-- end of results -->"

    PAGE.write_text(re.sub(r"<!-- results: (\S+) -->.*?<!-- end of results -->", replace, text, flags=re.S))


if __name__ == "__main__":
    main()
