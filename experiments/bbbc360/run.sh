#!/usr/bin/env bash
# Trains all runs of this experiment, each in a process of its own. Finished runs are skipped, so
# the same command goes on after an interruption. From the project's root:
#   NUCLEIST_DATA=FOLDER experiments/bbbc360/run.sh [RUNS]
#   JOBS=2               runs at a time (default 1)
#   THREADS=1            threads of each run (default 2)
#   NAMES="a b"          only these experiments
#   SEEDS="0 1"          the seeds
#   EXTRA="key=value"    further settings
set -euo pipefail
runs=${1:-runs/bbbc360}
export OMP_NUM_THREADS=${THREADS:-2} NUCLEIST=${NUCLEIST:-.venv/bin/nucleist} runs
names=(bbbc360_baseline bbbc360_25_baseline bbbc360_25crop_baseline bbbc360_25_pa
       bbbc360_25_pa_warmup bbbc360_05_baseline bbbc360_05_pa)
[ -z "${NAMES:-}" ] || read -ra names <<<"$NAMES"
one() { # name:seed
  name=${1%:*} seed=${1#*:} done=$runs/$1.done
  if [ -e "$done" ]; then return; fi
  # shellcheck disable=SC2086  # several words on purpose
  "$NUCLEIST" train "$name" seed="$seed" trainer=cpu ${EXTRA:-} -o "$runs" \
    >"$runs/$1.path" 2>"$runs/$1.log" && mv "$runs/$1.path" "$done" || echo "failed: $runs/$1.log"
}
export -f one
mkdir -p "$runs"
for seed in ${SEEDS:-0 1}; do
  for name in "${names[@]}"; do echo "$name:$seed"; done
done | xargs -P "${JOBS:-1}" -I{} bash -c 'one {}'
