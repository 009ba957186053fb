#!/bin/sh
# One training on all GPUs of several machines of a SLURM cluster; goes on by itself when cut.
#
#   sbatch --nodes=2 --gpus-per-node=4 --ntasks-per-node=4 scripts/slurm_ddp.sh \
#       kumar_pa trainer=ddp
#
# One task a GPU. The folder `runs` has to be on a file system that all machines see.
#SBATCH --job-name=nucleist
#SBATCH --cpus-per-task=4
#SBATCH --time=12:00:00
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:TERM@120
set -eu

# Two minutes before its time is over, and when the job has to make room, this shell gets SIGTERM.
# It hands it on: the training writes a checkpoint and ends. Then the job is queued again.
again() {
    scancel --signal=TERM "$SLURM_JOB_ID"
    wait "$tasks" || true
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
}
trap again TERM

# --kill-on-bad-exit: if a process dies, the others end too.
export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"
srun --kill-on-bad-exit=1 "${PYTHON:-python}" -m nucleist train "$@" resume=auto &
tasks=$!
wait "$tasks"
