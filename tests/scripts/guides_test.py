#!/usr/bin/env python3
"""The guides: docs/README.md names all of them, and the C++ that docs/cpp-api.md shows is in the examples, line by line, so
that it compiles and runs."""

import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"


class GuidesTest(unittest.TestCase):
    def test_index(self):
        index = (DOCS / "README.md").read_text(encoding="utf-8")
        named = {DOCS / target for target in re.findall(r"\]\(([^()\s#]+\.md)\)", index)}
        self.assertEqual(named, set(DOCS.rglob("*.md")) - {DOCS / "README.md"})

    def test_cpp_is_that_of_the_examples(self):
        guide = (DOCS / "cpp-api.md").read_text(encoding="utf-8")
        examples = [path.read_text(encoding="utf-8") for path in (ROOT / "examples/cpp").glob("*.cpp")]
        blocks = re.findall(r"^```cpp\n(.*?)^```$", guide, re.DOTALL | re.MULTILINE)
        self.assertTrue(blocks)
        for block in blocks:
            self.assertTrue(any("\n" + block in example for example in examples), block)


if __name__ == "__main__":
    unittest.main()
