"""Synthetic images among the real ones of a training."""

import pytest
from support.sources import drain, make_data, synthetic

from nucleist.config.build import build
from nucleist.config.compose import compose
from nucleist.data.mixed import mixed
from nucleist.data.readers.synthetic import Synthetic
from nucleist.data.transforms import light
from nucleist.types import UserError

DRAWN = Synthetic(n_train=4, n_test=0, size=(40, 40), radius=(4.0, 6.0), count=(3, 5), seed=9)


def data_with(share, **options):
    return make_data(synthetic(6, 2), synthetic=share, synthetic_images=DRAWN, **options)


@pytest.mark.parametrize(("share", "more"), [(1.0, 6), (0.5, 3), (0.01, 1), (2, 12)])
def test_each_shuffle_has_every_real_image_once_and_its_share_of_synthetic_ones(share, more):
    data = data_with(share, batch_size=6 + more, steps=3)
    orders = []
    for images, _, names in data.train_dataloader():
        # "Real" images are drawn too, but of another size.
        real = [n for image, n in zip(images, names, strict=True) if image.shape[1:] == (48, 64)]
        assert sorted(real) == sorted(data.train_set.ids) and len(images) == 6 + more
        orders.append([image.shape[1] for image in images])
    assert len(orders) == 3 and (share == 0.01 or orders[0] != orders[1])


def test_synthetic_images_take_turns():
    data = data_with(1.0, batch_size=12, steps=2)
    shown = [
        name
        for images, _, names in data.train_dataloader()
        for image, name in zip(images, names, strict=True)
        if image.shape[1] == 40
    ]
    assert sorted(shown) == sorted(f"synthetic-train-{i:04d}" for i in range(4) for _ in range(3))


def test_without_any_nothing_changes():
    plain = drain(make_data(synthetic(6, 2), steps=3).train_dataloader())
    assert drain(data_with(0, steps=3).train_dataloader()) == plain


@pytest.mark.parametrize("options", [{"annotation_fraction": 0.3}, {"exemplars": 1}])
def test_synthetic_images_are_complete_where_real_ones_are_not(options):
    data = data_with(1.0, batch_size=12, steps=1, **options)
    ((images, targets, _),) = data.train_dataloader()
    for image, target in zip(images, targets, strict=True):
        assert ("known" in target) == (image.shape[1] != 40)
        if image.shape[1] == 40:
            assert len(target["boxes"]) >= 2
    assert data.labelled_nuclei() == make_data(synthetic(6, 2), **options).labelled_nuclei()


def test_neither_workers_nor_a_cache_change_what_is_shown(tmp_path, monkeypatch):
    def shown(**options):
        options = {"augment": light(crop=32), "batch_size": 3, "steps": 4, **options}
        return drain(data_with(1.0, **options).train_dataloader())

    alone = shown()
    assert shown(workers=2) == alone
    assert shown(cache=str(tmp_path)) == alone
    monkeypatch.setattr(Synthetic, "read", None)  # from here on only the files can answer
    assert shown(cache=str(tmp_path)) == alone


def test_a_draw_is_the_same_whatever_came_before():
    data, other = (data_with(1.0, augment=light(crop=32)) for _ in range(2))
    whole = [data.train_set[draw] for draw in range(20)]
    for draw in (17, 3, 12):
        image, target, name = other.train_set[draw]
        assert image.equal(whole[draw][0]) and name == whole[draw][2]
        assert target["label_map"].equal(whole[draw][1]["label_map"])


def test_pasted_nuclei_are_for_real_images():
    data = data_with(1.0, pasted=8, batch_size=12, steps=1)
    bare = data_with(1.0, batch_size=12, steps=1)
    ((images, with_more, _),), ((_, plain, _),) = data.train_dataloader(), bare.train_dataloader()
    for image, one, other in zip(images, with_more, plain, strict=True):
        if image.shape[1] == 40:
            assert one["label_map"].equal(other["label_map"])
    assert sum(len(t["boxes"]) for t in with_more) > sum(len(t["boxes"]) for t in plain)


def test_only_foreground_is_known_under_binary_supervision():
    data = data_with(1.0, supervision="binary", batch_size=12, steps=1)
    ((_, targets, _),) = data.train_dataloader()
    assert all(target.keys() == {"mask", "count"} for target in targets)


def test_the_word_of_the_command_line():
    words = ["data=synthetic", "data.source.n_train=3", "data.synthetic=1", "augment.crop=64"]
    data = build(compose("train", [*words, "data.batch_size=6", "steps=1", "seed=4"]).data)
    ((images, _, names),) = data.train_dataloader()
    assert len(names) == 6 and {image.shape for image in images} == {(3, 64, 64)}
    assert data.train_set.mixed.source._source.seed == 4
    assert all(bool(image.isfinite().all()) for image in images)


@pytest.mark.parametrize("share", [-0.5, float("nan"), True, "1"])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(UserError, match=r"data\.synthetic=.* give 0 for none"):
        mixed(DRAWN, share, None)


def test_a_generator_without_images_is_refused():
    with pytest.raises(UserError, match=r"data\.synthetic_images draws no image"):
        mixed(Synthetic(n_train=0), 1.0, None)
    with pytest.raises(UserError, match=r"data\.synthetic_images draws no image"):
        mixed(None, 1.0, None)
