#!/usr/bin/env bash
# scripts/hip_toolchain.sh [DIR]: a HIP toolchain that compiles and links for AMD GPUs, on a Debian machine that has
# neither an AMD GPU nor ROCm. No root is needed; the packages come from the Debian mirror that apt is configured for.
# It is for checking that the code builds. On a machine with a GPU, install AMD's ROCm instead (docs/hip.md).
#
# DIR (default: ~/.cache/ophis/rocm) is laid out as /opt/rocm is, so that afterwards
#   ROCM_PATH=DIR cmake --preset hip-gfx942
# configures. HIP's runtime wants a newer C library than Debian 12 has: programs that the compiler here links use one
# from DIR, and so run on this machine. Nothing is done if DIR is complete already.

set -euo pipefail

say() { printf '== %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

version=1 # of what this script installs
dir=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/ophis/rocm}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
[[ $(cat "$dir/.complete" 2>/dev/null) != "$version" ]] || exit 0
find "$dir" -mindepth 1 -maxdepth 1 -exec rm -rf {} + # what an interrupted run left

command -v apt-get >/dev/null || die "this needs Debian's apt-get; elsewhere install ROCm 6.2 or later"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[[ -r $keyring ]] || die "$keyring is missing: this works on Debian only; elsewhere install ROCm 6.2 or later"
codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
mirror=$(apt-get indextargets --format "\$(RELEASE) \$(COMPONENT) \$(REPO_URI)" 'Identifier: Packages' |
  awk -v release="$codename" '$1 == release && $2 == "main" { print $3; exit }')
[[ -n $mirror ]] || die "apt is not configured for a Debian mirror (no source for '$codename main')"

# An apt of our own: its lists, its cache and, for each use, its idea of what is installed.
apt=$dir/apt
mkdir -p "$apt"/{lists,cache/archives}/partial "$apt/none"
for suite in "$codename" trixie sid; do
  printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$suite"
done | sort -u >"$apt/sources.list"
: >"$apt/none/status"
apt() {
  local status=$1
  shift
  apt-get --quiet --quiet --option Dir::Etc::SourceList="$apt/sources.list" --option Dir::Etc::SourceParts=/dev/null \
    --option Dir::Etc::Preferences=/dev/null --option Dir::Etc::PreferencesParts=/dev/null \
    --option Dir::State::Lists="$apt/lists" --option Dir::Cache="$apt/cache" --option Dir::State::status="$status" \
    --option APT::Sandbox::User="$(id -un)" --option Debug::NoLocking=1 "$@"
}

# unpack STATUS SUITE TO PACKAGE...: the packages and what they need besides what STATUS lists as installed.
unpack() {
  local status=$1 suite=$2 to=$3 file
  shift 3
  mkdir -p "$to"
  apt "$status" --option APT::Install-Recommends=0 --yes --download-only --target-release "$suite" install "$@" >/dev/null
  for file in "$apt"/cache/archives/*.deb; do
    [[ -e $file ]] || continue # everything is installed
    dpkg-deb --extract "$file" "$to"
    rm "$file"
  done
}

# unpack_only SUITE TO PACKAGE...: these packages and no others.
unpack_only() {
  local suite=$1 to=$2 package
  shift 2
  for package; do
    (cd "$apt/none" && apt "$apt/none/status" download "$package/$suite" && dpkg-deb --extract ./*.deb "$to" && rm ./*.deb)
  done
}

multiarch=lib/x86_64-linux-gnu
say "fetching a HIP toolchain into $dir"
apt /var/lib/dpkg/status update
unpack /var/lib/dpkg/status "$codename" "$dir/debian/llvm" clang-19 clang-tools-19 lld-19 llvm-19 libclang-rt-19-dev libomp-19-dev
unpack_only trixie "$dir/debian/rocm" rocm-device-libs-17
unpack_only sid "$dir/debian/rocm" libamdhip64-dev libhsa-runtime-dev libamd-comgr-dev \
  libhiprtc6 libhiprtc-builtins6 libhipblaslt-dev libhipblas-common-dev
unpack "$apt/none/status" sid "$dir/debian/run" libamdhip64-6
# Of hipBLASLt the library alone: its kernels take gigabytes, and no GPU is here to run them.
(cd "$apt/none" && apt "$apt/none/status" download libhipblaslt1/sid &&
  dpkg-deb --fsys-tarfile ./*.deb | tar --extract --directory "$dir/debian/run" --wildcards './usr/lib/*/libhipblaslt.so*')
rm -rf "$apt"

rocm=$dir/debian/rocm/usr run=$dir/debian/run/usr/$multiarch llvm=$dir/debian/llvm/usr/lib/llvm-19
mkdir -p "$dir/llvm/bin" "$dir/amdgcn" "$rocm/bin" "$rocm/lib/cmake/hip-lang"
for folder in bin include lib share; do
  ln -s "$rocm/$folder" "$dir/$folder"
done
ln -s "$rocm/lib/llvm-17/lib/clang/17/amdgcn/bitcode" "$dir/amdgcn/bitcode"
# CMake looks for the language HIP here and nowhere else.
printf 'include("%s/%s/cmake/hip-lang/hip-lang-config.cmake")\n' "$rocm" "$multiarch" \
  >"$rocm/lib/cmake/hip-lang/hip-lang-config.cmake"
# CMake packages name the libraries that lie beside them; the compiler looks in lib/.
for library in libamdhip64 libhsa-runtime64 libamd_comgr libhipblaslt; do
  for file in "$run/$library".so.*; do
    ln -s "$file" "$rocm/$multiarch/"
  done
  ln -s "$rocm/$multiarch/$library.so" "$rocm/lib/"
done
# wrap TOOL [FLAG...]: a script that runs a tool of LLVM with the libraries unpacked here, and with the flags.
wrap() {
  local tool=$1
  shift
  cat >"$dir/llvm/bin/$tool" <<WRAPPER
#!/bin/sh
LD_LIBRARY_PATH=$dir/debian/llvm/usr/$multiarch:$dir/debian/llvm/$multiarch:$llvm/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
exec $llvm/bin/$tool $* "\$@"
WRAPPER
  chmod +x "$dir/llvm/bin/$tool"
}
for tool in "$llvm"/bin/*; do
  wrap "${tool##*/}"
done
# The compiler's programs find their libraries here: as DT_RPATH, which also holds for what libraries need.
loader=$(find "$dir/debian/run" -name ld-linux-x86-64.so.2 | head -n 1)
for tool in clang clang++; do
  wrap "$tool" --start-no-unused-arguments --rocm-path="$dir" -L"$llvm/lib" -Wl,--dynamic-linker="$loader" \
    -Wl,--disable-new-dtags -Wl,-rpath,"$run:$llvm/lib:$dir/debian/llvm/usr/$multiarch" \
    -Wl,--unresolved-symbols=ignore-in-shared-libs --end-no-unused-arguments
done
# Debian's hipBLASLt names an archive that it does not contain, and that no user of the library needs.
[[ -e $rocm/$multiarch/liborigami.a ]] || "$dir/llvm/bin/llvm-ar" rc "$rocm/$multiarch/liborigami.a"
printf '%s\n' "$version" >"$dir/.complete"
say "done: ROCM_PATH=$dir"
