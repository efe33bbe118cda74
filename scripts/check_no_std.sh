#!/usr/bin/env bash
# Shows that burn-octconv and everything it depends on need no more than core and alloc.
#
# A build for the host proves little: a crate that uses std by mistake finds it there. A bare target
# has none, but must be installed first. So this compiles for the host with a sysroot that holds core
# and alloc alone, and with target_os = "none" as a bare target has it (some crates choose their
# dependencies by that). Any use of std is then "can't find crate for `std`".
#
#     scripts/check_no_std.sh [cargo arguments]
#
# Where a bare target is installed, this shows the same:
#
#     cargo check -p burn-octconv --no-default-features --target thumbv7em-none-eabihf
set -euo pipefail
cd "$(dirname "$0")/.."

host=$(rustc -vV | sed -n 's/^host: //p')
installed=$(rustc --print sysroot)/lib/rustlib/$host/lib
sysroot=$(mktemp -d)
trap 'rm -r "$sysroot"' EXIT
mkdir -p "$sysroot/lib/rustlib/$host/lib"
for crate in core alloc compiler_builtins; do
    ln -s "$installed/lib$crate"-* "$sysroot/lib/rustlib/$host/lib/"
done

# A folder of its own, since the flags differ from those of every other build. The path of the
# sysroot is part of the flags: link it to one that stays, so that a second run builds nothing.
target=${CARGO_TARGET_DIR:-target}/no-std
mkdir -p "$target"
ln -sfn "$sysroot" "$target/sysroot"
flags="--sysroot $(realpath -s "$target/sysroot") --cfg target_os=\"none\" -A explicit_builtin_cfgs_in_flags"

# Build scripts and macros run on the host and are not touched by these flags, for --target is given.
RUSTFLAGS=$flags CARGO_TARGET_DIR=$target \
    cargo check -p burn-octconv --no-default-features --target "$host" "$@"
