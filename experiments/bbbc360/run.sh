#!/usr/bin/env bash
# All runs of this experiment, one process each, finished ones skipped: start it again after a cut.
#   NUCLEIST_DATA=FOLDER experiments/bbbc360/run.sh [runs folder]      from the project's root
#   JOBS=2 runs two at a time, each on THREADS threads (default 1 job on 2 threads)
set -euo pipefail
runs=${1:-runs/bbbc360}
export OMP_NUM_THREADS=${THREADS:-2} NUCLEIST=${NUCLEIST:-.venv/bin/nucleist} runs
# NAMES="a b" runs these only, EXTRA="key=value" adds an override
names=(bbbc360_baseline bbbc360_25_baseline bbbc360_25crop_baseline bbbc360_25_pa
       bbbc360_25_pa_warmup bbbc360_05_baseline bbbc360_05_pa)
[ -z "${NAMES:-}" ] || read -ra names <<<"$NAMES"
one() {
  name=${1%:*} seed=${1#*:} done=$runs/$1.done
  if [ -e "$done" ]; then return; fi
  "$NUCLEIST" train experiment="$name" seed="$seed" runs="$runs" trainer=cpu \
    ${EXTRA:-} >"$runs/$1.path" 2>"$runs/$1.log" && mv "$runs/$1.path" "$done" || echo "failed: $runs/$1.log"
}
export -f one
mkdir -p "$runs"
for seed in ${SEEDS:-0 1}; do
  for name in "${names[@]}"; do echo "$name:$seed"; done
done | xargs -P "${JOBS:-1}" -I{} bash -c 'one {}'
