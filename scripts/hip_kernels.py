#!/usr/bin/env python3
"""Lists the GPU kernels in a HIP build, checks them, and writes docs/performance-hip.md.

Usage: hip_kernels.py BUILD... [--write FILE]

BUILD is a build folder with BACKEND=hip; several, for several architectures, are listed together. Checked are, for every
architecture that a build is configured for (CMAKE_HIP_ARCHITECTURES):

- every op of cmake/OphisOps.cmake has kernels, in the object file of its list of implementations;
- so does every source of backends/hip;
- all kernels are for waves of 64 lanes, and use at most 64 KiB of shared memory (LDS);
- no kernel uses scratch memory, where registers are spilled to, but those in MAY_USE_SCRATCH and MAY_SPILL;
- no kernel of backends/hip has flat loads or stores: of those the hardware finds out, slowly, whether they are to global or
  to shared memory.

Needs ROCm's llvm-objdump, llvm-readelf and llvm-cxxfilt, of the ROCm that ROCM_PATH names, else of /opt/rocm.
"""

import argparse
import os
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LDS_BYTES = 64 * 1024
# Ops whose implementations call other ops and have no kernel of their own.
COMPOSED = {"norm_linear"}
# (part of a kernel's name, why): kernels that index an array of theirs in a way that registers cannot be.
MAY_USE_SCRATCH = (("ophis::selective_scan_kokkos::Scan<", "the inputs, B and C of a tile of positions"),
                   ("ophis::ssd_scan_kokkos::Scan<", "the decays of a block of positions"),
                   ("ophis::sample_kokkos::Sample<", "spilled registers"))
# (part of a kernel's name, how many registers, why)
MAY_SPILL = (("ophis::sample_kokkos::Sample<", 4, "a team of many threads leaves each few registers"),)
TOOLS = Path(os.environ.get("ROCM_PATH") or "/opt/rocm") / "llvm/bin"
MAGIC = b"__CLANG_OFFLOAD_BUNDLE__"
FIELDS = {"vgpr_count": "vgprs", "vgpr_spill_count": "spills", "agpr_count": "agprs", "sgpr_count": "sgprs", "wavefront_size": "wave",
          "group_segment_fixed_size": "lds", "private_segment_fixed_size": "scratch"}


def code_objects(path):
    """(architecture, ELF) of every GPU code object that is bundled in a file."""
    data = path.read_bytes()
    at = data.find(MAGIC)
    while at >= 0:
        (count,) = struct.unpack_from("<Q", data, at + len(MAGIC))
        entry = at + len(MAGIC) + 8
        for _ in range(count):
            offset, size, length = struct.unpack_from("<QQQ", data, entry)
            triple = data[entry + 24:entry + 24 + length].decode()
            entry += 24 + length
            if triple.startswith("hip") and size:
                yield triple.rsplit("--", 1)[-1].split(":")[0], data[at + offset:at + offset + size]
        at = data.find(MAGIC, at + len(MAGIC))


def tool(name, *arguments, **options):
    """What a tool of LLVM prints."""
    return subprocess.run([TOOLS / name, *arguments], check=True, capture_output=True, text=True, **options).stdout


def flat_accesses(disassembly):
    """How many each function has."""
    symbol, counts = None, {}
    for line in disassembly.splitlines():
        if match := re.match(r"[0-9a-f]+ <(.+)>:$", line):
            symbol = match.group(1)
        elif re.match(r"\s+flat_", line):
            counts[symbol] = counts.get(symbol, 0) + 1
    return counts


def kernels_of(path):
    """One dict a kernel of an object file: arch, symbol, the numbers in its metadata and its flat accesses."""
    kernels = []
    for arch, elf in code_objects(path):
        with tempfile.NamedTemporaryFile(suffix=".elf") as file:
            file.write(elf)
            file.flush()
            notes = tool("llvm-readelf", "--notes", file.name)
            flat = flat_accesses(tool("llvm-objdump", "--disassemble", "--no-show-raw-insn", file.name))
        entries = notes.partition("amdhsa.kernels:")[2].partition("\namdhsa.")[0]
        for text in re.split(r"^  - ", entries, flags=re.MULTILINE)[1:]:
            found = dict(re.findall(r"^ *\.(\w+): +(\S+)$", "    " + text, flags=re.MULTILINE))
            kernel = {"arch": arch, "symbol": found["symbol"].strip("'").removesuffix(".kd")}
            kernel.update({name: int(found.get(field, 0)) for field, name in FIELDS.items()})
            kernel["flat"] = flat.get(kernel["symbol"], 0)
            kernels.append(kernel)
    return kernels


