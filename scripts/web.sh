#!/usr/bin/env bash
# Builds the page of examples/web from a trained run into a folder that any web server can serve:
#   scripts/web.sh [RUN] [FOLDER]      by default runs/emoji-1 and examples/web/dist
# The run is of the README's first command. A compiled `octresnet`, if there is one, writes the weights
# in half precision; otherwise they are copied as they are, twice as large.
set -euo pipefail
cd "$(dirname "$0")/.."
run=${1:-runs/emoji-1}
to=${2:-examples/web/dist}

for file in config.json classes.json best.bpk; do
    if [ ! -f "$run/$file" ]; then
        echo "error: $run/$file does not exist: train first, by 'cargo run --release -p octresnet -- train', or name a run" >&2
        exit 1
    fi
done

rustup target add wasm32-unknown-unknown >/dev/null
export CARGO_INCREMENTAL=0
manifest=examples/web/Cargo.toml
target=${CARGO_TARGET_DIR:-target/web}
RUSTFLAGS="-C target-feature=+simd128" CARGO_TARGET_DIR=$target \
    cargo build --locked --release --target wasm32-unknown-unknown --manifest-path $manifest --package octave-page
CARGO_TARGET_DIR=$target cargo build --locked --release --manifest-path $manifest --package bundle

rm -rf "$to"
mkdir -p "$to/model" "$to/pictures"
cp examples/web/site/* "$to"
"$target/release/bundle" "$target/wasm32-unknown-unknown/release/octave_page.wasm" "$to/pkg"

cp "$run/config.json" "$run/classes.json" "$to/model"
octresnet=${OCTRESNET:-target/release/octresnet}
if [ -x "$octresnet" ]; then
    "$octresnet" convert "$run" "$to/model/best.bpk" --f16 >/dev/null
else
    cp "$run/best.bpk" "$to/model"
fi

# One picture of each class, none of which the network was trained on.
list=""
for class in examples/data/emoji/val/*/; do
    picture=$(find "$class" -name '*-google.png' | sort | head -n 1)
    name=$(basename "$class")
    cp "$picture" "$to/pictures/$name.png"
    list+="${list:+, }{\"file\": \"$name.png\", \"name\": \"$name\"}"
done
echo "[$list]" >"$to/pictures/list.json"

echo "$to: $(du -sh "$to" | cut -f 1); see it by 'python3 -m http.server --directory $to', at http://localhost:8000"
