#!/usr/bin/env bash
# Prints how many lines of each reader of outside input the fuzz targets reach.
#
#   scripts/coverage.sh [SECONDS]      of each target, 20 if not given
#
# Needs LLVM's tools: rustup component add llvm-tools. LLVM_TOOLS says where they are, if elsewhere.
set -euo pipefail
if [ -n "${COVERED:-}" ]; then
    # Cargo runs this script in the place of rustc for the workspace's own crates. All else is as in every
    # other build, and not built again.
    exec "$@" -C instrument-coverage
fi
cd "$(dirname "$0")/.."
host=$(rustc -vV | sed -n 's/^host: //p')
tools=${LLVM_TOOLS:-$(rustc --print sysroot)/lib/rustlib/$host/bin}
profiles=$(realpath -m "${CARGO_TARGET_DIR:-target}/coverage")
readers=(
    crates/burn-image-folder/src/{decode,prepare,index.rs,list.rs}
    crates/burn-octresnet/src/weights
    crates/burn-image-train/src/{recipe,checkpoint.rs,session/state.rs}
    crates/burn-octconv/src/conv/config.rs
)

build=(cargo test --release --workspace --test fuzz)
export COVERED=1 RUSTC_WORKSPACE_WRAPPER=$PWD/scripts/coverage.sh
rm -rf "$profiles"
mkdir -p "$profiles"
export LLVM_PROFILE_FILE=$profiles/%p.profraw
program=$("${build[@]}" --no-run --message-format=json | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1)
"$program" --seconds "${1:-20}"
"$tools/llvm-profdata" merge -sparse "$profiles"/*.profraw -o "$profiles/all.profdata"
"$tools/llvm-cov" export "$program" -instr-profile="$profiles/all.profdata" -summary-only "${readers[@]}" |
    python3 -c '
import json, os, sys
for file in json.load(sys.stdin)["data"][0]["files"]:
    lines = file["summary"]["lines"]
    name = os.path.relpath(file["filename"])
    print("%4d of %4d  %3.0f %%  %s" % (lines["covered"], lines["count"], lines["percent"], name))
'
