"""Each rule of scripts/check_layers.py catches a file that breaks it."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from check_layers import Checker

CLEAN = {
    "core/include/ophis/core/tensor.hpp": "#include <array>\n",
    "core/include/ophis/core/kokkos.hpp": "#include <Kokkos_Core.hpp>\n",
    "ops/include/ophis/ops/scan.hpp": '#include "ophis/core/tensor.hpp"  // Kokkos_Core.hpp is not needed\n',
    "ops/scan/scan_kokkos.hpp": '#include "ophis/core/kokkos.hpp"\n',
    "backends/impls/scan_impls.cpp": '#include "ops/scan/scan_kokkos.hpp"\n',
    "models/src/block.cpp": '#include "ophis/ops/scan.hpp"\n/* Kokkos:: runs\n * below */\n',
}


def violations(**changed):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, text in {**CLEAN, **changed}.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        return Checker(root).run()


class CheckLayers(unittest.TestCase):
    def test_a_clean_tree_passes(self):
        self.assertEqual(violations(), [])

    def test_each_rule_catches(self):
        cases = [
            ("core/src/a.cpp", '#include "ophis/ops/scan.hpp"\n', "core/ must not include ops/"),
            ("core/src/a.cpp", "#include <nlohmann/json.hpp>\n", "core/ includes only"),
            ("ops/scan/a.cpp", '#include "backends/impls/scan_impls.cpp"\n', "ops/ must not include backends/"),
            ("ops/scan/a.cpp", "#include <cuda_runtime.h>\n", "ops/ must not include the vendor's"),
            ("ops/scan/a.cpp", "#if defined(KOKKOS_ENABLE_CUDA)\n", "must not depend on the backend"),
            ("models/src/a.cpp", '#include "ops/scan/scan_kokkos.hpp"\n', "only the public headers of ops/"),
            ("models/src/a.cpp", "void f() { Kokkos::fence(); }\n", "models/ must not use Kokkos"),
            ("tests/ops/a.cpp", '#include "backends/impls/scan_impls.cpp"\n', "tests/ must not include backends/"),
            ("ops/include/ophis/ops/a.hpp", '#include "ophis/core/kokkos.hpp"\n', "brings Kokkos along"),
            ("ops/include/ophis/ops/a.hpp", '#include "ophis/core/missing.hpp"\n', "there is no header"),
        ]
        for path, text, message in cases:
            with self.subTest(message):
                found = violations(**{path: text})
                self.assertEqual(len(found), 1, found)
                self.assertIn(message, found[0])


if __name__ == "__main__":
    unittest.main()
