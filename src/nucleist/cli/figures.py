"""`nucleist figures`: the figures of the partial-annotation paper, of a trained net."""

from collections.abc import Sequence

from nucleist.cli.model import MODEL_SETTINGS, images_through_a_model
from nucleist.cli.words import names, share, switch

HELP = """usage: nucleist figures MODEL IMAGES... -o FOLDER [key=value ...]

  nucleist figures runs/NAME/ID my_images/a.tif -o figures
  nucleist figures runs/NAME/ID TCGA-E2-A1B5-01Z-00-DX1 -o figures only=overlay

An image is a file, a folder of files, or the id of a training or test image of the run. For each:
  ID_overlay.png    labels, ground truth and prediction (the paper's Figs. 3, 5 and 6)
  ID_centers.png    centre target, centre scores and found boxes (Fig. 2)
  ID_attention.png  where the labelled nuclei attend to (Fig. 1)
Labels of a file are looked for beside it (a.png and a_labels.tif, images/ and labels/, ...).

  only=overlay,centers   some of overlay, centers, attention
  score_threshold=X      nuclei with a higher score are shown; default: calibrated in training
  device=NAME            auto, cpu, cuda, cuda:1, mps
  overwrite=true         replace earlier pictures
  model.KEY=VALUE        an option of the net that has no weights; normalize.KEY=VALUE likewise
  trust=PACKAGE          build nets of this package of yours
"""

SETTINGS = {**MODEL_SETTINGS, "only": names, "score_threshold": share, "overwrite": switch}


def main(arguments: Sequence[str]) -> int:
    """Entry point of the verb."""
    images_through_a_model("figures", arguments, HELP, SETTINGS, "draw_figures")
    return 0
