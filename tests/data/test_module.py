"""The data module: the same draws in every way of loading, partial labels in training alone."""

import json

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn

from karyon.data.annotation import crop_window, keep_exemplars, keep_fraction
from karyon.data.module import Draws, NucleiData, to_target
from karyon.data.synthetic import Synthetic
from karyon.data.transforms import Augment, flips, light, strong
from karyon.ops.normalize import FullRange, Percentile
from karyon.types import Record, UserError

LARGE_IDS = (300, 70_000, 2**24 - 1)


class InMemory:
    """A source of given label maps; the images show what they are of."""

    def __init__(self, train, test=()):
        self.records = {}
        self.ids = {"train": [], "test": []}
        for split, maps in (("train", train), ("test", test)):
            for i, labels in enumerate(maps):
                name = f"{split}-{i}"
                image = np.repeat(((labels > 0) * 100 + 20)[..., None], 3, 2).astype(np.uint8)
                self.ids[split].append(name)
                self.records[name] = Record(name, image, labels)

    def splits(self):
        return self.ids

    def read(self, image_id):
        return self.records[image_id]


def grid(*ids, side=6, shape=(48, 64), gap=12):
    """Squares in rows of four, one for each id."""
    labels = np.zeros(shape, np.int32)
    for i, number in enumerate(ids):
        row, col = gap * (i // 4) + 2, gap * (i % 4) + 2
        labels[row : row + side, col : col + side] = number
    return labels


def synthetic(n_train=5, n_test=3):
    return Synthetic(n_train, n_test, size=(48, 64), radius=(4.0, 6.0), count=(6, 9))


def make_data(source=None, augment=None, normalize=None, **options):
    return NucleiData(
        source or synthetic(), normalize or Percentile(), augment or Augment(), **options
    )


def drain(loader):
    """Everything a loader shows, as comparable values."""
    return [
        (name, image.numpy().tobytes(), target["label_map"].numpy().tobytes())
        for images, targets, names in loader
        for image, target, name in zip(images, targets, names, strict=True)
    ]


def test_targets_from_any_ids():
    target = to_target(grid(*LARGE_IDS))
    assert target["boxes"].tolist() == [[2, 2, 8, 8], [14, 2, 20, 8], [26, 2, 32, 8]]
    assert target["labels"].tolist() == [1, 1, 1] and target["labels"].dtype == torch.int64
    assert target["label_map"].dtype == torch.int32
    assert target["label_map"].unique().tolist() == [0, 1, 2, 3]
    empty = to_target(grid())
    assert empty["boxes"].shape == (0, 4) and len(empty["labels"]) == 0


@pytest.mark.parametrize("augment", [light(crop=32), strong(crop=32)])
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
    """The three numbers that the data module asks of a trainer."""

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
    names = [
        name
        for rank in range(world)
        for _, _, names in getattr(on(rank, world), f"{use}_dataloader")()
        for name in names
    ]
    assert sorted(names) == on(0, 1).ids(use)


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


def kept_ids(data, image_id):
    values = np.unique(data.train_set.partial(image_id)[1])
    return values[values > 0].tolist()


def test_a_larger_fraction_contains_the_smaller():
    kept = {}
    for fraction in (0.05, 0.25, 0.5, 1.0):
        data = make_data(annotation_fraction=fraction)
        kept[fraction] = {i: set(kept_ids(data, i)) for i in data.train_set.ids}
    for image_id, every in kept[1.0].items():
        assert len(kept[0.05][image_id]) == 1
        assert kept[0.05][image_id] <= kept[0.25][image_id] <= kept[0.5][image_id] < every
        assert len(kept[0.5][image_id]) == round(0.5 * len(every))


def test_training_shows_the_kept_labels_and_testing_all():
    source = InMemory([grid(*range(1, 9))], [grid(*range(1, 9))])
    data = make_data(source, annotation_fraction=0.25, batch_size=1, steps=1)
    wanted = keep_fraction(range(1, 9), 0.25, 0, "train-0")
    assert len(wanted) == 2 and kept_ids(data, "train-0") == wanted
    ((images, targets, names),) = data.train_dataloader()
    labels = source.records["train-0"].labels
    assert torch.equal(targets[0]["label_map"] > 0, torch.from_numpy(np.isin(labels, wanted)))
    assert len(targets[0]["boxes"]) == 2 and names == ["train-0"]
    assert (images[0][:, labels > 0] == 1).all()  # the image still shows all of them
    for loader in (data.val_dataloader(), data.test_dataloader()):
        ((_, (whole,), names),) = loader
        assert names == ["test-0"]
        assert torch.equal(whole, torch.from_numpy(source.records["test-0"].labels))
    ((_, (kept,), _),) = data.kept_dataloader()
    assert kept.unique().tolist() == [0, *wanted]
    assert (source.records["train-0"].labels == grid(*range(1, 9))).all()  # unchanged


def test_exemplars():
    source = InMemory([grid(*range(1, 9))])
    data = make_data(source, exemplars=3)
    assert kept_ids(data, "train-0") == keep_exemplars(range(1, 9), 3, 0, "train-0")


def test_a_crop_is_cut_out_with_all_its_nuclei_and_normalised_as_the_whole():
    labels = grid(*range(1, 13), shape=(40, 64))
    source = InMemory([labels])
    source.records["train-0"].image[0, 0] = 255  # outside the window, and the brightest
    data = make_data(source, crop_fraction=0.25, normalize=Percentile(0, 100))
    window = crop_window((40, 64), 0.25, 0, "train-0")
    rows, cols = slice(window.y0, window.y1), slice(window.x0, window.x1)
    image, kept = data.train_set.partial("train-0")
    assert image.shape == (20, 32, 3) and window.y0 + window.x0 > 0
    assert (kept == labels[rows, cols]).all() and kept.any()
    whole = Percentile(0, 100)(source.records["train-0"].image)
    assert (image == whole[rows, cols]).all() and image.max() < 1


def test_a_manifest_repeats_an_earlier_choice(tmp_path):
    path = tmp_path / "manifest.json"
    source = synthetic()
    first = make_data(source, annotation_fraction=0.3, annotation_seed=7)
    count = first.write_manifest(path)
    assert count == sum(len(target["boxes"]) for target in first.kept_targets())
    assert json.loads(path.read_text())
    again = make_data(source, manifest=str(path))
    for image_id in first.train_set.ids:
        assert kept_ids(again, image_id) == kept_ids(first, image_id)
    with pytest.raises(UserError, match="not in the training split"):
        make_data(synthetic(n_train=4), manifest=str(path))


@pytest.mark.parametrize("augment", [light(crop=40), strong(), strong(crop=40)])
def test_large_ids_survive_augmentation(augment):
    source = InMemory([grid(*LARGE_IDS)])
    labels = augment(*make_data(source).train_set.partial("train-0"), seed=1)[1]
    assert set(np.unique(labels)) <= {0, *LARGE_IDS} and labels.any()
    data = make_data(source, augment, batch_size=1, steps=8)
    for _, (target,), _ in data.train_dataloader():
        count = len(target["boxes"])
        assert target["label_map"].unique().tolist() in (
            list(range(count + 1)),
            list(range(1, count + 1)),
        )
    ((_, (kept,), _),) = data.kept_dataloader()
    assert kept.unique().tolist() == [0, *LARGE_IDS]


def test_median_box_size():
    labels = np.zeros((48, 60), np.int32)
    for i, (width, height) in enumerate([(4, 6), (8, 3), (20, 9)]):
        labels[12 * i : 12 * i + height, 5 : 5 + width] = i + 1
    data = make_data(InMemory([labels]))
    assert data.median_box_size() == [8, 6]
    # the net resizes the short side, 48 px, to 96
    assert data.median_box_size(96) == [16, 12]


def test_median_box_size_is_of_the_kept_labels():
    data = make_data(synthetic(), annotation_fraction=0.05)
    boxes = torch.cat([target["boxes"] for target in data.kept_targets()])
    assert len(boxes) == 5
    sides = np.sort((boxes[:, 2:] - boxes[:, :2]).numpy(), axis=0)
    assert data.median_box_size() == sides[2].tolist()


def test_without_any_label_there_is_no_median():
    with pytest.raises(UserError, match="no nucleus is labelled"):
        make_data(InMemory([grid()])).median_box_size()


def test_images_without_nuclei_are_shown():
    data = make_data(InMemory([grid(), grid(1)]), light(crop=32), batch_size=2, steps=1)
    ((_, targets, _),) = data.train_dataloader()
    assert sorted(len(target["boxes"]) for target in targets) == [0, 1]


def test_a_missing_split_is_named():
    source = InMemory([grid(1)])
    with pytest.raises(UserError, match=r"split 'val', it has train \(1\), test \(0\)"):
        make_data(source, splits={"train": "val"})
    with pytest.raises(UserError, match=r"split 'test'.*set data\.splits\.test"):
        make_data(source).test_dataloader()


def test_normalisation_is_the_callers():
    source = InMemory([grid(1)])
    assert make_data(source, normalize=FullRange()).train_set.partial("train-0")[0].max() == (
        np.float32(120) / np.float32(255)
    )
