#!/usr/bin/env bash
# Both sides of the speed claim in one run on the same cores: a search step by candlewick, by PyTorch eager and by PyTorch
# with --channels-last, in turn; then the ratios of the medians and of the peak resident memory.
#
#   benches/side_by_side.sh [--order N] [--channels N] [--layers N] [--batch N] [--size N] [--steps N]
#
# Needs python3 with pip once, to put PyTorch into a virtual environment (TORCH_VENV, by default target/torch-venv).
set -euo pipefail
cd "$(dirname "$0")/.."

options=(--order 1 --channels 16 --layers 8 --batch 64 --steps 5)
[ $# -gt 0 ] && options=("$@")
venv=${TORCH_VENV:-target/torch-venv}
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" -q install torch numpy safetensors
fi
cargo build --release --quiet

out=$(mktemp)
trap 'rm -f "$out"' EXIT
run() { # name, command …
    local name=$1
    shift
    echo "# $name" >&2
    "$@" | tee /dev/stderr | sed "s/^{/{\"side\": \"$name\", /" >>"$out"
}
run candlewick ./target/release/candlewick bench step "${options[@]}"
run eager "$venv/bin/python" benches/torch_darts.py step "${options[@]}"
run channels-last "$venv/bin/python" benches/torch_darts.py step --channels-last "${options[@]}"
run candlewick ./target/release/candlewick bench step "${options[@]}"

"$venv/bin/python" - "$out" <<'PYTHON'
import json, statistics, sys

sides = {}
for line in open(sys.argv[1]):
    row = json.loads(line)
    side = sides.setdefault(row["side"], {"seconds": [], "memory": 0})
    side["seconds"] += row["seconds"]
    side["memory"] = max(side["memory"], row["peak_rss_mb"])
ours = sides["candlewick"]
print(f"{'':14} {'median s':>9} {'peak MB':>8}   candlewick is")
for name, side in sides.items():
    seconds, memory = statistics.median(side["seconds"]), side["memory"]
    ratio = "" if side is ours else (
        f"{seconds / statistics.median(ours['seconds']):.2f} times as fast, in 1/{memory / ours['memory']:.1f} of the memory")
    print(f"{name:14} {seconds:9.3f} {memory:8}   {ratio}")
PYTHON
