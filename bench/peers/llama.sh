#!/usr/bin/env bash
# Fetches llama.cpp, as llama-cpp-python's source distribution carries it, and builds its benchmark: llama.sh [FOLDER] [cpu|cuda].
# For CUDA, whose compiler is $CUDACXX or in the PATH, that of $CUDAARCHS (90) and under FOLDER/build-cuda.
set -euo pipefail

folder=${1:-build/peers/llama}
device=${2:-cpu}
venv=$folder/venv
build=$folder/build
backend=()
case $device in
  cpu) ;;
  cuda)
    build+=-cuda
    backend=(-DGGML_CUDA=ON "-DCMAKE_CUDA_ARCHITECTURES=${CUDAARCHS:-90}")
    ;;
  *)
    echo "llama.sh: the device is '$device', but must be cpu or cuda" >&2
    exit 2
    ;;
esac
mkdir -p "$folder"
[[ -x $venv/bin/unearth ]] || { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet unearth gguf numpy 'cmake<4' ninja; }
# Where pip looks: pip itself would build the distribution to fetch it.
index=$("$venv/bin/pip" config get global.index-url 2>/dev/null || echo https://pypi.org/simple)
if [[ ! -d $folder/src ]]; then
  "$venv/bin/unearth" --index-url "$index" --no-binary --download "$folder/sdist" llama-cpp-python==0.3.36 >/dev/null
  mkdir -p "$folder/src"
  tar --extract --gzip --strip-components 1 --directory "$folder/src" --file "$folder/sdist"/*.tar.gz
fi
"$venv/bin/cmake" -S "$folder/src/vendor/llama.cpp" -B "$build" -G Ninja -DCMAKE_MAKE_PROGRAM="$(realpath --no-symlinks "$venv/bin/ninja")" \
  -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
  -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_TOOLS=ON "${backend[@]}" >/dev/null
"$venv/bin/ninja" -C "$build" llama-bench llama-quantize
