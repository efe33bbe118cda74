#!/usr/bin/env bash
# Kills a training run at random moments and compares what comes out with an undisturbed run.
#
#   scripts/kill_test.sh [KILLS] [PROGRAM]
#
# Exits with 1 unless best.bpk and last.bpk are equal byte by byte.
set -euo pipefail
cd "$(dirname "$0")/.."
kills=${1:-20}
program=${2:-target/release/octresnet}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Whatever is drawn, averaged or summed up takes part.
cat >"$work/recipe.json" <<'JSON'
{
  "model": {"width": 0.125}, "data": {"train": {"size": 32}, "val": {"size": 32}},
  "schedule": {"kind": "one-cycle"}, "mixup": 0.2, "cutmix": 1.0, "dropout": 0.2, "ema": 0.99,
  "accumulate": 2, "clip_norm": 5.0, "checkpoint_every": 3, "epochs": 3, "device": "flex"
}
JSON
train=("$program" train --config "$work/recipe.json" --plain --output)

begin=$(date +%s%N)
"${train[@]}" "$work/whole" 2>"$work/whole.txt"
took=$(( ($(date +%s%N) - begin) / 1000000 ))
echo "undisturbed run: $took ms"

done_kills=0
while [ "$done_kills" -lt "$kills" ]; do
    # Before there is a recipe in the folder, there is nothing to resume.
    resume=()
    if [ -e "$work/killed/config.json" ]; then resume=(--resume); fi
    "${train[@]}" "$work/killed" "${resume[@]}" 2>"$work/killed.txt" &
    run=$!
    # From at once to a fifth of the run.
    sleep "$(awk -v most="$took" -v seed="$RANDOM" 'BEGIN { printf "%.3f", most / 5000 * seed / 32767 }')"
    if kill -KILL "$run" 2>/dev/null; then
        done_kills=$((done_kills + 1))
    fi
    if wait "$run" 2>/dev/null; then
        echo "the run ended after $done_kills kills; it begins anew"
        cmp "$work/whole/last.bpk" "$work/killed/last.bpk"
        rm -rf "$work/killed"
    fi
    printf 'kill %2d: ' "$done_kills"
    tail -qn1 "$work/killed.txt" | cut -c1-100
done
"${train[@]}" "$work/killed" --resume 2>"$work/killed.txt"
cmp "$work/whole/best.bpk" "$work/killed/best.bpk"
cmp "$work/whole/last.bpk" "$work/killed/last.bpk"
diff <(cut -d, -f1-8 "$work/whole/metrics.csv") <(cut -d, -f1-8 "$work/killed/metrics.csv")
echo "after $kills kills, best.bpk, last.bpk and metrics.csv (but for the times) are equal"
