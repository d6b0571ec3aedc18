#!/usr/bin/env python3
"""A build for several instruction sets (OPHIS_CPU_ARCH=dispatch): what was chosen is what ran, on other CPUs too.

Usage: instruction_sets_test.py PROGRAM MAMBA MAMBA2. Other CPUs are qemu's, where qemu-x86_64 (user mode) is installed.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import unittest

PROGRAM, MODEL, MAMBA2 = sys.argv[1:4]
LEVELS = ["baseline", "avx2", "avx512", "avx512_vnni", "avx512_bf16"]
# The portable kernels that a level chooses.
SUFFIX = {"baseline": "", "avx2": "_avx2", "avx512": "_avx512", "avx512_vnni": "_avx512", "avx512_bf16": "_avx512"}
QEMU = shutil.which("qemu-x86_64")


def run(*arguments, isa=None, cpu=None):
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "OPHIS_VERBOSE": "1"}
    environment.pop("OPHIS_CPU_ISA", None)
    if isa is not None:
        environment["OPHIS_CPU_ISA"] = isa
    emulator = [QEMU, "-cpu", cpu] if cpu else []
    return subprocess.run([*emulator, PROGRAM, *arguments], env=environment, text=True, capture_output=True, timeout=300, check=False)


def generate(*more, model=MODEL, **where):
    """The text, and the implementations that ran."""
    result = run("generate", "--model", model, "--prompt", "Once upon a time", "--max-new-tokens", "12", *more, **where)
    if result.returncode != 0:
        raise AssertionError(f"exit status {result.returncode}: {result.stderr[-2000:]}")
    ran = re.findall(r"^ophis: (\w+): (\w+) runs$", result.stderr, re.MULTILINE)
    return result.stdout, {name for op, name in ran if (op, name) != ("norm_linear", "kokkos")}  # a sequence of other ops


def level_in_use(**where):
    result = run("info", "--model", MODEL, "--json", **where)
    return json.loads(result.stdout)["machine"]["cpu_isa"] if result.returncode == 0 else result.stderr


class InstructionSetsTest(unittest.TestCase):
    def check_ran(self, implementations, level):
        for name in implementations - {"onednn", "vnni", "avx512_bf16"}:
            self.assertRegex(name, f"^(kokkos|eigen|dequantized|fused){SUFFIX[level]}$")
        self.assertIn("kokkos" + SUFFIX[level], implementations)

    def test_every_level_of_this_cpu(self):
        best = level_in_use()
        self.assertIn(best, LEVELS)
        want, implementations = generate()
        self.check_ran(implementations, best)
        for level in LEVELS[: LEVELS.index(best) + 1]:
            with self.subTest(level):
                self.assertEqual(level_in_use(isa=level), level)
                text, implementations = generate(isa=level)
                self.assertEqual(text, want)
                self.check_ran(implementations, level)
                _, implementations = generate("--quantize", "int8", isa=level)
                self.check_ran(implementations, level)
                self.assertEqual("vnni" in implementations, level in ("avx512_vnni", "avx512_bf16"))
                _, implementations = generate("--dtype", "bfloat16", model=MAMBA2, isa=level)
                self.check_ran(implementations, level)
                self.assertEqual("avx512_bf16" in implementations, level == "avx512_bf16")

    def test_bad_names(self):
        result = run("info", "--model", MODEL, isa="sse9")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("OPHIS_CPU_ISA is 'sse9'; known: baseline, avx2, avx512, avx512_vnni, avx512_bf16", result.stderr)

    @unittest.skipUnless(QEMU, "qemu-x86_64 is not installed")
    def test_older_cpus(self):
        want, _ = generate()
        for cpu, level in (("qemu64", "baseline"), ("Westmere", "baseline"), ("Haswell", "avx2")):
            with self.subTest(cpu):
                self.assertEqual(level_in_use(cpu=cpu), level)
                text, implementations = generate(cpu=cpu)
                self.assertEqual(text, want)
                self.check_ran(implementations, level)
                self.assertIn(f"OPHIS_CPU_ISA is avx512, but the CPU has {level}", level_in_use(cpu=cpu, isa="avx512"))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
