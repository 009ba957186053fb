"""Several processes, one a device: who starts them, what they agree on, and what if one is lost.

For the further devices of one machine nucleist starts the processes itself; `torchrun` and SLURM's
`srun` start all of them, on any number of machines. Lightning's DDP then does the training.
Lightning would start the processes too, but ends with a bare SIGKILL when one of them dies.
"""

import os
import signal
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ProgressBar
from pytorch_lightning.plugins.environments import LightningEnvironment, SLURMEnvironment
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch.distributed import TCPStore

from nucleist.distributed.watch import watch_others, watch_parent, watch_started
from nucleist.files import checksum
from nucleist.types import UserError

_STORES: list[TCPStore] = []  # alive as long as this process, the others read from it


@dataclass(frozen=True)
class Place:
    """Where this process stands among those that were started together.

    Attributes:
        rank: Its number, from 0.
        world: How many there are.
        local: How many there are on this machine.
        by: What started them: `torchrun`, `srun` or `nucleist`; None if it is alone.
    """

    rank: int = 0
    world: int = 1
    local: int = 1
    by: str | None = None


def place() -> Place:
    """Read from the environment where this process stands."""

    def number(name: str, default: int = 1) -> int:
        return int(os.environ.get(name) or default)

    if "TORCHELASTIC_RUN_ID" in os.environ:
        return Place(
            number("RANK", 0), number("WORLD_SIZE"), number("LOCAL_WORLD_SIZE"), "torchrun"
        )
    # Not SLURM_NTASKS: that is there too if the job has tasks, but srun started nothing.
    if (tasks := number("SLURM_STEP_NUM_TASKS")) > 1:
        nodes = number("SLURM_STEP_NUM_NODES")
        return Place(number("SLURM_PROCID", 0), tasks, tasks // nodes, "srun")
    if "NUCLEIST_PARENT" in os.environ:
        world = number("NUCLEIST_WORLD")
        return Place(number("LOCAL_RANK", 0), world, world, "nucleist")
    return Place()


def agree(text: str | None) -> str:
    """The `text` of the first process, in every process that a launcher has started."""
    here = place()
    if here.world == 1:
        return text or ""
    if here.by == "srun":
        os.environ["MASTER_ADDR"] = SLURMEnvironment(auto_requeue=False).main_address
        os.environ["MASTER_PORT"] = str(SLURMEnvironment(auto_requeue=False).main_port)
    # torchrun has a server already, otherwise the first process is the one.
    server = here.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    store = TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        here.world,
        server,
        timedelta(minutes=10),
        wait_for_workers=False,
        multi_tenant=True,  # Lightning's will be there as well
    )
    _STORES.append(store)
    key = f"nucleist/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}"
    if here.rank == 0:
        store.set(key, text or "")
    return store.get(key).decode()


def trainer(
    *,
    accelerator: str = "auto",
    devices: Any = "auto",
    strategy: str = "auto",
    num_nodes: int = 1,
    accumulate_grad_batches: int = 1,
    val_check_interval: float | None = None,
    sync_batchnorm: bool = False,
    timeout_min: float = 10,
    callbacks: Sequence[Callback] = (),
    plugins: Sequence[Any] = (),
    **options: Any,
) -> pl.Trainer:
    """Lightning's trainer, in as many processes as it has devices.

    Args:
        accelerator: As Lightning's.
        devices: As Lightning's; `auto` is the number that torchrun or srun started here.
        strategy: As Lightning's; `ddp...` gets nucleist's `Together`.
        num_nodes: Machines; torchrun and srun tell it themselves.
        accumulate_grad_batches: Parts in which a process takes its share of a batch.
        val_check_interval: Optimiser steps between two validations (Lightning counts the parts).
        sync_batchnorm: BatchNorm normalises by the images of all devices; GPUs only.
        timeout_min: After so many minutes without a word from the others a process gives up.
        callbacks: As Lightning's.
        plugins: As Lightning's.
        **options: As Lightning's.

    Raises:
        UserError: If devices, processes and options do not fit together.
    """
    here = place()
    if here.by in ("torchrun", "srun"):
        devices = here.local if devices == "auto" else devices
        num_nodes = here.world // here.local
    elif num_nodes > 1:
        raise UserError(
            f"trainer.num_nodes={num_nodes} needs a process started on each machine; use torchrun "
            "or srun, see scripts/torchrun.sh and scripts/slurm_ddp.sh"
        )
    if here.rank > 0:  # one voice is enough
        callbacks = [c for c in callbacks if not isinstance(c, ProgressBar)]
        options["enable_progress_bar"] = False
    parts = accumulate_grad_batches
    if isinstance(val_check_interval, int):
        val_check_interval *= parts
    made = pl.Trainer(
        accelerator=accelerator,
        devices=devices,
        num_nodes=num_nodes,
        strategy=_strategy(strategy, timeout_min),
        accumulate_grad_batches=parts,
        val_check_interval=val_check_interval,
        sync_batchnorm=sync_batchnorm,
        callbacks=[*callbacks, BetweenSteps()],
        plugins=[*plugins, *_environment(here)],
        **options,
    )
    _check(made, here, sync_batchnorm)
    if here.by == "nucleist":
        watch_parent()
    elif here.world > 1:
        watch_others(here.rank, here.world)
    elif made.world_size > 1 and "LOCAL_RANK" not in os.environ:
        watch_started(made)
    return made


