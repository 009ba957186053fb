"""The benchmark, run for real on one tiny image, and its arithmetic."""

import contextlib
import io
import json
import os
import time

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from scripts.bench import measure
from scripts.bench.__main__ import main
from scripts.bench.measure import Case, Timing, race
from scripts.bench.meter import available_bytes
from scripts.bench.nets import BASELINE, MODELS, PA, STOCK, make, preset
from scripts.bench.planted import JITTER, jittered
from scripts.bench.scores import TOOLS
from scripts.bench.settings import PARTS, Settings, load, stack_of
from scripts.bench.steps import difference, pixels_differing
from scripts.bench.stock import painted
from scripts.bench.verdicts import overhead, per_nucleus, targets

pytestmark = pytest.mark.slow

NUCLEI = 6


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Standard output, Markdown and figures of the smallest run."""
    out = tmp_path_factory.mktemp("bench") / "new"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        main(["--sizes", "64", "--nuclei", "6", "9", "--runs", "1", "--output", str(out)])
    written = (out / "bench.md").read_text()
    return printed.getvalue(), written, json.loads((out / "bench.json").read_text())


def check_timing(timing):
    assert 0 < timing["min_s"] <= timing["median_s"] <= timing["max_s"]
    assert timing["runs"] >= 1 and timing["cpu_s"] > 0 and timing["peak_mb"] >= 0


def test_losses_are_torchvisions(bench):
    (row,) = bench[2]["training"]
    losses = row["losses"][STOCK]
    assert losses.keys() == {f"loss_{n}" for n in "classifier box_reg mask objectness".split()} | {
        "loss_rpn_box_reg"
    }
    assert all(0 < value < 100 for value in losses.values())
    assert row["loss_difference"] <= 1e-5
    assert row["loss_difference"] == max(
        difference(losses[k], row["losses"][BASELINE][k]) for k in losses
    )


def test_label_maps_are_torchvisions(bench):
    (row,) = bench[2]["inference"]
    assert row["pixels_differing"] == 0
    assert NUCLEI - 2 <= row["detections"][STOCK] <= NUCLEI
    assert len(set(row["detections"].values())) == 1


def test_every_case_is_timed(bench):
    result = bench[2]
    for part in ("training", "inference"):
        (row,) = result[part]
        assert (row["size"], row["nuclei"]) == (64, NUCLEI)
        for kind in (STOCK, BASELINE, PA):
            check_timing(row[kind])
    assert result["training"][0]["batch"] == 2
    assert result["training"][0]["found_boxes"] == NUCLEI  # planted centres, 17 px apart at least


def test_bookkeeping_has_its_steps(bench):
    (row,) = bench[2]["bookkeeping"]
    for kind in (STOCK, BASELINE):
        check_timing(row[kind])
        steps = row[f"{kind} steps"]
        assert list(steps) == ["boxes", "resize", "match", "project"]
        assert all(step["median_s"] > 0 <= step["peak_mb"] for step in steps.values())


def test_metrics_and_loading_have_their_rows(bench):
    result = bench[2]
    assert [row["tool"] for row in result["metrics"]] == list(TOOLS)
    for row in result["metrics"]:
        if row["taken"] != "not installed":
            check_timing(row["taken"])
    assert not isinstance(result["metrics"][0]["taken"], str)
    pngs, prepared, memory = result["loading"]
    assert pngs["nuclei"] == prepared["nuclei"] == memory["nuclei"] == NUCLEI
    assert pngs["kilobytes"] > prepared["kilobytes"] > 0 and memory["kilobytes"] is None
    for row in (pngs, prepared, memory):
        check_timing(row["taken"])


def test_derived_rows_and_header(bench):
    result = bench[2]
    (over,) = result["overhead"]
    row = result["training"][0]
    ratio = row[PA]["median_s"] / row[BASELINE]["median_s"]
    assert over["training"] == pytest.approx(ratio - 1)
    assert {r["part"] for r in result["per_nucleus"]} == {"training", "inference"}
    assert {r["verdict"] for r in result["targets"]} <= {"met", "missed", "not measured"}
    header = result["header"]
    assert {"python", "torch", "torchvision", "cpu", "threads", "command", "git"} <= header.keys()
    assert header["left out, nuclei do not fit"] == "9 in 64 px"


def test_markdown_is_printed_and_written(bench):
    printed, written, result = bench
    assert printed == written
    titles = [line[3:] for line in written.splitlines() if line.startswith("## ")]
    assert len(titles) == len(PARTS) + 3
    assert titles[-1] == "Targets"
    for row in result["targets"]:
        line = f"| {row['work']} | {row['measured']} | {row['target']} | {row['verdict']} |"
        assert line in written
    assert "| the paper |  | +14.0% | +69.0% |" in written
    for line in written.splitlines():  # as many cells as the head of the table
        assert not line.startswith("|") or line.endswith(" |") or set(line) == {"|", "-"}


def allocate(meter, before_mb, during_mb):
    held = np.ones(before_mb * 2**17)
    meter.start()
    return lambda: float(np.ones(during_mb * 2**17)[0] + held[0])


def rest(meter, seconds):
    return lambda: time.sleep(seconds)


def too_much(meter):
    return lambda: torch.empty(4 * available_bytes(), dtype=torch.uint8)


def leave(meter):
    return lambda: os._exit(3)


def not_there(meter):
    import nucleist.no_such_module  # noqa: F401


def test_the_peak_is_what_a_case_adds():
    found = race({"a": Case(allocate, options={"before_mb": 100, "during_mb": 60})}, 2)["a"]
    assert found.result == 2 and found.timing.runs == 2
    assert 55 < found.timing.peak_mb < 75


def test_a_slow_case_has_fewer_turns(monkeypatch):
    monkeypatch.setattr(measure, "LONG", 0.5)
    cases = {s: Case(rest, options={"seconds": s}) for s in (0.001, 0.2, 0.6)}
    runs = {seconds: found.timing.runs for seconds, found in race(cases, 4).items()}
    assert runs[0.001] == 4  # 0.2 s: two turns after the first run; 0.6 s: the first counts
    assert 1 <= runs[0.2] <= 2 and runs[0.6] == 1


def test_a_case_that_fails_says_why_and_spares_the_others():
    cases = {
        "memory": Case(too_much),
        "gone": Case(leave),
        "missing": Case(not_there),
        "fine": Case(rest, options={"seconds": 0.0}),
    }
    found = race(cases, 1)
    assert found["memory"].problem.startswith("out of memory")
    assert found["gone"].problem == "killed (exit code 3)"
    assert found["missing"].problem == "not installed"
    assert found["fine"].problem is None and found["fine"].timing.runs == 1


def settings(tmp_path, **options):
    given = {"sizes": (64, 128), "nuclei": (6, 20), "runs": 1, "parts": PARTS, "large": True}
    given |= {"preset": "compact", "device": "cpu", "baseline": None, "pa": None}
    return Settings(**{**given, **options}, folder=tmp_path)


def test_only_what_fits_is_measured(tmp_path):
    some = settings(tmp_path)  # 64 * 64 = 4096 px hold 6 nuclei at 600 px each
    assert some.cells == [(64, 6), (128, 6), (128, 20)]
    assert some.left_out == [(64, 20)]
    assert not some.too_large(1000, 1000)
    spared = settings(tmp_path, large=False)
    assert spared.too_large(1000, 1000) and not spared.too_large(1000, 500)


def test_a_drawn_image_has_the_nuclei_asked_for(tmp_path):
    some = settings(tmp_path)
    image, target = load(some.drawn(128, 20))
    assert image.shape == (3, 128, 128) and len(target["boxes"]) == 20
    masks = stack_of(target)
    assert masks.shape == (20, 128, 128) and masks.dtype == torch.uint8
    number = torch.arange(1, 21)[:, None, None]
    assert torch.equal((masks * number).sum(0), target["label_map"].long())
    assert not torch.equal(image, load(some.drawn(128, 20, 1))[0])


def test_better_masks_are_painted_over_worse_ones():
    masks = torch.zeros(2, 1, 1, 3)
    masks[0, 0, 0, :2] = 0.9
    masks[1, 0, 0, 1:] = 0.9
    assert painted(masks).tolist() == [[1, 1, 2]]
    assert painted(torch.zeros(0, 1, 1, 3)).tolist() == [[0, 0, 0]]


def test_label_maps_are_compared_by_order_not_by_number():
    a, b = np.array([[0, 1, 3]], np.int32), np.array([[0, 1, 2]], np.int32)
    assert pixels_differing(a, b) == 0
    assert pixels_differing(a, b[:, ::-1].copy()) == 2  # 0 1 2 against 2 1 0


def test_jittered_boxes_are_positives():
    boxes = torch.tensor([[10.0, 10.0, 30.0, 26.0], [0.0, 0.0, 12.0, 12.0]])
    near = jittered(boxes, 50, 64, torch.Generator().manual_seed(0))
    # Two sides of a box off by 2 * JITTER of it each way: (1 - 0.16)^2 at least
    least = (1 - 4 * JITTER) ** 2
    assert (box_iou(near, boxes.repeat(50, 1)).diagonal() > least).all() and least > 0.7
    assert near.min() >= 0 and near.max() <= 64


def test_a_resnet_is_torchvisions_too():
    config = preset("resnet18", MODELS[BASELINE])
    assert config["transform"]["min_size"] is None
    stock, ours = (make(kind, config, None, 64, "cpu") for kind in (STOCK, BASELINE))
    theirs = stock.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.state_dict().items())
    for part in ("rpn", "roi_heads", "transform"):
        assert type(getattr(stock, part)).__module__.startswith("torchvision.")
    assert stock.roi_heads.detections_per_img == ours.roi_heads.detections_per_img
    assert stock.rpn.nms_thresh == ours.rpn.nms_thresh


def timing(seconds, peak_mb=100.0):
    return Timing(seconds, seconds, seconds, seconds, 1, peak_mb)


def row_of(stock, ours, pa=1.0, nuclei=1000, **more):
    kinds = {STOCK: stock, BASELINE: timing(ours), PA: timing(ours * pa)}
    return {"size": 1000, "nuclei": nuclei, **kinds, **more}


def test_targets_are_compared_with_what_was_measured():
    training = [
        row_of(timing(3.0), 1.0, nuclei=100, loss_difference=2e-5),
        row_of(timing(9.1, 450.0), 5.0, 1.05, loss_difference=0.0),
    ]
    inference = [row_of("out of memory", 5.0, 1.2, pixels_differing=0)]
    found = {
        row["work"]: (row["measured"], row["verdict"])
        for row in targets({"training": training, "inference": inference})
    }
    assert found["training step, 1000 nuclei: faster"] == ("1.82 x", "met")
    assert found["training step, 1000 nuclei: less memory"] == ("4.5 x", "met")
    reason = ("torchvision: out of memory", "not measured")
    assert found["inference, 1000 nuclei: faster"] == reason
    assert found["PA over baseline, training, worst row"] == ("+5.0%", "met")
    assert found["PA over baseline, inference, worst row"] == ("+20.0%", "missed")
    assert found["bookkeeping of 1000 nuclei: faster"] == ("-", "not measured")
    # 10 ms a nucleus at 100, 5 ms at 1000
    assert found["training, ms per nucleus from 100 to 1000"] == ("10, 5", "met")
    assert found["inference, ms per nucleus from 100 to 1000"] == ("-", "not measured")
    assert found["losses, largest difference"] == ("2.0e-05", "missed")
    assert found["label maps, pixels that differ"] == ("0", "met")


def test_the_cost_of_further_nuclei():
    rows = [row_of("-", 1.0, nuclei=100), row_of("-", 1.9, 2.0)]
    for row in rows:
        row["batch"] = 1
    ours = [row for row in per_nucleus({"training": rows}) if row["kind"] == BASELINE]
    assert [row["each_ms"] for row in ours] == pytest.approx([10, 1.9])
    assert "added_ms" not in ours[0]
    assert ours[1]["added_ms"] == pytest.approx(1.0)  # 0.9 s more for 900 more
    assert [row["training"] for row in overhead({"training": rows})] == pytest.approx([0, 1])


def test_a_case_without_a_timing_has_no_ratio():
    assert overhead({"training": [row_of("-", 1.0) | {PA: "out of memory"}]}) == []
