#!/usr/bin/env python3
"""Checks that the layers keep the include directions of docs/architecture.md.

Usage: check_layers.py [ROOT]. Prints one line per violation and exits with 1 if there are any.
"""

import re
import sys
from pathlib import Path

# Which layers' headers a file of a layer may include. "public" means only those under <layer>/include/.
MAY_INCLUDE = {
    "core": {"core": "all"},
    "ops": {"core": "public", "ops": "all"},
    "backends": {"core": "public", "ops": "all", "backends": "all"},
    "models": {"core": "public", "ops": "public", "models": "all"},
    "hub": {"core": "public", "hub": "all"},
    "interfaces": {"core": "public", "ops": "public", "models": "public", "hub": "public", "bench": "all",
                   "interfaces": "all"},
    "examples": {"core": "public", "ops": "public", "models": "public", "hub": "public", "examples": "all"},
    "bench": {"core": "public", "ops": "all", "models": "public", "bench": "all"},
    "tests": {"core": "all", "ops": "all", "models": "all", "hub": "all", "interfaces": "all", "bench": "all",
              "tests": "all"},
}
# The files of core that speak to a GPU's runtime.
GPU_RUNTIME = re.compile(r"^core/(?:src/(?:cuda|gpu_vendor)|include/ophis/core/(?:gpu_runtime|matrix_fragment|thread_block)\.hpp)")
# The public headers that may bring Kokkos into a program.
KOKKOS_HEADERS = {"ophis/core/kokkos.hpp", "ophis/ops/associative_scan.hpp", "ophis/ops/associative_scan_kernel.hpp"}
# A scan runs the caller's functor, so that its CUDA kernel is a public template, which the portable one hands over to.
CUDA_TEMPLATES = {"ops/include/ophis/ops/associative_scan_cuda.cuh", "ops/include/ophis/ops/associative_scan_kernel.hpp"}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
CONDITIONAL = re.compile(r"^\s*#\s*(?:if|ifdef|ifndef|elif)\b(.*)")
BACKEND_MACRO = re.compile(r"KOKKOS_ENABLE_|KOKKOS_ARCH_|__CUDA|__NVCC__|__HIP|OPHIS_(?:ENABLE|HAS|HAVE|BACKEND)_?")
KOKKOS_NAME = re.compile(r"\bKokkos::|\bKOKKOS_")
KOKKOS_HEADER = re.compile(r"^(?:Kokkos_|impl/Kokkos_)")
VENDOR_HEADER = re.compile(r"^(?:cuda|cublas|cudnn|nccl|cub/|thrust/|hip|roc|rccl|mma\.|oneapi/|dnnl|Eigen/|cblas|mkl|hwy/)")
CORE_HEADER = re.compile(r"^(?:[a-z_0-9]+|[a-z0-9]+intrin\.h|unistd\.h|fcntl\.h|sched\.h|sys/[a-z]+\.h|omp\.h|cpuid\.h)$")


def source_files(root):
    """The C++ files of all layers, as paths from the root."""
    suffixes = {".hpp", ".h", ".cpp", ".cu", ".cuh", ".hip"}
    return sorted(str(path.relative_to(root)) for layer in MAY_INCLUDE for path in (root / layer).rglob("*")
                  if path.suffix in suffixes)


def code_lines(text):
    """The lines without comments; block comments leave empty lines."""
    text = re.sub(r"/\*.*?\*/", lambda match: "\n" * match.group().count("\n"), text, flags=re.DOTALL)
    return [line.split("//", 1)[0] for line in text.splitlines()]


class Checker:
    def __init__(self, root):
        self.root = root
        self.violations = []
        self.files = {path: code_lines((root / path).read_text(encoding="utf-8")) for path in source_files(root)}

    def resolve(self, path, target):
        """The project's file that `#include "target"` in `path` means, or None for a file from elsewhere."""
        candidates = [str((Path(path).parent / target)), target]
        if target.startswith("ophis/"):
            candidates.append(f"{target.split('/')[1]}/include/{target}")
        for candidate in candidates:
            if candidate in self.files:
                return candidate
        return None

    def includes(self, path):
        """(line number, name, the project's file or None) of every include."""
        for number, line in enumerate(self.files[path], 1):
            if match := INCLUDE.match(line):
                yield number, match.group(2), self.resolve(path, match.group(2))

    def report(self, path, number, message):
        self.violations.append(f"{path}:{number}: {message}")

    def check_include(self, path, layer, number, name, target):
        if target is not None:
            scope = MAY_INCLUDE[layer].get(target.split("/")[0])
            if path.startswith("tests/backends/") and target.startswith("backends/"):
                scope = "all"  # the CPU's model of kernels that no device of the machine runs
            if scope is None:
                self.report(path, number, f"{layer}/ must not include {target}")
            elif scope == "public" and "/include/ophis/" not in target:
                self.report(path, number, f"{layer}/ may include only the public headers of {target.split('/')[0]}/, "
                                          f"not {target}")
            return
        if name.startswith("ophis/"):
            self.report(path, number, f"there is no header {name}")
        if (layer == "core" and not CORE_HEADER.match(name) and not KOKKOS_HEADER.match(name)
                and not GPU_RUNTIME.match(path)):
            self.report(path, number, f"core/ includes only Kokkos and the standard library, not {name}")
        if (layer in ("ops", "models", "interfaces") and VENDOR_HEADER.match(name)
                and path not in CUDA_TEMPLATES):
            self.report(path, number, f"{layer}/ must not include the vendor's {name}")
        if layer in ("models", "interfaces") and KOKKOS_HEADER.match(name):
            self.report(path, number, f"{layer}/ must not include {name}")

    def check_lines(self, path, layer):
        for number, line in enumerate(self.files[path], 1):
            conditional = CONDITIONAL.match(line)
            if (layer in ("ops", "models") and conditional and BACKEND_MACRO.search(conditional.group(1))
                    and path not in CUDA_TEMPLATES):
                self.report(path, number, f"{layer}/ must not depend on the backend: {line.strip()}")
            if layer in ("models", "interfaces") and KOKKOS_NAME.search(line):
                self.report(path, number, f"{layer}/ must not use Kokkos: {line.strip()}")

    def brings_kokkos(self, path, seen):
        """The first header on the way from a public header to Kokkos, or None."""
        seen.add(path)
        for _, name, target in self.includes(path):
            if KOKKOS_HEADER.match(name):
                return path
            if target is not None and target not in seen and (found := self.brings_kokkos(target, seen)):
                return found
        return None

    def run(self):
        for path in self.files:
            layer = path.split("/")[0]
            for number, name, target in self.includes(path):
                self.check_include(path, layer, number, name, target)
            self.check_lines(path, layer)
            public_name = path.partition("/include/")[2]
            if public_name.startswith("ophis/") and public_name not in KOKKOS_HEADERS:
                if via := self.brings_kokkos(path, set()):
                    self.report(path, 1, f"a public header brings Kokkos along, through {via}")
        return self.violations


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent).resolve()
    checker = Checker(root)
    violations = checker.run()
    for line in violations:
        print(line)
    print(f"{len(checker.files)} files, {len(violations)} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
