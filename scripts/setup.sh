#!/usr/bin/env bash
# Shared by demo.sh and test.sh: installs what the build needs, configures, and sets `root`, `jobs` and `build`.
#
# Environment: JOBS (compiler processes; default: one a core), OPHIS_PRESET (default: openmp; names the build folder
# too), CMAKE_ARGS (further options of the configuration, split at spaces).

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
jobs=${JOBS:-$(nproc)}
preset=${OPHIS_PRESET:-openmp}
build=$root/build/$preset

say() { printf '== %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Of the system's own architecture, unless the name says which.
have_package() {
  local architecture
  if [[ $1 == *:* ]]; then architecture=${1#*:}; else architecture=$(dpkg --print-architecture); fi
  dpkg-query --show --showformat='${Architecture} ${db:Status-Status}\n' "$1" 2>/dev/null |
    grep --quiet --line-regexp --extended-regexp "($architecture|all) installed"
}

# as_root COMMAND...: through sudo where that is needed.
as_root() {
  [[ $(id -u) -ne 0 ]] || { "$@"; return; }
  command -v sudo >/dev/null || die "this needs root, and there is no sudo: $*"
  sudo "$@"
}

# install_packages PACKAGE...: those that are missing, by apt-get.
install_packages() {
  command -v dpkg-query >/dev/null || { say "not a Debian system: install by hand: $*"; return; }
  local missing=() package
  for package in "$@"; do
    have_package "$package" || missing+=("$package")
  done
  [[ ${#missing[@]} -gt 0 ]] || return 0
  say "installing packages: ${missing[*]}"
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get --quiet --quiet --option Dpkg::Use-Pty=0)
  as_root "${apt[@]}" update </dev/null
  as_root "${apt[@]}" install --yes --no-install-recommends "${missing[@]}" </dev/null >/dev/null
}

# set_up PACKAGE...: from a bare system to a configured build folder; PACKAGEs are needed besides the usual ones.
set_up() {
  install_packages g++ cmake ninja-build ccache ca-certificates python3 python3-venv python3-pip libeigen3-dev \
    nlohmann-json3-dev libcli11-dev libfmt-dev libutf8proc-dev libpcre2-dev libdnnl-dev libcurl4-openssl-dev libssl-dev doctest-dev "$@"
  local options=()
  if command -v ccache >/dev/null; then
    options+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
    [[ $preset != cuda* ]] || options+=(-DCMAKE_CUDA_COMPILER_LAUNCHER=ccache)
    [[ $preset != hip* ]] || options+=(-DCMAKE_HIP_COMPILER_LAUNCHER=ccache)
    export CCACHE_BASEDIR=${CCACHE_BASEDIR:-$root} CCACHE_NOHASHDIR=${CCACHE_NOHASHDIR:-1}
  fi
  # A configured folder that ninja can bring up to date by itself needs no second configuration.
  if [[ ! -f $build/build.ninja || -n ${CMAKE_ARGS:-} ]]; then
    say "configuring $build"
    # shellcheck disable=SC2086 # CMAKE_ARGS is a list
    (cd "$root" && cmake --preset "$preset" "${options[@]}" ${CMAKE_ARGS:-})
  fi
}

# build_target [TARGET]: builds one target, or everything.
build_target() {
  say "building ${1:-everything} with $jobs jobs"
  cmake --build "$build" --parallel "$jobs" ${1:+--target "$1"}
}
