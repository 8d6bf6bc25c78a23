#!/usr/bin/env bash
# Both sides of the speed claims in one run on the same cores: each row is measured by candlewick, by PyTorch eager, by
# PyTorch with --channels-last and by candlewick again, in turn; then medians, and candlewick against the best of
# PyTorch.
#
#   benches/side_by_side.sh [ROW …] [--with-compile] [--order N] [--batch N] [--channels N] [--layers N] [--partial K]
#                           [--size N] [--hidden N] [--window N] [--steps N] [--threads N] [--device cuda]
#
#   first     a first-order search step, 16 channels, 8 cells, batch 64 (the default)
#   second    the same to second order
#   partial   first order on partial channels (PC-DARTS), K = 4, batch 256; candlewick within 2 GB
#   eval      a training step of DARTS_V2, 36 channels, 20 cells, batch 32
#   small     a first-order search step on 8×8 images
#   rnn-search  a first-order step of a recurrent search, width 300, 256 columns, windows of 35
#   rnn-train   a training step of DARTS_V2's recurrent cell, width 850, 64 columns, windows of 35
#   all       every one of them
#
# Options replace those of the rows. With --device cuda both sides run on the first NVIDIA GPU, and the memory shown is
# still the processor's; partial then goes without its limit, and language models are refused. --with-compile measures
# PyTorch with torch.compile as well; where that fails, the row says so and the others go on. Needs python3 with pip
# once, to put PyTorch into a virtual environment (TORCH_VENV, by default target/torch-venv).
set -euo pipefail
cd "$(dirname "$0")/.."

known=(first second partial eval small rnn-search rnn-train)
rows=()
compile=false
device=()
declare -A given=()
fail() {
    echo "side_by_side.sh: $1" >&2
    exit 2
}
while [ $# -gt 0 ]; do
    case $1 in
        first | second | partial | eval | small | rnn-search | rnn-train) rows+=("$1") ;;
        all) rows=("${known[@]}") ;;
        --with-compile) compile=true ;;
        --device)
            [[ ${2:-} == cpu || ${2:-} == cuda ]] || fail "$1 takes cpu or cuda"
            device=("$1" "$2")
            shift
            ;;
        --order | --batch | --channels | --layers | --partial | --size | --hidden | --window | --steps | --threads)
            [[ ${2:-} =~ ^[0-9]+$ ]] || fail "$1 takes a number"
            given[$1]=$2
            shift
            ;;
        *) fail "there is no row or option $1; rows: ${known[*]} all" ;;
    esac
    shift
done
[ ${#rows[@]} -gt 0 ] || rows=(first)
[[ "${device[*]-} ${rows[*]}" != *cuda*rnn-* ]] ||
    fail "language models do not run on CUDA yet; leave the rows rnn-* out"

venv=${TORCH_VENV:-target/torch-venv}
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" -q install torch numpy safetensors
fi
cargo build --release --quiet

# The row's command ("step" or "eval") and its options, in `what` and `options`, and what only candlewick gets, in
# `ours`.
choose() {
    local -A set
    what=step theirs=torch_darts.py ours=()
    case $1 in
        first) set=([--order]=1 [--batch]=64 [--channels]=16 [--layers]=8) ;;
        second) set=([--order]=2 [--batch]=64 [--channels]=16 [--layers]=8) ;;
        partial) ours=(--memory 2GB) set=([--order]=1 [--batch]=256 [--channels]=16 [--layers]=8 [--partial]=4) ;;
        eval) what=eval set=([--batch]=32 [--channels]=36 [--layers]=20) ;;
        small) set=([--order]=1 [--batch]=64 [--channels]=16 [--layers]=8 [--size]=8) ;;
        rnn-search) theirs=torch_darts_rnn.py set=([--order]=1 [--batch]=256 [--hidden]=300 [--window]=35) ;;
        rnn-train) what=eval theirs=torch_darts_rnn.py set=([--batch]=64 [--hidden]=850 [--window]=35) ;;
    esac
    set[--steps]=5
    local name
    for name in "${!given[@]}"; do
        # A discrete network has neither order nor partial channels; images and words have sizes of their own.
        [[ $what == eval && ($name == --order || $name == --partial) ]] && continue
        case $theirs,$name in
            torch_darts.py,--hidden | torch_darts.py,--window) ;;
            torch_darts_rnn.py,--channels | torch_darts_rnn.py,--layers | torch_darts_rnn.py,--partial) ;;
            torch_darts_rnn.py,--size) ;;
            *) set[$name]=${given[$name]} ;;
        esac
    done
    options=()
    for name in "${!set[@]}"; do options+=("$name" "${set[$name]}"); done
    options+=(${device[@]+"${device[@]}"})
    [[ ${device[*]-} != *cuda ]] || ours=()
}

