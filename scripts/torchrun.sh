#!/bin/sh
# nucleist on all GPUs of one machine or several, through torchrun.
#
#   scripts/torchrun.sh train kumar_pa trainer=ddp
#   PROCESSES=2 scripts/torchrun.sh train demo trainer=ddp trainer.accelerator=cpu
#   NODES=2 FIRST=node1:29400 scripts/torchrun.sh train ...     the same on each of the machines
#
# PROCESSES  processes on this machine; default: one a GPU
# NODES      machines; default: 1
# FIRST      host:port of one of them, for NODES > 1
# ID         name of this start, the same on each machine and no other's; default: nucleist
# PYTHON     the interpreter; default: python
set -eu

if [ "${NODES:-1}" -eq 1 ]; then
    meeting=--standalone
else
    meeting="--rdzv-backend=c10d --rdzv-endpoint=${FIRST:?is needed for NODES > 1} --rdzv-id=${ID:-nucleist}"
fi

# shellcheck disable=SC2086  # several words on purpose
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NODES:-1}" --nproc-per-node="${PROCESSES:-gpu}" $meeting \
    -m nucleist "$@"