def demangle(symbols):
    return dict(zip(symbols, tool("llvm-cxxfilt", input="\n".join(symbols)).splitlines()))


def short_name(name):
    """The functor or kernel, without Kokkos around it and without its arguments: selective_scan_kokkos::Scan."""
    match = re.search(r"(?:ParallelFor|run_block)<(?:ophis::detail::GroupWork<)?ophis::([\w:]+)", name) or re.search(r"ophis::([\w:]+(?:\(anonymous namespace\)::\w+)?)", name)
    short = match.group(1) if match else name.split("(")[0]
    return short.replace("(anonymous namespace)::", "").removeprefix("detail::")


def ops():
    text = (ROOT / "cmake/OphisOps.cmake").read_text(encoding="utf-8")
    return re.search(r"set\(ophis_ops\s+([^)]*)\)", text).group(1).split()


def architectures(build):
    text = (build / "CMakeCache.txt").read_text(encoding="utf-8")
    return re.search(r"^CMAKE_HIP_ARCHITECTURES:\w+=(.*)$", text, re.MULTILINE).group(1).split(";")


def object_files(build):
    """(label, path) of the objects that must hold kernels."""
    objects = build / "backends/CMakeFiles/ophis_backends.dir"
    for op in ops():
        yield op, objects / f"impls/{op}_impls.cpp.o"
    for source in sorted((ROOT / "backends/hip").glob("*.cpp")):
        yield f"hip/{source.stem}", objects / f"hip/{source.name}.o"


def check(label, arch, kernels, names):
    """The complaints about the kernels of one object file for one architecture."""
    if not kernels and label not in COMPOSED:
        yield f"{label}: no kernel for {arch}"
    for kernel in kernels:
        name = names[kernel["symbol"]]
        where = f"{label}, {arch}, {name}"
        if kernel["wave"] != 64:
            yield f"{where}: waves of {kernel['wave']} lanes"
        if kernel["lds"] > LDS_BYTES:
            yield f"{where}: {kernel['lds']} bytes of LDS"
        if kernel["scratch"] and not any(part in name for part, _ in MAY_USE_SCRATCH):
            yield f"{where}: {kernel['scratch']} bytes of scratch"
        if kernel["flat"] and label.startswith("hip/"):
            yield f"{where}: {kernel['flat']} flat loads or stores"
        if kernel["spills"] > next((count for part, count, _ in MAY_SPILL if part in name), 0):
            yield f"{where}: {kernel['spills']} registers spilled"


def table(rows):
    """Markdown lines: the largest numbers among the kernels of a name, that is, of its dtypes and sizes."""
    yield "| op or source | kernel | architecture | variants | VGPRs | AGPRs | SGPRs | LDS, bytes | scratch, bytes |"
    yield "|---|---|---|---|---|---|---|---|---|"
    groups = {}
    for label, name, kernel in rows:
        groups.setdefault((label, name, kernel["arch"]), []).append(kernel)
    for (label, name, arch), kernels in sorted(groups.items()):
        worst = [str(max(kernel[field] for kernel in kernels)) for field in ("vgprs", "agprs", "sgprs", "lds", "scratch")]
        yield f"| {label} | `{name}` | {arch} | {len(kernels)} | " + " | ".join(worst) + " |"


def main():
    parser = argparse.ArgumentParser(description="Lists and checks the GPU kernels of a HIP build.")
    parser.add_argument("builds", nargs="+", type=Path, metavar="BUILD")
    parser.add_argument("--write", type=Path, metavar="FILE", help="replace the table in this Markdown file")
    arguments = parser.parse_args()

    complaints, rows = [], []
    for build in arguments.builds:
        for label, path in object_files(build):
            if not path.exists():
                complaints.append(f"{label}: {path} is not built")
                continue
            kernels = kernels_of(path)
            names = demangle(sorted({kernel["symbol"] for kernel in kernels})) if kernels else {}
            own = [kernel for kernel in kernels if "ophis::" in names[kernel["symbol"]]]
            for arch in architectures(build):
                complaints += check(label, arch, [kernel for kernel in own if kernel["arch"] == arch], names)
            rows += [(label, short_name(names[kernel["symbol"]]), kernel) for kernel in own]
    lines = list(table(rows))
    if arguments.write:
        text = arguments.write.read_text(encoding="utf-8")
        head = text.partition("| op or source |")[0]
        arguments.write.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    for complaint in complaints:
        print(f"error: {complaint}")
    archs = sorted({kernel["arch"] for _, _, kernel in rows})
    print(f"{len(rows)} kernels for {' and '.join(archs) or 'no architecture'}, {len(complaints)} complaints")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
