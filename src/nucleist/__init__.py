"""Find and outline cell nuclei from a few labelled exemplars.

>>> import nucleist
>>> run = nucleist.train("my_images", steps=600)           # doctest: +SKIP
>>> model = nucleist.load(run)                             # doctest: +SKIP
>>> result = model.predict("a.tif")                        # doctest: +SKIP
>>> result.labels, result.boxes, result.scores             # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Capabilities": "nucleist.models.net",
    "Evaluation": "nucleist.evaluation.scores",
    "Model": "nucleist.inference.load",
    "Net": "nucleist.models.net",
    "Predicted": "nucleist.inference.predicted",
    "Progress": "nucleist.types",
    "Record": "nucleist.types",
    "Reproduction": "nucleist.training.reproduce",
    "Result": "nucleist.inference.result",
    "Source": "nucleist.types",
    "Tracks": "nucleist.ops.tracking",
    "UserError": "nucleist.types",
    "annotate": "nucleist.annotation.server.serve",
    "bootstrap": "nucleist.annotation.bootstrap",
    "check_data_set": "nucleist.data.catalog",
    "demo": "nucleist.report.demo",
    "download_data_set": "nucleist.data.catalog",
    "draw_figures": "nucleist.inference.subjects",
    "evaluate": "nucleist.evaluation.evaluate",
    "export_model": "nucleist.inference.export",
    "follow": "nucleist.ops.tracking",
    "import_corrections": "nucleist.inference.corrections",
    "link_slices": "nucleist.ops.linking",
    "list_data_sets": "nucleist.data.catalog",
    "load": "nucleist.inference.load",
    "metric_cards": "nucleist.metrics.card_page",
    "plan_search": "nucleist.sweeps.api",
    "plan_sweep": "nucleist.sweeps.api",
    "predict": "nucleist.inference.predict",
    "prepare_data_set": "nucleist.data.catalog",
    "read_tracks": "nucleist.data.formats.ctc",
    "reproduce": "nucleist.training.reproduce",
    "run_search": "nucleist.sweeps.api",
    "run_sweep": "nucleist.sweeps.api",
    "save_result": "nucleist.inference.save",
    "show_data_set": "nucleist.plots.sheets",
    "train": "nucleist.training.train",
    "write_report": "nucleist.report.build",
    "write_tracks": "nucleist.data.formats.ctc",
}
"""Where each public name is defined; it is imported when it is first used (PEP 562)."""

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nucleist' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


if TYPE_CHECKING:
    from nucleist.annotation.bootstrap import bootstrap
    from nucleist.annotation.server.serve import annotate
    from nucleist.data.catalog import (
        check_data_set,
        download_data_set,
        list_data_sets,
        prepare_data_set,
    )
    from nucleist.data.formats.ctc import read_tracks, write_tracks
    from nucleist.evaluation.evaluate import evaluate
    from nucleist.evaluation.scores import Evaluation
    from nucleist.inference.corrections import import_corrections
    from nucleist.inference.export import export_model
    from nucleist.inference.load import Model, load
    from nucleist.inference.predict import predict
    from nucleist.inference.predicted import Predicted
    from nucleist.inference.result import Result
    from nucleist.inference.save import save_result
    from nucleist.inference.subjects import draw_figures
    from nucleist.metrics.card_page import metric_cards
    from nucleist.models.net import Capabilities, Net
    from nucleist.ops.linking import link_slices
    from nucleist.ops.tracking import Tracks, follow
    from nucleist.plots.sheets import show_data_set
    from nucleist.report.build import write_report
    from nucleist.report.demo import demo
    from nucleist.sweeps.api import plan_search, plan_sweep, run_search, run_sweep
    from nucleist.training.reproduce import Reproduction, reproduce
    from nucleist.training.train import train
    from nucleist.types import Progress, Record, Source, UserError
