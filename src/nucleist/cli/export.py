"""`nucleist export`: a trained model as one file."""

from collections.abc import Sequence

from nucleist.cli.model import MODEL_SETTINGS, model_options
from nucleist.cli.words import read, share, text, wants_help

HELP = """usage: nucleist export MODEL -o FILE [key=value ...]

  nucleist export runs/NAME/ID -o mine.safetensors
  nucleist predict mine.safetensors images/ -o out
  nucleist train my_images weights=mine.safetensors

MODEL is a run folder, of which the recommended checkpoint is taken, a checkpoint, an exported file
or nuclei, the model that comes with the package.

  format=safetensors   the weights in half precision with all that nucleist needs to use them; no
                       code, no labels, no paths
  format=torchscript   .pt: (1, 3, H, W) in [0, 1] to a label map (1, 1, H, W); of a Mask R-CNN
  format=onnx          .onnx: (3, H, W) in [0, 1] to boxes, scores and masks of 28 x 28 cells
  format=bioimageio    .zip: a package of the BioImage Model Zoo, any image to a label map
  score_threshold=X    the one that the file is to have; default: calibrated in training
  trust=PACKAGE        build nets of this package of yours
  model.KEY=VALUE      an option of the net that has no weights
  normalize.floor=X    least range of an image in units of its noise; 0 for none
"""

SETTINGS = {"format": text, "score_threshold": share, "trust": MODEL_SETTINGS["trust"]}


def main(arguments: Sequence[str]) -> None:
    """Entry point of the verb."""
    if wants_help(arguments):
        print(HELP, end="")
        return
    words = read("export", arguments)
    options = model_options(words)
    settings = words.take(**SETTINGS)
    words.nothing_left(SETTINGS)
    model, output = words.one("MODEL"), words.place()
    import nucleist

    print(nucleist.export_model(model, output, options=options, **settings))
