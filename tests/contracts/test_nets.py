"""What every net of `conf/model` must do: a new one is tested by being there.

Each is built as a training builds it, thin and untrained, and given small drawn images.
"""

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import draw

from nucleist.config.build import build
from nucleist.config.compose import compose
from nucleist.data.targets import supervised, to_tensor
from nucleist.models import Net
from nucleist.models.net import SUPERVISION, Part, knowing
from nucleist.models.weights.load import load_weights
from nucleist.ops.labels import at_threshold
from nucleist.types import Window

pytestmark = pytest.mark.slow

CONF = Path(__file__).parents[2] / "src" / "nucleist" / "conf" / "model"
NAMES = sorted(path.stem for path in CONF.glob("*.yaml"))

THIN = [
    *("+model.backbone.channels=16", "+model.backbone.stem=8", "+model.backbone.widths=[16,24,32]"),
    *("model.box_head=32", "model.mask_head=[16,16]", "model.roi.batch_size_per_image=48"),
    *("model.rpn.post_nms_top_n={training: 60, testing: 30}", "model.caps_area=null"),
]

# Settings with which a net is small, and finds something before it is trained.
SETTINGS = {
    "canonical_shape": ["model.presence_bias=4"],
    "deeplabv3": ["model.min_size=0"],
    "dist": ["model.width=2", "model.h=0", "model.threshold=0", "model.min_size=0"],
    "mask_rcnn": THIN,
    "mask_rcnn_ablation": [*THIN, "model.label_frequency=0.5", "model.negatives=near"],
    "otsu": ["model.min_size=0", "model.clean=0"],
    "unet_foreground": [
        *("model.coarse.width=2", "model.fine.width=2", "+model.fine.threshold=0.3"),
        *("+model.fine.clean=0", "+model.fine.min_size=0"),
    ],
    "nuset": [
        "model.width=2",
        "model.min_area=1",
        "model.rpn.min_score=0.4",
        "model.seed_border=0",
    ],
    "nuset_foreground": [
        *("model.coarse.width=2", "model.fine.width=2", "+model.fine.min_area=1"),
        *("model.fine.rpn.min_score=0.4", "+model.fine.seed_border=0"),
    ],
    "unet": ["model.width=2", "model.threshold=0.3", "model.clean=0", "model.min_size=0"],
    "mask_rcnn_pa": [*THIN, "attention=[p2]", "median_box=[16,16]"],
}


def pixel(shape, row, col):
    """A nucleus of one pixel."""
    image, labels = draw(shape, 0, 0)
    labels[row, col] = 1
    return image, labels


def unlabelled(shape, count, seed):
    """Nuclei of which none is labelled."""
    image, labels = draw(shape, count, seed)
    return image, np.zeros_like(labels)


def at_the_border(shape):
    """Nuclei cut by the image on every side."""
    image, labels = draw(shape, 0, 0)
    labels[:5, 10:20], labels[-6:, 30:38], labels[12:22, :3], labels[40:48, -1:] = 1, 2, 3, 4
    return image, labels


CASES = {
    "ordinary": [draw((64, 64), 5, 0), draw((64, 64), 4, 1)],
    "two sizes": [draw((64, 64), 5, 0), draw((48, 80), 5, 1)],
    "an odd size": [draw((37, 53), 3, 2)],
    "one nucleus": [draw((64, 64), 1, 3)],
    "one pixel": [pixel((64, 64), 63, 0)],
    "at the border": [at_the_border((64, 64))],
    "no nucleus": [draw((64, 64), 0, 0)],
    "one of two empty": [draw((64, 64), 0, 0), draw((64, 64), 5, 0)],
    "nothing labelled": [unlabelled((64, 64), 5, 0), unlabelled((48, 80), 5, 1)],
}


@lru_cache
def config(name):
    return compose("train", [f"model={name}", *SETTINGS.get(name, ())])


def built(name, seed=0):
    torch.manual_seed(seed)
    return build(config(name).model)


def batch(case, kind):
    images = [to_tensor(image) for image, _ in CASES[case]]
    return images, [supervised(kind)(labels) for _, labels in CASES[case]]


def step(net, images, targets, seed=0):
    """Losses of a training step, after the gradients of their sum."""
    torch.manual_seed(seed)
    losses = net.train()(images, targets)
    if losses:  # a net without parameters has none
        sum(losses.values()).backward()
    return losses


@torch.no_grad()
def predictions(net, images):
    return net.eval()(images)


