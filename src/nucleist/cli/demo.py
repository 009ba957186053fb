"""`nucleist demo`: partial annotation against no module, on drawn nuclei, start to finish."""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nucleist.cli.parser import Parser
from nucleist.config.compose import compose
from nucleist.data.formats.label_maps import write_label_map
from nucleist.data.module import NucleiData
from nucleist.files import write_json, write_text
from nucleist.inference.load import load
from nucleist.inference.pictures import predict_one
from nucleist.ops.labels import at_threshold
from nucleist.plots import LabelledImage, save_curves, save_overlays
from nucleist.report.comparison import markdown_table, read_curve, read_summary
from nucleist.training.train import build_data, train
from nucleist.types import UserError

MODELS = {"PA Mask R-CNN": "mask_rcnn_pa", "Mask R-CNN": "mask_rcnn"}


def main(arguments: Sequence[str]) -> int:
    """Entry point of the verb."""
    parser = Parser(
        "nucleist demo",
        description="Draw nuclei, keep a quarter of the labels, train the partial-annotation "
        "model and the same model without its module from the same weights, score both.",
        epilog="example: nucleist demo runs=runs seed=1 steps=60",
    )
    parser.add_argument("overrides", nargs="*", help="key=value, as for nucleist train")
    overrides = parser.parse_args(arguments).overrides
    if any(part.startswith(("model=", "experiment=", "name=")) for part in overrides):
        raise UserError("the demo chooses model, experiment and name itself; use nucleist train")
    runs: dict[str, Path] = {}
    for title, model in MODELS.items():
        print(f"training {title} ...", file=sys.stderr)
        runs[title] = train(_config(overrides, model))
    folder = _write_results(runs, _config(overrides, "mask_rcnn_pa"))
    print(_closing(folder, runs))
    return 0


def _config(overrides: Sequence[str], model: str) -> Any:
    chosen = [f"model={model}", f"name=demo/{model}"]
    return compose("train", ["experiment=demo", *overrides, *chosen])


def _write_results(runs: dict[str, Path], config: Any) -> Path:
    folder = Path(config.runs) / "demo"
    seeds = {title: [run] for title, run in runs.items()}
    table = (
        "At the fixed score threshold 0.5:\n\n"
        + markdown_table(seeds, "test")
        + "\nAt a threshold calibrated on the labelled nuclei alone:\n\n"
        + markdown_table(seeds, "test_calibrated")
    )
    write_text(folder / "table.md", table)
    write_json(
        folder / "summary.json",
        {title: {"run": str(run), **read_summary(run)} for title, run in runs.items()},
    )
    curves = {title: read_curve(run) for title, run in runs.items()}
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["model", "iteration", "map_pooled"])
        writer.writerows([title, int(x), y] for title, line in curves.items() for x, y in line)
    save_curves(
        folder / "curves.png",
        {title: [line] for title, line in curves.items()},
        title="drawn nuclei, a quarter of the labels",
    )
    _write_pictures(folder, runs, build_data(config))
    return folder


def _write_pictures(folder: Path, runs: dict[str, Path], data: NucleiData) -> None:
    rows: list[LabelledImage] = []
    trained = {title: load(run / "checkpoints" / "last.ckpt") for title, run in runs.items()}
    for image_id in data.train_set.ids[:2]:
        image, kept = data.train_set.partial(image_id)
        truth = data.whole(image_id)[1]
        for title, model in trained.items():
            found = at_threshold(predict_one(model.net, image), 0.5)
            rows.append(LabelledImage(image, kept, truth, found, f"{title}, {image_id}"))
    save_overlays(folder / "overlays.png", rows)
    best = trained["PA Mask R-CNN"]
    for image_id in data.ids("test"):
        found = at_threshold(predict_one(best.net, data.whole(image_id)[0]), best.threshold)
        write_label_map(folder / "labels" / f"{image_id}_labels.tif", found.cpu().numpy())


def _closing(folder: Path, runs: dict[str, Path]) -> str:
    checkpoint = runs["PA Mask R-CNN"] / "checkpoints" / "last.ckpt"
    return f"""
{(folder / "table.md").read_text()}
{folder}/table.md        this table, also summary.json and metrics.csv
{folder}/curves.png      mAP against iteration
{folder}/overlays.png    image, kept labels, ground truth, prediction
{folder}/labels/         label TIFFs of the test images, by the partial-annotation model

What to try next, with your own images in place of my_images:
  nucleist predict {checkpoint} my_images -o out
  nucleist data check folder data.source.root=my_images
  nucleist train data=folder data.source.root=my_images"""
