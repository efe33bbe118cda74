#!/usr/bin/env bash
# Runs the engine's tests where wrong uses of memory and races are noticed.
#
#   scripts/sanitize.sh [miri] [address] [thread]
#
# All three, if none is named. They need a nightly toolchain with the components miri and rust-src;
# where it is missing, that is said and nothing is run. The number of random cases of each property
# is CASES (20).
set -euo pipefail
cd "$(dirname "$0")/.."
cases=${CASES:-20}
host=$(rustc -vV | sed -n 's/^host: //p')
engine=(-p octave-engine --lib)
# Folders of their own: the flags differ from those of every other build.
target=${CARGO_TARGET_DIR:-target}/sanitize

missing() { # COMPONENT: whether it is not installed, and says so
    if rustup component list --toolchain nightly --installed 2>/dev/null | grep -q "^$1"; then
        return 1
    fi
    echo "left out: 'rustup toolchain install nightly --component $1' has not been run" >&2
}

# Portable kernels, since an interpreter has no others, and layers of a few pixels. Rayon keeps its
# threads for good, and its queues turn numbers into pointers. A backtrace takes it minutes.
run_miri() {
    ! missing miri || return 0
    MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-ignore-leaks -Zmiri-tree-borrows -Zmiri-permissive-provenance" \
        RUST_BACKTRACE=0 RAYON_NUM_THREADS=2 CARGO_TARGET_DIR=$target/miri \
        cargo +nightly miri test "${engine[@]}" -- small buffer
}

# Std is built with the same checks: what it does not know of, ThreadSanitizer takes for a race.
run_sanitizer() { # NAME
    ! missing rust-src || return 0
    RUSTFLAGS="-Zsanitizer=$1" CARGO_TARGET_DIR=$target/$1 PROPTEST_CASES=$cases \
        cargo +nightly test --profile mutants -Zbuild-std --target "$host" "${engine[@]}" \
        -- --skip larger_than_the_cache
}

for what in "${@:-miri address thread}"; do
    for tool in $what; do
        case $tool in
            miri) run_miri ;;
            address | thread) run_sanitizer "$tool" ;;
            *) echo "there is no '$tool': miri, address, thread" >&2; exit 2 ;;
        esac
    done
done
