"""Half precision in parts of a batch, with and without a gradient scaler, and float32 inside."""

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import MixedPrecision
from support.sources import make_data

from nucleist.data.transforms import light
from nucleist.distributed.trainer import trainer
from nucleist.models.attention import DecomposedAttention
from nucleist.training.checkpoints import Checkpoints
from nucleist.training.task import SegmentationTask

pytestmark = pytest.mark.slow


@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_half_precision_trains_in_parts(precision, make_net, tmp_path):
    """The CPU computes in float16 too; only Lightning's option would make bfloat16 of it."""
    net = make_net(pa=True, attention=["p2"])
    before = {name: value.clone() for name, value in net.named_parameters()}
    plugin = MixedPrecision(precision, "cpu")
    made: pl.Trainer = trainer(
        accelerator="cpu",
        devices=1,
        max_steps=2,
        accumulate_grad_batches=2,
        gradient_clip_val=1.0,
        limit_val_batches=0,
        use_distributed_sampler=False,
        enable_model_summary=False,
        logger=False,
        callbacks=[Checkpoints(str(tmp_path), every=1)],
        enable_progress_bar=False,
        plugins=[plugin],
    )
    scaler = plugin.scaler
    if scaler is not None:
        scaler.load_state_dict({**scaler.state_dict(), "scale": 256.0})  # no step is skipped
    task = SegmentationTask(net, lambda groups: torch.optim.SGD(groups, 0.01))
    data = make_data(augment=light(crop=32), batch_size=4, steps=2)
    made.fit(task, datamodule=data)
    assert made.global_step == 2
    after = dict(net.named_parameters())
    assert all(value.dtype == torch.float32 for value in after.values())
    assert all(value.isfinite().all() for value in after.values())
    assert any(not torch.equal(value, before[name]) for name, value in after.items())
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert ("MixedPrecision" in saved) == (scaler is not None)
    assert saved["state_dict"]["net." + next(iter(after))].dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_attention_over_many_locations(dtype):
    # Over 250 x 250 locations a weight is about 1.6e-5, below the normal numbers of float16.
    torch.manual_seed(0)
    block = DecomposedAttention(12, 7, 5).eval()
    x = torch.randn(1, 12, 250, 250)
    with torch.no_grad():
        wanted = block(x)
        with torch.autocast("cpu", dtype=dtype):
            got = block(x)
            maps = block.maps(x.permute(0, 2, 3, 1).flatten(1, 2))
    assert all(part.dtype == torch.float32 for part in maps)
    torch.testing.assert_close(got.float(), wanted, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_centre_boxes_are_float32(dtype, make_net, make_batch):
    net = make_net(pa=True, center={"threshold": 0.0}).eval()
    images, _ = make_batch((64, 64))
    with torch.no_grad(), torch.autocast("cpu", dtype=dtype):
        boxes = net.found_boxes(images[0])
    assert len(boxes) and boxes.dtype == torch.float32