def _strategy(name: str, timeout_min: float) -> Any:
    if name not in ("ddp", "ddp_find_unused_parameters_true", "ddp_find_unused_parameters_false"):
        return name
    for text in (
        ".*sync_dist=True.*",  # scores are the same everywhere, the metrics see to it
        "Grad strides do not match bucket view",  # of 1x1 kernels, which have no order of memory
    ):
        warnings.filterwarnings("ignore", text)
    unused = name.endswith("true")
    return Together(timeout=timedelta(minutes=timeout_min), find_unused_parameters=unused)


def _environment(here: Place) -> list[Any]:
    """Lightning's view of who started the processes, where its own guess would be wrong."""
    if here.by == "srun":
        return [SLURMEnvironment(auto_requeue=False)]  # scripts/slurm_ddp.sh queues the job again
    alone = here.by != "torchrun" and "SLURM_NTASKS" in os.environ
    return [LightningEnvironment()] if alone else []


def _check(made: pl.Trainer, here: Place, sync_batchnorm: bool) -> None:
    count = made.num_devices * made.num_nodes
    if here.by in ("torchrun", "srun") and count != here.world:
        raise UserError(
            f"{here.by} started {here.world} processes, but the trainer has {count} devices; "
            "add trainer=ddp, and leave trainer.devices=auto"
        )
    if sync_batchnorm and made.strategy.root_device.type == "cpu":
        raise UserError("trainer.sync_batchnorm=true needs GPUs, torch has no other; leave it out")


class Together(DDPStrategy):
    """Lightning's DDP, for processes whose validation images may differ in number.

    DDP's forward waits for the other processes, in evaluation too if there is a BatchNorm. One
    with an image more than the others would wait for ever, so validation goes past it.
    """

    def model_to_device(self) -> None:
        """Channels last before DDP looks at the strides of the weights."""
        super().model_to_device()
        assert self.lightning_module is not None
        self.lightning_module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def validation_step(self, *args: Any, **kwargs: Any) -> Any:
        """The module's own."""
        assert self.lightning_module is not None
        with self.precision_plugin.val_step_context():
            return self.lightning_module.validation_step(*args, **kwargs)


class BetweenSteps(Callback):
    """What all processes do together, between two optimiser steps and before a validation.

    SIGTERM, say of a scheduler, which one process may get and another not, ends the training
    in all of them between the same two steps, so that the checkpoint then written is whole.
    """

    def __init__(self) -> None:
        self._told, self._step = False, -1

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Each needs an image, to come to where scores are added, and the labels of the others."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        use = {"fit": "val", "test": "test"}.get(stage)
        if trainer.world_size > 1 and use and data is not None:
            if (count := len(data.ids(use))) < trainer.world_size:
                raise UserError(
                    f"split {data.splits[use]!r} has too few images ({count}) for "
                    f"{trainer.world_size} processes; use trainer.devices={count} at most"
                )
            if stage == "fit":
                same_labels(checksum((i, data.train_set.partial(i)[1:]) for i in data.ids("train")))

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """A run may go on with another number of parts a step than it was cut with."""
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        done = checkpoint["global_step"] * trainer.accumulate_grad_batches
        for part in ("total", "current"):
            progress[part] |= dict.fromkeys(progress[part], done)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen to SIGTERM; Lightning's own ear talks to the others in the midst of a step."""
        self._step = trainer.global_step  # nothing is lost yet, and the random state is not back
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._hear)

    def _hear(self, *signal_and_frame: Any) -> None:
        self._told = True

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """At the first part of a step: end if any process was told to."""
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        told = torch.tensor(float(self._told), device=trainer.strategy.root_device)
        if trainer.world_size > 1:
            told = trainer.strategy.reduce(told, reduce_op="max")
        if told:
            progress = trainer.fit_loop.epoch_loop.batch_progress
            for part in (progress.total, progress.current):
                part.ready -= 1  # the batch that is about to begin does not count yet
            raise SIGTERMException

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validate what a checkpoint has: the running means of the first process."""
        if trainer.state.fn == "fit":
            same_buffers(pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The same after the last step."""
        same_buffers(pl_module)


def same_labels(own: str) -> None:
    """Raise a `UserError` in every process if the checksum of one is not that of the first."""
    every = [own] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(every, own)
    if other := [rank for rank, found in enumerate(every, 1) if found != every[0]]:
        raise UserError(
            f"process {other[0]} of {len(every)} keeps other labels than the first; give all the "
            "same data, seed and version of nucleist"
        )


def same_buffers(module: torch.nn.Module) -> None:
    """Give every process the buffers of the first, as DDP does before each training step."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        for buffer in module.buffers():
            torch.distributed.broadcast(buffer, 0)
