#!/usr/bin/env bash
# Builds the page and tests it in headless Chromium, and the engine's kernels as WebAssembly.
#   scripts/web_test.sh [RUN]      by default runs/emoji-1, which is trained if it is not there
# What cannot be had on this machine, such as a browser, is said and left out.
set -euo pipefail
cd "$(dirname "$0")/.."
run=${1:-runs/emoji-1}
export OCTRESNET=${OCTRESNET:-target/release/octresnet} CARGO_INCREMENTAL=0
page=examples/web/dist

if ! rustup target add wasm32-unknown-unknown wasm32-wasip1; then
    echo "the targets of WebAssembly cannot be installed here: the page is left out"
    exit 0
fi
if [ ! -x "$OCTRESNET" ]; then
    cargo build --release --workspace --bin octresnet
fi
if [ ! -f "$run/best.bpk" ]; then
    "$OCTRESNET" train --output "$run"
fi
cargo fmt --all --check --manifest-path examples/web/Cargo.toml
scripts/web.sh "$run" "$page"

command -v node >/dev/null || { echo "node is not here (20 or later): the page is built, and not tested"; exit 0; }
target=${CARGO_TARGET_DIR:-target/web}
CARGO_TARGET_DIR=$target RUSTFLAGS="-C target-feature=+simd128" \
    CARGO_TARGET_WASM32_WASIP1_RUNNER="node --no-warnings $PWD/scripts/wasi.mjs" \
    cargo test --release -p octave-engine --lib --target wasm32-wasip1

# Debian's package, which in a container has nothing to recommend.
install_chromium() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    apt-get -o Acquire::Retries=5 update -qq &&
        DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=5 \
            install -y -qq --no-install-recommends chromium >/dev/null
}
if ! command -v "${CHROMIUM:-chromium}" >/dev/null && ! install_chromium; then
    echo "chromium is not here: the page is built, and not tested in a browser"
    exit 0
fi

# The native program with the weights of the page, rounded as they are.
native=$(mktemp -d)
trap 'rm -rf "$native"' EXIT
cp "$page"/model/*.json "$native"
"$OCTRESNET" convert "$page/model/best.bpk" "$native/best.bpk" >/dev/null
"$OCTRESNET" predict "$native" "$page/pictures" --top 12 --json >"$native/predictions.json"
NATIVE=$native/predictions.json node --test examples/web/test/page.test.mjs
