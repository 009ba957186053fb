"""The whole story on drawn nuclei: partial annotation beside the same net without its module."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from nucleist.config.compose import compose
from nucleist.data.formats.label_maps import write_label_map
from nucleist.data.module import NucleiData
from nucleist.files import write_json, write_text
from nucleist.inference.load import Model, load
from nucleist.inference.outline import outline
from nucleist.ops.labels import at_threshold
from nucleist.plots.curves import save_curves
from nucleist.plots.overlay import LabelledImage, save_overlays
from nucleist.progress import shown
from nucleist.report.comparison import markdown_table
from nucleist.training.finished import Run, read_run
from nucleist.training.train import build_data, train_config
from nucleist.types import Progress, UserError

MODELS = {"PA Mask R-CNN": "mask_rcnn_pa", "Mask R-CNN": "mask_rcnn"}


@dataclass(frozen=True)
class Demo:
    """What the demo left.

    Attributes:
        folder: `table.md`, `summary.json`, `metrics.csv`, `curves.png`, `overlays.png`, `labels/`.
        runs: The run folder of each model.
    """

    folder: Path
    runs: Mapping[str, Path]


def demo(*, overrides: Sequence[str] = (), progress: bool | Progress = False) -> Demo:
    """Draw nuclei, keep a quarter of the labels, train two nets, and compare them.

    Both begin with the same weights: the partial-annotation model, and the same model without its
    module.

    Args:
        overrides: Settings in the words of the command line, as for `nucleist.train`.
        progress: True prints lines and a bar to stderr; or an object that shows them otherwise.

    Returns:
        The folder with table, curves, pictures and label TIFFs, and the two run folders.

    Raises:
        UserError: If a setting is not what it should be.
    """
    watcher = shown(progress)
    if any(word.startswith(("model=", "experiment=", "name=")) for word in overrides):
        raise UserError("the demo chooses model, experiment and name itself; use nucleist train")
    trainer = _config(overrides, "mask_rcnn_pa").trainer
    every, steps = trainer.val_check_interval, trainer.max_steps
    if isinstance(every, int) and every > steps:
        raise UserError(f"val_every={every} of {steps} steps: no curve; use val_every={steps}")
    runs: dict[str, Path] = {}
    for title, model in MODELS.items():
        watcher.note(f"training {title} ...")
        command = " ".join(["nucleist", "train", *_words(overrides, model)])
        runs[title] = train_config(_config(overrides, model), None, watcher, command)
    config = _config(overrides, "mask_rcnn_pa")
    folder = Path(config.runs) / "demo"
    _write_figures(folder, {title: read_run(run) for title, run in runs.items()})
    models = {title: load(run) for title, run in runs.items()}
    _write_pictures(folder, models, build_data(config))
    return Demo(folder, runs)


def _words(overrides: Sequence[str], model: str) -> list[str]:
    return ["experiment=demo", *overrides, f"model={model}", f"name=demo/{model}"]


def _config(overrides: Sequence[str], model: str) -> DictConfig:
    return compose("train", _words(overrides, model))


def _write_figures(folder: Path, runs: Mapping[str, Run]) -> None:
    """Tables and curves of scores."""
    each = {title: [run] for title, run in runs.items()}
    table = (
        "At the fixed score threshold 0.5:\n\n"
        + markdown_table(each, "test")
        + "\nAt a threshold calibrated on the labelled nuclei alone:\n\n"
        + markdown_table(each, "test_calibrated")
    )
    write_text(folder / "table.md", table)
    write_json(
        folder / "summary.json",
        {title: {"run": str(run.folder), **run.summary} for title, run in runs.items()},
    )
    curves = {title: run.curve("val/map_pooled") for title, run in runs.items()}
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["model", "iteration", "map_pooled"])
        writer.writerows([title, int(x), y] for title, line in curves.items() for x, y in line)
    save_curves(
        folder / "curves.png",
        {title: [line] for title, line in curves.items()},
        title="drawn nuclei, a quarter of the labels",
    )


def _write_pictures(folder: Path, models: Mapping[str, Model], data: NucleiData) -> None:
    """Overlays of two training images, and label TIFFs of the test images."""
    rows: list[LabelledImage] = []
    for image_id in data.train_set.ids[:2]:
        image, kept = data.train_set.partial(image_id)
        truth = data.whole(image_id).labels
        for title, model in models.items():
            found = at_threshold(outline(model.net, image), 0.5).numpy()
            rows.append(LabelledImage(image, kept, truth, found, f"{title}, {image_id}"))
    save_overlays(folder / "overlays.png", rows)
    best = models["PA Mask R-CNN"]
    for image_id in data.ids("test"):
        labels = at_threshold(outline(best.net, data.whole(image_id).image), best.threshold)
        write_label_map(folder / "labels" / f"{image_id}_labels.tif", labels.numpy())
