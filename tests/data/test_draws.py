"""Training draws: the same with any workers, processes and restarts."""

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from support.sources import InMemory, drain, grid, make_data, synthetic
from torch import nn

from nucleist.data.module import Draws, free_workers
from nucleist.data.readers.synthetic import Synthetic
from nucleist.data.transforms import flips, light, strong, wide
from nucleist.types import UserError


@pytest.mark.parametrize("augment", [light(crop=32), strong(crop=32), wide(crop=32)])
def test_draws_do_not_depend_on_the_workers(augment):
    def shown(workers):
        data = make_data(augment=augment, batch_size=3, steps=4, workers=workers)
        return drain(data.train_dataloader())

    alone = shown(0)
    assert len(alone) == 12 and len(set(alone)) == 12
    assert shown(0) == alone
    assert shown(2) == alone


def test_each_shuffle_shows_every_image_once():
    data = make_data(batch_size=5, steps=3)
    names = [name for name, _, _ in drain(data.train_dataloader())]
    rounds = [names[i : i + 5] for i in (0, 5, 10)]
    assert all(sorted(r) == sorted(data.train_set.ids) for r in rounds)
    assert len({tuple(r) for r in rounds}) > 1


def test_the_seed_changes_order_and_augmentation_but_not_the_labels():
    shown = {}
    for seed in (0, 1):
        data = make_data(augment=flips(), seed=seed, annotation_fraction=0.5, steps=5)
        shown[seed] = drain(data.train_dataloader())
        shown[seed, "kept"] = [target["boxes"].tolist() for target in data.kept_targets()]
    assert shown[0] != shown[1] and shown[0, "kept"] == shown[1, "kept"]


class Kinds(InMemory):
    """Twelve training images, of which three are of the kind `rare`."""

    def kinds(self):
        ids = self.splits()["train"]
        return {i: "rare" if n < 3 else "usual" for n, i in enumerate(ids)} | {"test-0": "usual"}


@pytest.mark.parametrize(("balance", "share"), [(1.0, 0.25), (0.0, 0.5), (0.5, 0.366)])
def test_rare_kinds_are_drawn_more_often(balance, share):
    # of 3 and 9 images: equally often, or as the roots 1.73 and 3
    shown = make_data(Kinds([grid(1)] * 12, [grid(1)]), balance=balance, steps=1).train_set
    kinds = shown.source.kinds()
    drawn = [kinds[shown.shown(draw)] for draw in range(600)]
    assert drawn.count("rare") / 600 == pytest.approx(share, abs=0.06)
    # a draw does not depend on those before it
    assert [kinds[shown.shown(draw)] for draw in reversed(range(600))] == drawn[::-1]


def test_a_balance_that_is_no_share_is_refused():
    with pytest.raises(UserError, match=r"^data\.balance=2"):
        make_data(balance=2.0)


class Recorder(pl.LightningModule):
    """Remembers what it is shown."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.seen = []

    def training_step(self, batch, batch_idx):
        self.seen += drain([batch])
        return self.layer(torch.ones(1)).sum()

    def validation_step(self, batch, batch_idx):
        """The run validates, so that checkpoints are written between steps as well."""

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(folder, max_steps=6, resume=None, **options):
    """Train for 6 steps at most, with a checkpoint and a validation every 2."""
    task = Recorder()
    saver = ModelCheckpoint(folder, "{step}", every_n_train_steps=2, save_top_k=-1)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=max_steps,
        val_check_interval=2,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        logger=False,
        callbacks=[saver],
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    data = make_data(augment=light(crop=32), batch_size=2, steps=6)
    trainer.fit(task, datamodule=data, ckpt_path=resume, weights_only=True)
    assert trainer.global_step == max_steps
    return task.seen


@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable")  # it begins at the step
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
@pytest.mark.parametrize("stop", [2, 4])  # before and after the middle
@pytest.mark.parametrize("killed", [False, True])
def test_a_resumed_run_sees_what_the_whole_run_would_have(tmp_path, stop, killed):
    whole = fit(tmp_path / "whole")
    assert len(set(whole)) == 12
    folder = tmp_path / "whole" if killed else tmp_path / "first"
    first = whole[: 2 * stop] if killed else fit(folder, stop)
    rest = fit(folder, resume=folder / f"step={stop}.ckpt")
    assert first + rest == whole


class Share:
    """The numbers that the data module asks of a trainer."""

    accumulate_grad_batches = 1

    def __init__(self, rank, world, step=0):
        self.global_rank, self.world_size, self.global_step = rank, world, step


def on(rank, world, step=0):
    """The data module as one of several processes has it."""
    data = make_data(augment=light(crop=32), batch_size=4, steps=3)
    data.trainer = Share(rank, world, step)
    return data


def test_processes_share_each_batch():
    def batches(*place):
        return [drain([batch]) for batch in on(*place).train_dataloader()]

    whole, shares = batches(0, 1), [batches(rank, 2) for rank in (0, 1)]
    assert [len(batch) for batch in whole] == [4, 4, 4]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert [len(part) for part in parts] == [2, 2]
        assert sorted(parts[0] + parts[1]) == sorted(batch)
    assert batches(0, 1, 2) == whole[2:]


@pytest.mark.parametrize("use", ["val", "test"])
@pytest.mark.parametrize("world", [1, 2, 4])  # of 3 images: one process of four has none
def test_processes_test_each_image_once(use, world):
    batches = [list(getattr(on(rank, world), f"{use}_dataloader")()) for rank in range(world)]
    assert all(batches)  # the one without an image has an empty batch, and adds up with the others
    names = [name for own in batches for _, _, names in own for name in names]
    assert sorted(names) == on(0, 1).ids(use)
    assert all(len(images) == len(truth) for own in batches for images, truth, _ in own)


def test_a_batch_that_cannot_be_shared_is_refused():
    data = make_data(batch_size=4)
    data.trainer = Share(0, 3)
    with pytest.raises(UserError, match=r"data\.batch_size=4 cannot be shared by 3"):
        data.train_dataloader()


def test_draw_numbers():
    draws = Draws(12, rank=3, world=4)
    assert list(draws) == [3, 7, 11] and len(draws) == 3
    resumed = Draws(12, done=8, rank=3, world=4)
    assert list(resumed) == [11] and len(resumed) == 3
    assert list(Draws(12, done=12)) == []


def test_a_cache_changes_nothing_and_is_used_again(tmp_path, monkeypatch):
    plain = drain(make_data(synthetic(3, 1), steps=2).train_dataloader())
    first = make_data(synthetic(3, 1), steps=2, cache=str(tmp_path))
    assert drain(first.train_dataloader()) == plain
    assert len(list(tmp_path.rglob("*.entry"))) == 3
    monkeypatch.setattr(Synthetic, "read", None)  # from here on only the files can answer
    again = make_data(synthetic(3, 1), steps=2, cache=str(tmp_path))
    assert drain(again.train_dataloader()) == plain


def test_workers_are_chosen_for_gpus_only(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert free_workers() == 0
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)), raising=False)
    assert free_workers() == 2  # three cores a GPU, one of them for training
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert free_workers() == 4
    assert make_data(workers=None).workers == 4
