#!/usr/bin/env bash
# Takes the numbers of docs/performance.md again and prints its table of targets.
#
#   python3 -m venv venv && venv/bin/pip install torch onnx onnxruntime onnxscript openvino numpy
#   PYTHON=venv/bin/python scripts/bench.sh [STEP...]
#
# Every step takes less than a minute on two cores (exporting the networks, done once, takes longer)
# and leaves its result in OUT (target/bench). Without PYTHON the other runtimes are left out. ALONE
# is a command put before every measurement, such as `taskset -c 0,1`; OCTRESNET is the program to
# measure, which is built if it is not given.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${OUT:-target/bench}
steps=("$@")
if [ $# = 0 ]; then
  steps=(infer-1 infer-8 train-8 train-8-burn)
  [ -z "${PYTHON:-}" ] || steps+=(runtimes-infer-1 runtimes-infer-8 runtimes-train-8)
fi
export RAYON_NUM_THREADS=${RAYON_NUM_THREADS:-2}
mkdir -p "$out"
program=${OCTRESNET:-target/release/octresnet}
[ -n "${OCTRESNET:-}" ] || cargo build --release -q -p octresnet

alone() { # FILE COMMAND...: measures into $out/FILE, which is left as it was if that fails
  echo "measuring $1" >&2
  ${ALONE:-} "${@:2}" > "$out/$1.tmp"
  mv "$out/$1.tmp" "$out/$1"
}

bench() { # NAME ARGUMENTS...
  alone "$1.json" "$program" bench "${@:2}" --device flex --alpha 0,0.5 --json
}

runtimes() { # NAME ARGUMENTS...
  local line=("${PYTHON:?the Python that has the other runtimes}" scripts/bench_runtimes.py
    --folder "$out/onnx" --threads "$RAYON_NUM_THREADS" "${@:2}")
  "${line[@]}" --prepare
  alone "$1.json" "${line[@]}" --octresnet "$program"
}

for step in "${steps[@]}"; do
  case $step in
    infer-1) bench "$step" infer --batch 1 --seconds 15 ;;
    infer-8) bench "$step" infer --batch 8 --seconds 25 ;;
    train-8) bench "$step" train --batch 8 --rows engine --runs 5 --warmup 1 ;;
    train-8-burn) bench "$step" train --batch 8 --rows burn-conv2d,composed --runs 3 --warmup 0 ;;
    runtimes-infer-1) runtimes "$step" --batch 1 --rounds 4 --runs 10 ;;
    runtimes-infer-8) runtimes "$step" --batch 8 --rounds 2 --runs 4 ;;
    runtimes-train-8) runtimes "$step" --mode train --batch 8 --rounds 2 --runs 2 \
      --runtimes torch,torch-channels-last ;;
    *) echo "there is no step '$step'" >&2; exit 2 ;;
  esac
done
python3 scripts/bench_targets.py "$out"
