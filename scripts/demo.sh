#!/usr/bin/env bash
# Builds the program and lets the bundled Mamba-2 model write text. Arguments replace the default ones of
# `ophis generate`.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

set_up
build_target ophis_cli

if [[ $# -eq 0 ]]; then
  set -- --model "$root/examples/models/mamba2-tiny" --prompt "Shall I compare thee to" --max-new-tokens 110
fi
say "ophis generate $*"
exec "$build/interfaces/cli/ophis" generate "$@"
