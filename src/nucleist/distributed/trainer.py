"""Lightning's trainer in one of several processes, one a device.

`run_on_devices`, torchrun or srun start the processes; Lightning's DDP then does the training.
"""

import os
import signal
import threading
import warnings
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.accelerators import CUDAAccelerator, MPSAccelerator
from pytorch_lightning.callbacks import Callback, ProgressBar
from pytorch_lightning.plugins.environments import LightningEnvironment, SLURMEnvironment
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.exceptions import SIGTERMException

from nucleist.distributed.place import Place, place
from nucleist.files import checksum
from nucleist.types import UserError


def trainer(
    *,
    accelerator: str = "auto",
    devices: Any = "auto",
    strategy: str = "auto",
    precision: Any = None,
    num_nodes: int = 1,
    accumulate_grad_batches: int = 1,
    val_check_interval: float | None = None,
    sync_batchnorm: bool = False,
    timeout_min: float = 10,
    callbacks: Sequence[Callback] = (),
    plugins: Sequence[Any] = (),
    **options: Any,
) -> pl.Trainer:
    """Lightning's trainer, for this process and those that were started with it.

    Args:
        accelerator: As Lightning's.
        devices: As Lightning's; `auto` is the number of processes started on this machine.
        strategy: As Lightning's; `ddp...` is nucleist's `Together`, in a single process `auto`.
        precision: As Lightning's; `auto` is `bf16-mixed` on GPUs that compute in bfloat16, else
            `32-true`.
        num_nodes: Machines; with torchrun and srun their number is known.
        accumulate_grad_batches: Parts in which a process takes its share of a batch.
        val_check_interval: Optimiser steps between two validations (Lightning counts the parts).
        sync_batchnorm: BatchNorm normalises by the images of all devices; GPUs only.
        timeout_min: A process that waits so many minutes for the others gives up.
        callbacks: As Lightning's.
        plugins: As Lightning's.
        **options: As Lightning's.

    Raises:
        UserError: If devices, processes and options do not fit together.
    """
    here = place()
    if here.by is not None:
        devices = here.local if devices == "auto" else devices
        num_nodes = here.world // here.local
    else:
        check_nodes(num_nodes)
    if here.rank > 0:  # rank 0 shows the progress of all
        callbacks = [c for c in callbacks if not isinstance(c, ProgressBar)]
        options["enable_progress_bar"] = False
    if accelerator in ("gpu", "cuda") and not has_gpu():
        raise UserError(
            f"trainer.accelerator={accelerator}: no GPU here; use trainer=auto or trainer=cpu"
        )
    parts = accumulate_grad_batches
    if isinstance(val_check_interval, int):
        val_check_interval *= parts
    made = pl.Trainer(
        accelerator=accelerator,
        devices=devices,
        num_nodes=num_nodes,
        strategy=_strategy(strategy, timeout_min) if here.world > 1 else "auto",
        precision=_precision(accelerator) if precision == "auto" else precision,
        accumulate_grad_batches=parts,
        val_check_interval=val_check_interval,
        sync_batchnorm=sync_batchnorm,
        callbacks=[*callbacks, BetweenSteps()],
        plugins=[*plugins, *_environment(here)],
        **options,
    )
    _check(made, here, sync_batchnorm)
    return made


def has_gpu() -> bool:
    """Whether torch finds a GPU."""
    return CUDAAccelerator.is_available() or MPSAccelerator.is_available()


def check_nodes(num_nodes: int) -> None:
    """Refuse several machines where nothing has started a process on each.

    Raises:
        UserError: If there is more than one.
    """
    if num_nodes > 1:
        raise UserError(
            f"trainer.num_nodes={num_nodes} needs a process started on each machine; use torchrun "
            "or srun, see scripts/torchrun.sh and scripts/slurm_ddp.sh"
        )


def _precision(accelerator: str) -> Any:
    """Lightning's name of bfloat16 autocast if the GPU here computes in it, else of float32."""
    gpu = accelerator != "cpu" and torch.cuda.is_available()
    native = gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16-mixed" if native else "32-true"


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
    if count > 1 and here.by is None:
        raise UserError(
            f"trainer.devices asks for {count} devices, which need a process each, but there is "
            "one process; add trainer=ddp to nucleist train or nucleist evaluate"
        )
    if here.by is not None and count != here.world:
        raise UserError(
            f"{here.by} started {here.world} processes, but the trainer has {count} devices; "
            "add trainer=ddp, and leave trainer.devices=auto"
        )
    if sync_batchnorm and made.strategy.root_device.type == "cpu":
        raise UserError("trainer.sync_batchnorm=true needs GPUs; leave it out on the CPU")


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
    in all of them between the same two steps, so that the checkpoint then written is whole. The
    handler that was there before is put back when the training ends, in whatever way.
    """

    def __init__(self) -> None:
        self._terminated, self._step = False, -1
        self._handler_before: Any = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check that all processes keep the same labels."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if trainer.world_size > 1 and stage == "fit" and data is not None:
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
        """Handle SIGTERM here; Lightning's handler waits for the others in the midst of a step."""
        self._step = trainer.global_step  # nothing is lost yet, and the random state is not back
        if threading.current_thread() is threading.main_thread():
            self._handler_before = signal.signal(signal.SIGTERM, self._terminate)

    def _terminate(self, *signal_and_frame: Any) -> None:
        self._terminated = True

    def _put_back(self) -> None:
        if self._handler_before is not None:
            signal.signal(signal.SIGTERM, self._handler_before)
            self._handler_before = None

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Put the handler of SIGTERM back."""
        self._put_back()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Put the handler of SIGTERM back, also after Ctrl-C."""
        self._put_back()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """At the first part of a step: end if any process got SIGTERM."""
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        ends = torch.tensor(float(self._terminated), device=trainer.strategy.root_device)
        if trainer.world_size > 1:
            ends = trainer.strategy.reduce(ends, reduce_op="max")
        if ends:
            progress = trainer.fit_loop.epoch_loop.batch_progress
            for part in (progress.total, progress.current):
                part.ready -= 1  # the batch that is about to begin does not count yet
            raise SIGTERMException

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validate what a checkpoint contains: the running means of rank 0."""
        if trainer.state.fn == "fit":
            same_buffers(pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Test what a checkpoint contains, too."""
        same_buffers(pl_module)


def same_labels(own: str) -> None:
    """Compare the labels that all processes keep.

    Args:
        own: Checksum of those of this process.

    Raises:
        UserError: In every process, if a checksum is not that of rank 0.
    """
    every = [own] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(every, own)
    if other := [rank for rank, found in enumerate(every) if found != every[0]]:
        raise UserError(
            f"rank {other[0]} (world size {len(every)}) keeps other labels than rank 0; give all "
            "the same data, seed and version of nucleist"
        )


def same_buffers(module: torch.nn.Module) -> None:
    """Give every process the buffers of rank 0, as DDP does before each training step."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        for buffer in module.buffers():
            torch.distributed.broadcast(buffer, 0)
