"""Parts of a batch, several processes and mixed precision, as far as one process can show it."""

import os
import signal
from datetime import timedelta

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.layer_sync import TorchSyncBatchNorm
from torch import nn
from torch.optim import SGD
from torchvision.ops import FrozenBatchNorm2d

from nucleist.data.module import NucleiData
from nucleist.data.readers.synthetic import Synthetic
from nucleist.data.transforms import light
from nucleist.distributed.place import Place, place
from nucleist.distributed.trainer import BetweenSteps, trainer
from nucleist.models import resnet_fpn
from nucleist.ops.normalize import Percentile
from nucleist.progress import Console
from nucleist.training.callbacks import ReportedProgress
from nucleist.training.checkpoints import Checkpoints
from nucleist.training.loggers import MetricsFile
from nucleist.types import UserError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]
STEPS = 6


class Cut(BaseException):
    """Stands for the power cut: nothing catches it."""


class Slope(pl.LightningModule):
    """The loss is the mean over the images of `weight x number of nuclei`.

    All numbers are whole or a quarter of one, so that sums have no rounding and equal is equal.
    """

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen, self.gradients = [], []
        self.at_part = {}  # what happens in which part of a batch, counted from 0

    def training_step(self, batch, batch_idx):
        _, targets, names = batch
        self.at_part.pop(len(self.seen), lambda: None)()
        counts = [len(target["boxes"]) for target in targets]
        self.seen.append((self.global_step, list(zip(names, counts, strict=True))))
        loss = self.weight * sum(counts) / len(counts)
        self.log("train/loss", loss, batch_size=len(names))
        return loss

    def on_before_optimizer_step(self, optimizer):
        self.gradients.append(float(self.weight.grad))

    def validation_step(self, batch, batch_idx):
        self.log("val/map_pooled", 0.0, batch_size=1)

    def configure_optimizers(self):
        return SGD(self.parameters(), 0.5)


def data(batch_size=4, seed=0):
    source = Synthetic(5, 3, size=(48, 64), radius=(4.0, 6.0), count=(2, 9))
    return NucleiData(
        source, Percentile(), light(crop=32), batch_size=batch_size, steps=STEPS, seed=seed
    )


def train(folder, parts, task=None, resume=None, **options):
    """Six steps of four images, each in so many parts, validated and saved after each second."""
    task = task or Slope()
    made = trainer(
        accelerator="cpu",
        devices=1,
        max_steps=STEPS,
        accumulate_grad_batches=parts,
        val_check_interval=2,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        use_distributed_sampler=False,
        enable_model_summary=False,
        callbacks=[Checkpoints(str(folder), every=2), ReportedProgress(Console())],
        logger=MetricsFile(str(folder / "metrics.csv")),
        **options,
    )
    made.fit(task, datamodule=data(), ckpt_path=resume, weights_only=True)
    assert made.global_step == STEPS
    return task


