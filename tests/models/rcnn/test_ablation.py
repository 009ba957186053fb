"""Missing labels without a centre head: a label frequency, and negatives near labels alone."""

import pytest
import torch
from conftest import draw

from nucleist.config.build import build
from nucleist.config.compose import compose
from nucleist.data.targets import to_target, to_tensor
from nucleist.models.rcnn.ablation import only_near
from nucleist.types import IGNORE, UserError

THIN = [
    *("+model.backbone.channels=16", "+model.backbone.stem=8", "+model.backbone.widths=[16,24,32]"),
    *("model.box_head=32", "model.mask_head=[16,16]"),
]


def net_of(*settings, name="mask_rcnn_ablation"):
    torch.manual_seed(0)
    return build(compose("train", [f"model={name}", *THIN, *settings]).model).train()


def losses(net):
    image, labels = draw((64, 64), 4, 0)
    torch.manual_seed(1)
    return net([to_tensor(image)], [to_target(labels)])


def test_far_negatives_are_ignored_and_nothing_else_is():
    candidates = torch.tensor(
        [[0, 0, 10, 10], [9, 9, 20, 20], [10, 10, 20, 20], [30, 30, 50, 50.0]]
    )
    boxes = torch.tensor([[2.0, 2, 10, 10]])
    labels = torch.tensor([1, 0, 0, 0])
    only_near([labels], [candidates], [boxes])
    # the second has one pixel of the box, the third only its corner
    assert labels.tolist() == [1, 0, IGNORE, IGNORE]


def test_an_image_without_labels_has_no_negatives_but_a_batch_keeps_them():
    candidates, none = torch.tensor([[0.0, 0, 9, 9]]), torch.zeros(0, 4)
    one, other = torch.tensor([0]), torch.tensor([0])
    only_near([one, other], [candidates, candidates], [torch.tensor([[5.0, 5, 9, 9]]), none])
    assert (one.tolist(), other.tolist()) == ([0], [IGNORE])
    alone = torch.tensor([0])
    only_near([alone], [candidates], [none])
    assert alone.tolist() == [0]


def test_without_its_options_it_is_plain_mask_rcnn():
    plain, other = losses(net_of(name="mask_rcnn")), losses(net_of())
    assert {name: value.item() for name, value in plain.items()} == {
        name: value.item() for name, value in other.items()
    }


def test_options_reach_both_classifiers_and_no_other_loss():
    before = losses(net_of())
    for setting in ("model.label_frequency=0.2", "model.negatives=near"):
        after = losses(net_of(setting))
        changed = {name for name in before if after[name].item() != before[name].item()}
        assert {"loss_objectness", "loss_classifier"} <= changed
        assert all(value.isfinite() for value in after.values())
    assert net_of("model.label_frequency=0.2").can.models_missing_labels
    assert not net_of("model.negatives=near").can.models_missing_labels


def test_the_loss_of_a_frequency_is_that_of_the_labelled_share():
    net = net_of("model.label_frequency=0.25")
    logits = torch.tensor([[0.0, 0.0], [1.0, -2.0]])
    p = logits.softmax(1)[:, 1]
    assert net.roi_heads.to_label(logits).softmax(1)[:, 1] == pytest.approx(0.25 * p)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("model.label_frequency=0", "label_frequency=0 is not a probability"),
        ("model.label_frequency=1.5", "label_frequency=1.5"),
        ("model.negatives=far", "model.negatives=far"),
    ],
)
def test_bad_options_are_told(setting, words):
    with pytest.raises(UserError, match=words):
        net_of(setting)
