#!/usr/bin/env bash
# Installs the Python package by pip into a virtual environment, runs its tests, and uninstalls it.
# The reference of its modules goes to docs/python in the build folder, as a part of the documentation's site.
# test_python.sh [torch]: with "torch" also the tests that need PyTorch, transformers and lm-eval (several GB).
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

set_up
venv=$root/build/python-venv
python=$venv/bin/python
[[ -x $python ]] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet pytest gguf
[[ ${1:-} != torch ]] || "$venv/bin/pip" install --quiet torch transformers accelerate lm-eval einops

say "installing the package"
# With the options of the preset `ci`, so that the compiler cache serves both.
CMAKE_CXX_COMPILER_LAUNCHER=$(command -v ccache || true) CMAKE_BUILD_PARALLEL_LEVEL=$jobs \
  "$venv/bin/pip" install --quiet -C cmake.define.OPHIS_WARNINGS_AS_ERRORS=ON "$root"

say "running the tests"
# Away from the sources, so that the installed package is tested.
(cd "$venv" && OMP_NUM_THREADS=2 HF_HUB_OFFLINE=1 "$python" -m pytest -q -p no:cacheprovider "$root/tests/python")

say "making the reference"
"$venv/bin/pip" install --quiet pdoc
modules=(ophis)
[[ ${1:-} != torch ]] || modules+=(ophis.torch ophis.lm_eval)
(cd "$venv" && "$venv/bin/pdoc" --no-show-source --output-directory "$build/docs/python" "${modules[@]}")

"$venv/bin/pip" uninstall --quiet --yes ophis
left=$(find "$venv" -ipath '*ophis*')
[[ -z $left ]] || die "uninstalling left: $left"
