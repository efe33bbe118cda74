#!/usr/bin/env bash
# Measures our networks beside onnxruntime-web, in turns in headless Chromium, on one thread, on our own
# ONNX exports. Wants scripts/web.sh first, and a command with export:
#   cargo build --release --bin octresnet --features octresnet/onnx
set -euo pipefail
cd "$(dirname "$0")/.."
octresnet=${OCTRESNET:-target/release/octresnet}
nets=${NETS:-target/web-bench}
mkdir -p "$nets"

[ -d "$nets/node_modules/onnxruntime-web" ] ||
    npm install --silent --no-audit --no-fund --prefix "$nets" onnxruntime-web@1.30.0

export_at() { # NAME WEIGHTS SIZE
    for alpha in 0 0.5; do
        [ -f "$nets/$1-$alpha.onnx" ] && continue
        "$octresnet" convert "$2" "$nets/$1-$alpha.safetensors" --alpha "$alpha"
        "$octresnet" export "$nets/$1-$alpha.safetensors" "$nets/$1-$alpha.onnx" --size "$3" --batch 1
    done
}
# The weights that the page has, which are rounded.
export_at page examples/web/dist/model/best.bpk 64
[ -f "$nets/random.safetensors" ] || python3 scripts/random_resnet.py "$nets/random.safetensors"
[ -f "$nets/resnet.bpk" ] || "$octresnet" convert "$nets/random.safetensors" "$nets/resnet.bpk"
export_at resnet "$nets/random.safetensors" 224

PAGE=examples/web/dist ORT=$nets/node_modules/onnxruntime-web/dist NETS=$nets node examples/web/test/bench.mjs
