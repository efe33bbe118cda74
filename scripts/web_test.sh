#!/usr/bin/env bash
# Tests the page in headless Chromium, and the engine's kernels as WebAssembly. Builds the page first.
#   scripts/web_test.sh [RUN]      by default runs/emoji-1, which is trained if it is not there
set -euo pipefail
cd "$(dirname "$0")/.."
run=${1:-runs/emoji-1}
export OCTRESNET=${OCTRESNET:-target/release/octresnet}

command -v node >/dev/null || { echo "node is not here (20 or later): the page is left out"; exit 0; }
if ! command -v "${CHROMIUM:-chromium}" >/dev/null; then
    [ "$(id -u)" = 0 ] || { echo "chromium is not here: the page is left out"; exit 0; }
    apt-get -o Acquire::Retries=5 update -qq
    DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=5 install -y -qq chromium >/dev/null
fi
if ! rustup target add wasm32-unknown-unknown wasm32-wasip1; then
    echo "the targets of WebAssembly cannot be installed here: the page is left out"
    exit 0
fi
if [ ! -x "$OCTRESNET" ]; then
    CARGO_INCREMENTAL=0 cargo build --release --workspace --bin octresnet
fi
if [ ! -f "$run/best.bpk" ]; then
    "$OCTRESNET" train --output "$run"
fi

cargo fmt --all --check --manifest-path examples/web/Cargo.toml
target=${CARGO_TARGET_DIR:-examples/web/target}
CARGO_TARGET_DIR=$target CARGO_INCREMENTAL=0 RUSTFLAGS="-C target-feature=+simd128" \
    CARGO_TARGET_WASM32_WASIP1_RUNNER="node --no-warnings $PWD/scripts/wasi.mjs" \
    cargo test --release -p octave-engine --lib --target wasm32-wasip1

scripts/web.sh "$run"

# The native program with the weights of the page, rounded as they are.
native=$(mktemp -d)
trap 'rm -rf "$native"' EXIT
cp examples/web/dist/model/*.json "$native"
"$OCTRESNET" convert examples/web/dist/model/best.bpk "$native/best.bpk" >/dev/null
"$OCTRESNET" predict "$native" examples/web/dist/pictures --top 12 --json >"$native/predictions.json"
NATIVE=$native/predictions.json node --test examples/web/test/page.test.mjs
