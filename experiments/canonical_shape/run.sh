#!/usr/bin/env bash
# Table 1 of the canonical-shape paper: every model trains for the same time on patches of BBBC038,
# then canonical shape is evaluated on both grids, with and without post-processing. Finished runs
# are skipped and interrupted ones resumed when the same command is started again. From the
# project's root:
#   NUCLEIST_DATA=FOLDER experiments/canonical_shape/run.sh [RUNS]
#   BUDGET=900             seconds of training for each model of Table 1
#   THREADS=1              threads of each process; the steps are timed with as many
#   PARTIAL=runs/bbbc360   runs of experiments/bbbc360, for the second table
#   NAMES="a b"            only these experiments
#   SEED=0                 the seed
#   EXTRA="key=value"      further settings
# The number of steps is the budget over the median time of 20 steps. It is measured once and kept
# in RUNS/NAME.steps, so that a run can be repeated exactly; run nothing else meanwhile.
set -euo pipefail
runs=${1:-runs/canonical_shape} here=$(dirname "$0")
export OMP_NUM_THREADS=${THREADS:-1}
nucleist=${NUCLEIST:-.venv/bin/nucleist} python=${PYTHON:-.venv/bin/python}
names=(canonical_shape canonical_shape_no_count canonical_deeplabv3 canonical_mask_rcnn
       bbbc360_canonical_shape)
[ -z "${NAMES:-}" ] || read -ra names <<<"$NAMES"
mkdir -p "$runs"

train() { # name [key=value ...]
  local name=$1; shift
  [ -e "$runs/$name.done" ] && return
  echo "$name $*"
  # shellcheck disable=SC2086  # several words on purpose
  "$nucleist" train "$name" seed="${SEED:-0}" trainer=cpu data.workers=0 resume=auto "$@" \
    ${EXTRA:-} -o "$runs" >"$runs/$name.path" 2>>"$runs/$name.log" ||
    { echo "failed: $runs/$name.log" >&2; exit 1; }
  mv "$runs/$name.path" "$runs/$name.done"
}

evaluate() { # name, folder, [key=value ...]: the last checkpoint with other options of the net
  local name=$1 folder=$2; shift 2
  local run; run=$(tail -n 1 "$runs/$name.done")
  [ -e "$run/$folder/summary.json" ] && return
  # last.ckpt by name: of a run folder best.ckpt would be taken, as validation and test differ
  "$nucleist" evaluate "$run/checkpoints/last.ckpt" trainer=cpu "$@" -o "$run/$folder" \
    >/dev/null 2>>"$runs/$name.log" || { echo "failed: $runs/$name.log" >&2; exit 1; }
}

for name in "${names[@]}"; do
  if [ "$name" = bbbc360_canonical_shape ]; then  # the steps are those of its configuration
    train "$name"
    continue
  fi
  if [ ! -e "$runs/$name.steps" ]; then
    # shellcheck disable=SC2086
    seconds=$("$python" "$here/seconds.py" "$name" trainer=cpu data.workers=0 ${EXTRA:-})
    awk -v budget="${BUDGET:-900}" -v step="$seconds" \
      'BEGIN { n = int(budget / step); print (n < 2 ? 2 : n) }' >"$runs/$name.steps"
    echo "$name: $seconds s a step, $(cat "$runs/$name.steps") steps"
  fi
  train "$name" steps="$(cat "$runs/$name.steps")"
  case $name in canonical_shape*)
    for setting in "32 false" "32 true" "128 false"; do  # the run's own test is 128 true
      read -r grid group <<<"$setting"
      evaluate "$name" "grid${grid}_group_$group" model.grid="$grid" model.group="$group"
    done ;;
  esac
done
"$python" "$here/collect.py" "$runs" "${PARTIAL:-runs/bbbc360}" "$here"