def by_step(seen):
    """Images of each step, in the order in which they were shown."""
    steps: dict[int, list] = {}
    for step, images in seen:
        steps.setdefault(step, []).extend(images)
    return steps


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The training without parts."""
    return train(tmp_path_factory.mktemp("whole"), 1)


@pytest.mark.parametrize("parts", [2, 4])
def test_a_batch_in_parts_is_the_same_batch(parts, whole, tmp_path, capsys):
    task = train(tmp_path, parts)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step")]
    assert [line.split()[1].rstrip(",") for line in said] == ["2/6", "4/6", "6/6"]
    assert len(task.seen) == STEPS * parts
    assert all(len(images) == 4 // parts for _, images in task.seen)
    assert by_step(task.seen) == by_step(whole.seen)
    # The gradient is the mean over the parts, each part being as large as the others.
    means = [sum(count for _, count in images) / 4 for images in by_step(task.seen).values()]
    assert task.gradients == whole.gradients == means
    assert torch.equal(task.weight, whole.weight)
    # One row a step, that of its last part.
    rows = (tmp_path / "metrics.csv").read_text().splitlines()
    place = rows[0].split(",").index("step")
    steps = [int(row.split(",")[place]) for row in rows[1:]]
    assert sorted(set(steps)) == list(range(STEPS)) and len(steps) == STEPS + 3


@pytest.mark.parametrize("part", [7, 8, 9])  # second of step 3, first of step 4, second of step 4
def test_a_cut_between_the_parts_changes_nothing(part, whole, tmp_path):
    def cut():
        raise Cut

    task = Slope()
    task.at_part[part] = cut
    with pytest.raises(Cut):
        train(tmp_path, 2, task)
    assert len(task.seen) == part
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"]
    assert saved == (4 if part >= 8 else 2)
    again = train(tmp_path, 2, resume=tmp_path / "last.ckpt")
    first = [entry for entry in task.seen if entry[0] < saved]
    assert by_step(first + again.seen) == by_step(whole.seen)
    assert torch.equal(again.weight, whole.weight)


@pytest.mark.parametrize("parts", [1, 2])
def test_sigterm_ends_between_two_steps(parts, whole, tmp_path):
    task = Slope()
    task.at_part[3 * parts] = lambda: os.kill(os.getpid(), signal.SIGTERM)  # within step 3
    with pytest.raises(SystemExit):
        train(tmp_path, parts, task)
    assert len(task.seen) == 4 * parts  # that step is finished
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 4
    again = train(tmp_path, parts, resume=tmp_path / "last.ckpt")
    assert by_step(task.seen + again.seen) == by_step(whole.seen)
    assert torch.equal(again.weight, whole.weight)


@pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 1), (2, 4)])
def test_a_run_may_go_on_in_other_parts(before, after, whole, tmp_path):
    def cut():
        raise Cut

    task = Slope()
    task.at_part[3 * before] = cut
    with pytest.raises(Cut):
        train(tmp_path, before, task)
    again = train(tmp_path, after, resume=tmp_path / "last.ckpt")
    assert by_step(again.seen) == {k: v for k, v in by_step(whole.seen).items() if k >= 2}
    assert torch.equal(again.weight, whole.weight)


class Share:
    """What the data module asks of a trainer."""

    def __init__(self, rank, world, parts):
        self.global_rank, self.world_size, self.global_step = rank, world, 0
        self.accumulate_grad_batches = parts


@pytest.mark.parametrize(("world", "parts"), [(1, 1), (1, 8), (2, 1), (2, 4), (4, 2), (8, 1)])
def test_eight_images_a_step_on_any_number_of_devices(world, parts):
    """The paper's batch."""
    alone = [names for _, _, names in data(batch_size=8).train_dataloader()]
    shown: list[list[str]] = [[] for _ in alone]
    for rank in range(world):
        share = data(batch_size=8)
        share.trainer = Share(rank, world, parts)
        names = [names for _, _, names in share.train_dataloader()]
        assert len(names) == STEPS * parts and {len(part) for part in names} == {
            8 // world // parts
        }
        for number, part in enumerate(names):
            shown[number // parts] += part
    assert [sorted(names) for names in shown] == [sorted(names) for names in alone]


def test_a_batch_that_does_not_divide_is_refused_with_what_would():
    module = data(batch_size=8)
    module.trainer = Share(0, 3, 2)
    with pytest.raises(UserError) as error:
        module.train_dataloader()
    assert str(error.value) == (
        "data.batch_size=8 cannot be shared by 3 processes with accumulate=2; use a multiple of "
        "6, or processes times accumulate equal to 1, 2, 4, 8"
    )


class Rank:
    """One of two processes before a training, as far as the labels are concerned."""

    world_size = 2

    def __init__(self, fraction, annotation_seed):
        self.datamodule = data()
        annotation = type(self.datamodule.annotation)(fraction, seed=annotation_seed)
        self.datamodule.train_set.annotation = annotation


CASES = [((7, 7), (0.5, 0.5)), ((7, 8), (0.5, 0.5)), ((7, 7), (0.5, 0.6))]
"""Annotation seeds and fractions of both."""


def meet(rank, folder):
    """Leave what one of two processes hears in each case."""
    torch.distributed.init_process_group(
        "gloo", f"file://{folder / 'meeting'}", timedelta(minutes=5), 2, rank=rank
    )
    for number, (seeds, fractions) in enumerate(CASES):
        answer = folder / f"{number}-{rank}"
        try:
            BetweenSteps().setup(Rank(fractions[rank], seeds[rank]), None, "fit")
            answer.write_text("the same")
        except UserError as error:
            answer.write_text(str(error).partition(";")[0])
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.whole
def test_every_process_keeps_the_same_labels(tmp_path):
    """All of them refuse: none waits for another."""
    other = torch.multiprocessing.get_context("spawn").Process(target=meet, args=(1, tmp_path))
    other.start()
    meet(0, tmp_path)
    other.join(300)
    answers = [[(tmp_path / f"{n}-{rank}").read_text() for n in range(3)] for rank in (0, 1)]
    refused = "rank 1 (world size 2) keeps other labels than rank 0"
    assert answers == [["the same", refused, refused]] * 2


TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "a",
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
}
FIRST = {**TORCHRUN, "RANK": "0", "LOCAL_RANK": "0"}
SRUN = {
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_PROCID": "5",
    "SLURM_NTASKS": "8",
}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, Place()),
        (TORCHRUN, Place(5, 8, 4, "torchrun")),
        (SRUN, Place(5, 8, 4, "srun")),
        ({**SRUN, **TORCHRUN, "RANK": "0"}, Place(0, 8, 4, "torchrun")),  # srun starts torchrun
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, Place()),  # a batch script, without srun
    ],
)
def test_where_a_process_stands(variables, expected, monkeypatch):
    for name in [*TORCHRUN, *SRUN]:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert place() == expected


@pytest.mark.parametrize(
    ("variables", "options", "words"),
    [
        ({}, {"num_nodes": 2}, ["trainer.num_nodes=2", "torchrun"]),
        ({}, {"sync_batchnorm": True}, ["trainer.sync_batchnorm=true", "GPUs"]),
        (FIRST, {"devices": 1}, ["torchrun started 8 processes", "2 devices", "trainer=ddp"]),
    ],
)
def test_what_does_not_fit_together_is_refused(variables, options, words, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    given = {"accelerator": "cpu", "devices": 1, "logger": False, **options}
    with pytest.raises(UserError) as error:
        trainer(**given)
    assert all(word in str(error.value) for word in words)


def kinds(net, kind):
    return sum(isinstance(module, kind) for module in net.modules())


def test_batchnorm_can_be_shared_and_frozen_ones_stay(make_net, make_batch):
    net = make_net(pa=True).eval()
    images, _ = make_batch((64, 64))
    before, count = net(images)[0]["boxes"], kinds(net, nn.BatchNorm2d)
    names = list(net.state_dict())
    shared = TorchSyncBatchNorm().apply(net)
    assert count > 10 and kinds(shared, nn.SyncBatchNorm) == count
    assert list(shared.state_dict()) == names
    again = TorchSyncBatchNorm().revert(shared)
    assert kinds(again, nn.SyncBatchNorm) == 0 and list(again.state_dict()) == names
    assert torch.equal(again.eval()(images)[0]["boxes"], before)

    frozen = resnet_fpn("resnet18")
    assert kinds(TorchSyncBatchNorm().apply(frozen), nn.SyncBatchNorm) == 0
    assert kinds(frozen, FrozenBatchNorm2d) == 20
