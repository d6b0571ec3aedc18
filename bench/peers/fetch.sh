#!/usr/bin/env bash
# Fetches the sources of state-spaces/mamba and causal-conv1d into a folder: fetch.sh [FOLDER]
set -euo pipefail

folder=${1:-build/peers}
venv=$folder/venv
mkdir -p "$folder"
[[ -x $venv/bin/unearth ]] || { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet unearth; }
# Where pip looks: a source distribution cannot be fetched by pip itself without PyTorch.
index=$("$venv/bin/pip" config get global.index-url 2>/dev/null || echo https://pypi.org/simple)
for package in mamba-ssm==2.3.2.post1 causal-conv1d==1.6.1; do
  name=${package%%==*}
  "$venv/bin/unearth" --index-url "$index" --no-binary --download "$folder/$name.sdist" "$package" >/dev/null
  mkdir -p "$folder/$name"
  tar --extract --gzip --strip-components 1 --directory "$folder/$name" --file "$folder/$name.sdist"/*.tar.gz
done
echo "fetched into $folder"
