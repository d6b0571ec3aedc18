#!/usr/bin/env python3
"""The C++ that docs/cpp-api.md shows is in the examples, line by line, so that it compiles and runs."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def main():
    guide = (ROOT / "docs/cpp-api.md").read_text(encoding="utf-8")
    examples = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "examples/cpp").glob("*.cpp"))]
    blocks = re.findall(r"^```cpp\n(.*?)^```$", guide, re.DOTALL | re.MULTILINE)
    missing = [block for block in blocks if not any("\n" + block in example for example in examples)]
    for block in missing:
        print(f"not in examples/cpp:\n{block}")
    print(f"{len(blocks)} blocks, {len(missing)} missing")
    return 0 if blocks and not missing else 1


if __name__ == "__main__":
    sys.exit(main())
