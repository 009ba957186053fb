#!/usr/bin/env bash
# The canonical-shape paper's Table 1: every model trains equally long on patches of BBBC038, then
# canonical shape is evaluated on both grids with and without post-processing.
#   NUCLEIST_DATA=FOLDER experiments/canonical_shape/run.sh [runs folder]    from the project's root
# Start it again after a cut: what is finished is skipped, what was begun goes on.
#   BUDGET=900       seconds of training for each model of Table 1
#   THREADS=1        threads of each process; the steps are timed with as many
#   PARTIAL=runs/bbbc360   runs of experiments/bbbc360, for the second table
#   NAMES="a b"      these experiments only;  SEED=0;  EXTRA="key=value" adds an override
# The steps of a model are the budget over the median time of 20 steps. They are measured once and
# kept in <runs>/<name>.steps, so that a run can be repeated exactly: start nothing beside it.
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
  # shellcheck disable=SC2086
  "$nucleist" train experiment="$name" seed="${SEED:-0}" runs="$runs" trainer=cpu data.workers=0 \
    resume=auto "$@" ${EXTRA:-} >"$runs/$name.path" 2>>"$runs/$name.log" ||
    { echo "failed: $runs/$name.log" >&2; exit 1; }
  mv "$runs/$name.path" "$runs/$name.done"
}

evaluate() { # name, folder, [key=value ...]: its last checkpoint at other settings of the net
  local name=$1 folder=$2; shift 2
  local run; run=$(tail -n 1 "$runs/$name.done")
  [ -e "$run/$folder/summary.json" ] && return
  "$nucleist" evaluate checkpoint="$run/checkpoints/last.ckpt" trainer=cpu -o "$run/$folder" "$@" \
    >/dev/null 2>>"$runs/$name.log" || { echo "failed: $runs/$name.log" >&2; exit 1; }
}

for name in "${names[@]}"; do
  if [ "$name" = bbbc360_canonical_shape ]; then  # the steps of the compact recipe
    train "$name"
    continue
  fi
  if [ ! -e "$runs/$name.steps" ]; then
    # shellcheck disable=SC2086
    seconds=$("$python" "$here/seconds.py" experiment="$name" trainer=cpu data.workers=0 ${EXTRA:-})
    awk -v budget="${BUDGET:-900}" -v step="$seconds" \
      'BEGIN { n = int(budget / step); print (n < 2 ? 2 : n) }' >"$runs/$name.steps"
    echo "$name: $seconds s a step, $(cat "$runs/$name.steps") steps"
  fi
  train "$name" steps="$(cat "$runs/$name.steps")"
  case $name in canonical_shape*)
    for setting in "32 false" "32 true" "128 false"; do  # 128 true is the test of the run
      read -r grid group <<<"$setting"
      evaluate "$name" "grid${grid}_group_$group" model.grid="$grid" model.group="$group"
    done ;;
  esac
done
"$python" "$here/collect.py" "$runs" "${PARTIAL:-runs/bbbc360}" "$here"
