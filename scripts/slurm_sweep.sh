#!/bin/sh
# Many runs as an array of SLURM jobs, one run and one GPU each; or a prediction, shared by jobs.
#
#   sbatch --array=0-4 scripts/slurm_sweep.sh seed bbbc360_25_pa
#   sbatch --array=1-8 scripts/slurm_sweep.sh predict last.ckpt slides/ -o out
#
# The first word is the key that gets the number of the job: here seed=0 to seed=4. For lists of
# values nucleist train -m launcher=submitit needs no script. With predict, each job outlines its
# share of the images. The same command goes on with what was cut.
#SBATCH --job-name=nucleist
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --time=12:00:00
#SBATCH --output=%x-%A_%a.log
#SBATCH --open-mode=append
#SBATCH --requeue
set -eu

key=$1
shift
if [ "$key" = predict ]; then
    place=$((SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN + 1))
    set -- predict "$@" "share=$place/$SLURM_ARRAY_TASK_COUNT"
else
    set -- train "$@" "$key=$SLURM_ARRAY_TASK_ID" resume=auto
fi
exec "${PYTHON:-python}" -m nucleist "$@"
