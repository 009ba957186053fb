"""The U-Net inside several nets: its size, its variants, and the names of its weights."""

import pytest
import torch

from nucleist.models import dist
from nucleist.models.unet_body import STRIDE, Encoded, UNet, xavier


def nuset_like(width=64, **options):
    """The layers of NuSeT's published code."""
    layers = {"norm": False, "up_kernel": 3, "up_relu": False, "deep_skip": False}
    return UNet(width, in_channels=1, out_channels=2, head_kernel=3, **layers | options)


def test_nusets_net_has_32_million_parameters():
    count = sum(parameter.numel() for parameter in nuset_like().parameters())
    assert count == pytest.approx(32.15e6, abs=5e3)
    more = sum(parameter.numel() for parameter in nuset_like(deep_skip=True).parameters())
    assert more - count == 9 * 512 * 512  # kernels of the 512 channels that are joined


@pytest.mark.parametrize("unet", [UNet(2, in_channels=1, out_channels=2), nuset_like(2)])
def test_the_encoder_can_be_shared(unet):
    unet.apply(xavier).eval()
    image = torch.rand(1, 1, 32, 48)
    with torch.inference_mode():
        encoded = unet.encode(image)
        assert [level.shape[1] for level in encoded.levels] == [2, 4, 8, 16, 32]
        assert [level.shape[-2] for level in encoded.levels] == [32, 16, 8, 4, 2]
        assert encoded.pooled.shape == (1, 16, 32 // STRIDE, 48 // STRIDE)
        assert torch.equal(encoded.pooled.amax((2, 3)), encoded.levels[3].amax((2, 3)))
        assert torch.equal(unet.head(unet.decode(encoded)), unet(image))
        assert unet(image).shape == (1, 2, 32, 48)


def test_xavier_has_no_bias_and_bounds():
    unet = nuset_like(2).apply(xavier)
    assert all((p == 0).all() for name, p in unet.named_parameters() if name.endswith("bias"))
    kernel = unet.down[1][0].weight  # 2 to 4 channels: sqrt(6 / (9 * 2 + 9 * 4)) = 1/3
    assert 0.3 < kernel.abs().max() <= 1 / 3


def test_the_fourth_level_is_joined_or_not():
    for joined in (True, False):
        unet = nuset_like(2, deep_skip=joined).apply(xavier)
        levels, pooled = unet.encode(torch.rand(1, 1, 32, 32))
        levels = [level.detach().requires_grad_() for level in levels]
        unet.decode(Encoded(levels, pooled)).sum().backward()
        assert (levels[3].grad is not None) == joined
        assert all(levels[i].grad is not None for i in (0, 1, 2, 4))


def test_the_weights_of_dist_keep_their_names():
    # Those of checkpoints that were written when the net was part of DIST.
    names = set(dist(width=2).state_dict())
    convolutions = {f"unet.{part}.{i}.{j}" for part, n in (("down", 5), ("merge", 4))
                    for i in range(n) for j in (0, 3)}  # fmt: skip
    norms = {name[:-1] + str(int(name[-1]) + 1) for name in convolutions}
    entries = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    wanted = {f"{name}.weight" for name in convolutions}
    wanted |= {f"{name}.{entry}" for name in norms for entry in entries}
    wanted |= {f"unet.up.{i}.{entry}" for i in range(4) for entry in ("weight", "bias")}
    assert names == wanted | {"unet.head.weight", "unet.head.bias"}
