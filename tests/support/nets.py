"""Torchvision's own Mask R-CNN under nucleist's contract."""

from torchvision.models.detection import MaskRCNN

from nucleist.models import Capabilities, Net


class StockMaskRCNN(MaskRCNN, Net):
    """For weights, whose names and shapes are torchvision's."""

    can = Capabilities(coco_weights=True)

    def box_weights(self):
        return tuple(self.rpn.box_coder.weights)
