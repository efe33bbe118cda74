#!/usr/bin/env bash
# Puts the LLVM that the features `cuda` and `cpu` link where their build looks for it, from the Python
# package index, so that the build needs no other download:
#   scripts/llvm.sh            about 90 MB to fetch, 400 MB on disk
# CubeCL's own build script fetches such a folder from GitHub, unless it is there. Linux on x86-64 or
# AArch64; needs Python 3.10 with pip, and a C++ compiler afterwards. `rocm` needs more: lld's libraries, which
# the package lacks.
set -euo pipefail
cd "$(dirname "$0")/.."

package='mlc-llvm-static[all]==23.1.1.post0'

# The release that the bundler asks for, so that a newer one is not given another's folder.
release=$(awk '/^name = "tracel-llvm-bundler"/ { getline; gsub(/version = |"/, ""); print }' Cargo.lock)
if [ "$release" != 23.1.0-4 ]; then
    echo "error: CubeCL wants LLVM '$release', this script has 23.1.0-4: choose the package anew" >&2
    exit 1
fi
to=${XDG_DATA_HOME:-$HOME/.local/share}/tracel/tracel-llvm-$release
if [ -e "$to/.tracel-llvm-installed" ]; then
    echo "$to is there already"
    exit
fi
if [ -e "$to" ]; then
    echo "error: $to is there, and not whole: remove it" >&2
    exit 1
fi

parent=$(dirname "$to")
mkdir -p "$parent"
# Beside its place: a folder that is moved there is whole.
from=$(mktemp -d "$parent/llvm.XXXXXX")
trap 'rm -rf "$from"' EXIT
python3 -m pip install --quiet --no-compile --root-user-action ignore --disable-pip-version-check \
    --target "$from" "$package"
sdk=$from/mlc_llvm_static/static
ls "$sdk/lib/libLLVMNVPTXCodeGen.a" >/dev/null
# The build asks for static libraries, as here.
"$sdk/bin/llvm-config" --link-static --libs core >/dev/null
touch "$sdk/.tracel-llvm-installed"
mv "$sdk" "$to"
echo "$to: LLVM $("$to/bin/llvm-config" --version)"
