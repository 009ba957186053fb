"""Foreground normalisation by hand, and through both nets."""

import numpy as np
import pytest
import torch
from conftest import draw

from nucleist.data.targets import to_target, to_tensor
from nucleist.models import canonical_shape, dist, otsu, resnet_body, two_pass, unet
from nucleist.models.net import Part
from nucleist.models.two_pass import by_foreground, by_numbers
from nucleist.types import UserError, Window


def test_nuclei_get_the_mean_one_half_and_the_deviation_one_quarter():
    image, labels = draw((40, 50), 5, 0)
    inside = torch.from_numpy(labels > 0)
    found = by_foreground(to_tensor(image), inside)[:, inside]
    assert found.mean().item() == pytest.approx(0.5, abs=1e-5)
    assert found.std(correction=0).item() == pytest.approx(0.25, rel=1e-3)
    middle = by_foreground(to_tensor(image), inside, "median")[:, inside].median()
    assert middle.item() == pytest.approx(0.5, abs=1e-5)


def test_brightness_and_contrast_do_not_count():
    image, labels = draw((40, 50), 5, 0)
    inside = torch.from_numpy(labels > 0)
    one, other = (
        by_foreground(x, inside) for x in (to_tensor(image), to_tensor(image * 0.5 + 0.1))
    )
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("pixels", [0, 9])
def test_without_nuclei_the_whole_image_counts(pixels):
    image = torch.rand(3, 12, 20)
    inside = torch.zeros(12, 20, dtype=torch.bool)
    inside[0, :pixels] = True
    found = by_foreground(image, inside)
    assert found.mean().item() == pytest.approx(0.5, abs=1e-5)
    flat = by_foreground(torch.full((3, 4, 4), 0.3), inside[:4, :4])
    assert torch.allclose(flat, torch.tensor(0.5), atol=1e-2)


def test_nuclei_of_one_brightness_do_not_blow_up_the_rest():
    # A corner of a nucleus in a window, or nuclei that are saturated, have no deviation.
    image = torch.rand(3, 20, 20) * 0.2
    image[:, :4, :4] = 1.0
    inside = image[0] == 1
    found = by_foreground(image, inside)
    assert torch.equal(found[:, inside], torch.full((3, 16), 0.5))
    # 0.25 of a tenth of the image's deviation, in which the rest is some -3.5
    assert -15 < found.min().item() < -5
    assert by_foreground(torch.full((3, 20, 20), 0.3), inside).eq(0.5).all()


def test_windows_of_an_image_give_the_numbers_of_the_whole():
    image, _ = draw((48, 64), 6, 0)
    tensor = to_tensor((image > 0.5).astype(np.float32))  # all nuclei are of one brightness
    net = two_pass(otsu(min_size=0), unet(width=2)).eval()
    cores = [Window(0, 0, 48, 30), Window(0, 30, 48, 64)]
    known = net.survey([Part(tensor, core) for core in cores])
    whole = net.survey([Part(tensor, Window(0, 0, 48, 64))])
    assert known["deviation"] == pytest.approx(whole["deviation"], rel=1e-5)
    assert known["middle"] == pytest.approx(whole["middle"], rel=1e-5)
    seen = []
    net.fine.register_forward_pre_hook(lambda module, given: seen.append(given[0][0]))
    net([tensor])
    middle, deviation = (whole[name] for name in ("middle", "deviation"))
    torch.testing.assert_close(seen[-1], by_numbers(tensor, middle, deviation))
    assert seen[-1].abs().max() < 20


def test_training_normalises_by_labels_and_evaluation_by_what_the_coarse_net_finds():
    image, labels = draw((48, 48), 5, 0)
    tensor = to_tensor(image)
    torch.manual_seed(0)
    net = two_pass(otsu(min_size=0), unet(width=2))
    seen = []
    net.fine.register_forward_pre_hook(lambda module, given: seen.append(given[0][0]))
    half = np.where(labels < 3, labels, 0)
    net.train()([tensor], [to_target(half)])
    (prediction,) = net.eval()([tensor])
    assert torch.equal(seen[0], by_foreground(tensor, torch.from_numpy(half > 0)))
    found = net.coarse([tensor])[0]["label_map"] > 0
    assert found.any() and torch.equal(seen[1], by_foreground(tensor, found))
    assert torch.equal(prediction["coarse"], found)


def test_both_nets_learn_and_their_losses_have_names():
    image, labels = draw((48, 48), 5, 0)
    net = two_pass(dist(width=2), unet(width=2))
    losses = net([to_tensor(image)], [to_target(labels)])
    assert set(losses) == {"loss_coarse_distance", "loss_entropy", "loss_dice"}
    sum(losses.values()).backward()
    assert all(p.grad.any() for p in net.parameters())
    assert net.title == "U-Net, foreground-normalised"


def test_nets_that_cannot_be_used_are_refused():
    with pytest.raises(UserError, match=r"model\.fine: Otsu is not trained"):
        two_pass(otsu(), otsu())
    with pytest.raises(UserError, match=r"model\.center=mode is unknown"):
        two_pass(otsu(), unet(width=2), "mode")
    with pytest.raises(UserError, match=r"model\.coarse: .* learns from binary targets"):
        two_pass(canonical_shape(resnet_body("resnet18")), unet(width=2))
