#!/usr/bin/env python3
"""scripts/setup.sh: which packages it takes for installed, on a system whose dpkg is made up."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

SETUP = Path(__file__).resolve().parent.parent.parent / "scripts" / "setup.sh"

# Answers as dpkg-query does: a name without an architecture is any architecture's, one of "all" has no other name.
DPKG_QUERY = """#!/bin/sh
case $3 in
  both) printf 'amd64 installed\\narm64 installed\\n' ;;
  foreign) printf 'arm64 installed\\n' ;;
  both:arm64 | foreign:arm64) printf 'arm64 installed\\n' ;;
  both:amd64 | native | native:amd64) printf 'amd64 installed\\n' ;;
  data) printf 'all installed\\n' ;;
  removed) printf 'amd64 config-files\\n' ;;
  *) echo 'no packages found' >&2; exit 1 ;;
esac
"""


class HavePackageTest(unittest.TestCase):
    def have(self, package):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in (("dpkg-query", DPKG_QUERY), ("dpkg", "#!/bin/sh\necho amd64\n")):
                program = Path(folder, name)
                program.write_text(text, encoding="utf-8")
                program.chmod(0o755)
            environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
            command = ["bash", "-c", 'source "$0"; have_package "$1"', SETUP, package]
            return subprocess.run(command, env=environment, check=False).returncode == 0

    def test_native(self):
        for package in ("both", "native", "data"):
            self.assertTrue(self.have(package), package)
        for package in ("foreign", "removed", "unknown"):
            self.assertFalse(self.have(package), package)

    def test_named_architecture(self):
        for package in ("both:arm64", "foreign:arm64", "both:amd64"):
            self.assertTrue(self.have(package), package)
        for package in ("native:arm64", "foreign:amd64", "unknown:arm64"):
            self.assertFalse(self.have(package), package)


if __name__ == "__main__":
    unittest.main()