out=$(mktemp)
trap 'rm -f "$out"' EXIT
run() { # row, side, command …
    local row=$1 side=$2
    shift 2
    echo "# $row, $side: $*" >&2
    "$@" | tee /dev/stderr | sed -n "s/^{/{\"row\": \"$row\", \"side\": \"$side\", /p" >>"$out"
}
failed=()
for row in "${rows[@]}"; do
    choose "$row"
    bench=(./target/release/candlewick bench "$what")
    [[ $theirs == torch_darts.py ]] || bench=(./target/release/candlewick bench "rnn-$what")
    run "$row" candlewick "${bench[@]}" "${options[@]}" "${ours[@]}"
    run "$row" eager "$venv/bin/python" "benches/$theirs" "$what" "${options[@]}"
    # Recurrent cells have no channels to put last, and their script no compiled form.
    if [[ $theirs == torch_darts.py ]]; then
        run "$row" channels-last "$venv/bin/python" "benches/$theirs" "$what" --channels-last "${options[@]}"
        if $compile; then
            run "$row" compile "$venv/bin/python" "benches/$theirs" "$what" --compile "${options[@]}" ||
                failed+=("$row")
        fi
    fi
    run "$row" candlewick "${bench[@]}" "${options[@]}" "${ours[@]}"
done

"$venv/bin/python" - "$out" ${failed[@]+"${failed[@]}"} <<'PYTHON'
import json, statistics, sys

rows, failed = {}, sys.argv[2:]
for line in open(sys.argv[1]):
    entry = json.loads(line)
    side = rows.setdefault(entry["row"], {}).setdefault(entry["side"], {"seconds": [], "memory": 0})
    side["seconds"] += entry["seconds"]
    side["memory"] = max(side["memory"], entry["peak_rss_mb"])
print(f"\n{'row':10} {'side':14} {'median s':>9} {'peak MB':>8}   candlewick is")
for row, sides in rows.items():
    medians = {name: statistics.median(side["seconds"]) for name, side in sides.items()}
    ours = sides["candlewick"]
    for name, side in sides.items():
        faster, smaller = medians[name] / medians["candlewick"], side["memory"] / ours["memory"]
        ratio = "" if side is ours else f"{faster:.2f} times as fast, in 1/{smaller:.1f} of the memory"
        print(f"{row:10} {name:14} {medians[name]:9.3f} {side['memory']:8}   {ratio}")
    if row in failed:
        print(f"{row:10} {'compile':14}    failed (its message is above)")
print(f"\n{'row':10} {'candlewick s':>12} {'best s':>9}   {'best side':14} {'time ratio':>10} {'memory ratio':>12}")
for row, sides in rows.items():
    medians = {name: statistics.median(side["seconds"]) for name, side in sides.items()}
    best = min((name for name in ("eager", "channels-last") if name in medians), key=medians.get)
    time, memory = medians[best] / medians["candlewick"], sides[best]["memory"] / sides["candlewick"]["memory"]
    print(f"{row:10} {medians['candlewick']:12.3f} {medians[best]:9.3f}   {best:14} {time:10.2f} {memory:12.1f}")
PYTHON
