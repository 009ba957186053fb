"""Batch normalisation for nets that also train on one image at a time."""

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import ASPP


class SingleBatchNorm(nn.BatchNorm2d):
    """Batch normalisation that uses its running statistics where a batch has one value a channel.

    The image-level branch of DeepLabV3's pyramid pools a whole image into one value, which has no
    variance in a batch of one image; torch refuses it in training. Such a batch is normalised as
    in evaluation and does not change the running statistics.
    """

    def forward(self, input: Tensor) -> Tensor:
        """`(B, C, H, W)` to the same."""
        if self.training and input.numel() == input.shape[1]:
            mean, var = self.running_mean, self.running_var
            return F.batch_norm(input, mean, var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(input)


def for_one_image(pyramid: ASPP) -> ASPP:
    """The same pyramid, whose image-level branch may be trained on a batch of one image."""
    pooling: nn.Sequential = pyramid.convs[-1]  # type: ignore[assignment]
    norm: nn.BatchNorm2d = pooling[2]  # type: ignore[assignment]
    pooling[2] = SingleBatchNorm(norm.num_features)
    return pyramid