def same(first, second):
    return all(
        one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
        for one, other in zip(first, second, strict=True)
    )


def check_prediction(net, found, image):
    """A `nucleist.types.Prediction` for one image."""
    columns = len(net.can.shape_parameters)
    extra = ({"parameters"} if columns else set()) | ({"coarse"} if net.can.coarse else set())
    assert set(found) == {"boxes", "scores", "label_map"} | extra
    boxes, scores, label_map = found["boxes"], found["scores"], found["label_map"]
    count, (height, width) = len(scores), image.shape[1:]
    assert scores.shape == (count,) and scores.dtype == torch.float32
    assert ((scores >= 0) & (scores <= 1)).all() and (scores.diff() <= 0).all()
    assert boxes.shape == (count, 4) and boxes.dtype == torch.float32
    assert (boxes >= 0).all() and (boxes <= torch.tensor([width, height] * 2)).all()
    assert (boxes[:, :2] < boxes[:, 2:]).all()
    assert label_map.shape == (height, width) and label_map.dtype == torch.int32
    values = label_map.unique()
    assert values[values != 0].tolist() == list(range(1, count + 1))
    if columns:
        assert found["parameters"].shape == (count, columns)
        assert found["parameters"].dtype == torch.float32


@pytest.mark.parametrize("name", NAMES)
class TestNet:
    """The contract of `nucleist.models.Net`."""

    @pytest.fixture
    def net(self, name):
        return built(name)

    @pytest.fixture
    def kind(self, net):
        return net.can.learns_from[0]

    def test_it_declares_what_it_learns_from(self, net, name):
        assert isinstance(net, Net)
        assert net.can.learns_from and set(net.can.learns_from) <= set(SUPERVISION)
        assert config(name).data.supervision in net.can.learns_from

    @pytest.mark.parametrize("case", CASES)
    def test_a_training_and_an_evaluation_step(self, net, kind, case):
        images, targets = batch(case, kind)
        losses = step(net, images, targets)
        assert bool(losses) == net.can.trains
        assert all(key.startswith("loss_") for key in losses)
        assert all(loss.shape == () and torch.isfinite(loss) for loss in losses.values())
        for key, parameter in net.named_parameters():
            if parameter.requires_grad:  # DDP waits for every gradient
                assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), key
        found = predictions(net, images)
        for prediction, image in zip(found, images, strict=True):
            check_prediction(net, prediction, image)

    def test_every_parameter_learns(self, net, kind):
        step(net, *batch("ordinary", kind))
        learning = {k: p for k, p in net.named_parameters() if p.requires_grad}
        assert bool(learning) == net.can.trains
        assert all(p.grad.any() for p in learning.values())

    def test_it_finds_something_to_check(self, net, kind):
        images, _ = batch("ordinary", kind)
        assert all(len(found["scores"]) for found in predictions(net, images))

    def test_every_kind_of_target_trains(self, net):
        for kind in net.can.learns_from:
            losses = step(net, *batch("two sizes", kind))
            assert all(torch.isfinite(loss) for loss in losses.values())

    def test_targets_are_needed_in_training(self, net, kind):
        images, targets = batch("ordinary", kind)
        with pytest.raises(ValueError, match=r"targets are needed in training"):
            net.train()(images)
        assert same(predictions(net, images), net(images, targets))  # and not read afterwards

    def test_images_and_targets_are_left_alone(self, net, kind):
        images, targets = batch("two sizes", kind)
        again, before = batch("two sizes", kind)
        step(net, images, targets)
        predictions(net, images)
        assert all(torch.equal(a, b) for a, b in zip(images, again, strict=True))
        assert same(targets, before)

    def test_a_seed_decides_all(self, net, kind, name):
        images, targets = batch("two sizes", kind)
        other = built(name)
        assert same([net.state_dict()], [other.state_dict()])
        assert same([step(net, images, targets)], [step(other, images, targets)])
        assert same(predictions(net, images), predictions(other, images))

    def test_another_net_with_its_weights_predicts_the_same(self, net, kind, name, tmp_path):
        images, targets = batch("two sizes", kind)
        step(net, images, targets)  # running statistics are weights too
        torch.save(net.state_dict(), tmp_path / "weights.pt")
        other = built(name, seed=1)
        load_weights(other, str(tmp_path / "weights.pt"), "", complete=True)
        assert same(predictions(net, images), predictions(other, images))

    def test_half_precision_in_training_and_whole_in_predictions(self, net, kind):
        images, targets = batch("two sizes", kind)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            losses = step(net, images, targets)
            found = predictions(net, images)
        assert all(torch.isfinite(loss) for loss in losses.values())
        for prediction, image in zip(found, images, strict=True):
            check_prediction(net, prediction, image)

    def test_a_score_floor_spares_only_what_is_below(self, net, kind):
        images, _ = batch("ordinary", kind)
        whole = predictions(net, images)[0]
        floor = net.score_floor = float(whole["scores"].median())
        part = predictions(net, images)[0]
        assert torch.equal(at_threshold(part, floor), at_threshold(whole, floor))
        net.score_floor = 0.0
        assert same(predictions(net, images), predictions(net, images))
        assert torch.equal(predictions(net, images)[0]["scores"], whole["scores"])

    @pytest.mark.parametrize("case", ["ordinary", "an odd size", "no nucleus"])
    def test_what_it_surveys_is_what_it_measures(self, net, kind, case):
        """Of the one window of an image, as of two whose cores share no nucleus."""
        image = batch(case, kind)[0][0]
        whole = Window(0, 0, *image.shape[1:])
        net.eval()
        if not net.can.surveys:
            with pytest.raises(TypeError, match=r"can\.surveys"):
                net.survey([Part(image, whole)])
            return
        surveyed = net.survey([Part(image, whole)])
        assert json.loads(json.dumps(surveyed)) == surveyed
        (alone,) = predictions(net, [image])
        with knowing(net, surveyed):
            (known,) = predictions(net, [image])
        assert net.surveyed is None
        assert torch.equal(alone["label_map"], known["label_map"])
        assert torch.allclose(alone["scores"], known["scores"], atol=1e-5)
        left, right = whole._replace(x1=20), whole._replace(x0=20)
        apart = net.survey([Part(image, left), Part(image, right)])
        assert list(apart) == list(surveyed)
        for name, values in apart.items():
            np.testing.assert_allclose(values, surveyed[name], 1e-4, 1e-6)

    def test_numbers_for_the_log_and_the_summary(self, net, kind):
        step(net, *batch("ordinary", kind))
        assert all(value.numel() == 1 for value in net.step_counts().values())
        assert all(isinstance(value, float) for value in net.facts().values())
        assert net.box_weights() is None or len(net.box_weights()) == 4
        assert all(count > 0 for count in net.limits_reached.values())

    def test_center_maps(self, net, kind):
        images, targets = batch("two sizes", kind)
        image, label_map = images[1], torch.from_numpy(CASES["two sizes"][1][1])
        net.eval()
        if not net.can.centers:
            for call in (
                lambda: net.center_losses(images, targets),
                lambda: net.center_map(image),
                lambda: net.center_target(image, label_map),
                lambda: net.found_boxes(image),
            ):
                with pytest.raises(TypeError, match=r"can\.centers"):
                    call()
            return
        scores, wanted = net.center_map(image), net.center_target(image, label_map)
        assert scores.dim() == 2 and ((scores >= 0) & (scores <= 1)).all()
        assert wanted.shape == scores.shape and wanted.dtype == torch.int64
        assert set(wanted.unique().tolist()) <= {-1, 0, 1} and (wanted == 1).any()
        assert net.found_boxes(image).shape[1:] == (4,)
        losses = net.train().center_losses(images, targets)
        assert losses and losses.keys() < net(images, targets).keys()
        sum(losses.values()).backward()
        assert any(p.grad is None for p in net.parameters() if p.requires_grad)

    def test_attention_maps(self, net):
        image, labels = CASES["ordinary"][0]
        given = to_tensor(image), torch.from_numpy(labels)
        net.eval()
        if net.can.attention:
            found = net.attention_map(*given)
            assert found.dim() == 2 and ((found >= 0) & (found <= 1)).all()
        else:
            with pytest.raises(TypeError, match=r"can\.attention"):
                net.attention_map(*given)

    def test_shapes(self, net):
        calls = (lambda: net.canonical_shape(9), net.outline_radius, net.angular_deviation)
        if net.can.canonical_shape:
            shape, radius, deviation = (call() for call in calls)
            assert shape.shape == (9, 9) and ((shape >= 0) & (shape <= 1)).all()
            assert radius > 0 and deviation >= 0
            return
        for call in calls:
            with pytest.raises(TypeError, match=r"can\.canonical_shape"):
                call()
