"""Box maths in half precision: none of it, whatever autocast makes of the offsets."""

import pytest
import torch

# Beyond 512 neighbours in bfloat16 are 4 apart, in float16 half a pixel: a small nucleus far from
# the corner would be moved by as much.
FAR = torch.tensor([[701.25, 703.0, 712.75, 715.5], [1021.5, 5.25, 1030.0, 12.0]])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("part", ["rpn", "roi_heads"])
def test_offsets_of_zero_give_the_box_back(part, dtype, make_net):
    coder = getattr(make_net(pa=True), part).box_coder
    for_classes = 2 if part == "roi_heads" else 1
    with torch.autocast("cpu", dtype=dtype):
        found = coder.decode(torch.zeros(2, 4 * for_classes, dtype=dtype), [FAR])
    assert found.dtype == torch.float32
    assert torch.equal(found[:, -1], FAR)


def test_mask_heads_and_targets_see_whole_proposals(make_net, make_batch, monkeypatch):
    net = make_net(pa=True).train()
    images, targets = make_batch((64, 64), (48, 80))
    seen = []
    sample = net.roi_heads.select_training_samples

    def sampled(proposals, given):
        found = sample(proposals, given)
        seen.extend([*proposals, *found[0], *found[3]])
        return found

    monkeypatch.setattr(net.roi_heads, "select_training_samples", sampled)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        net(images, targets)
    assert len(seen) == 6 and all(boxes.dtype == torch.float32 for boxes in seen)
