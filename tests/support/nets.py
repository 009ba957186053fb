"""Torchvision's own Mask R-CNN under nucleist's contract, and nets that learn one batch."""

import torch
from torchvision.models.detection import MaskRCNN

from nucleist.models import Capabilities, Net


class StockMaskRCNN(MaskRCNN, Net):
    """For weights, whose names and shapes are torchvision's."""

    can = Capabilities(coco_weights=True)

    def box_weights(self):
        return tuple(self.rpn.box_coder.weights)


def train(net, images, targets, name, rate, steps):
    """Steps of Adam on one batch; the loss of this name before each."""
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    losses = []
    for _ in range(steps):
        loss = net(images, targets)[name]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
