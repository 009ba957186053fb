"""`nucleist predict`: label TIFFs, tables and overlays of images."""

from collections.abc import Sequence

from nucleist.cli.model import MODEL_SETTINGS, images_through_a_model
from nucleist.cli.words import count, names, number, share, switch, text

HELP = """usage: nucleist predict MODEL IMAGES... -o FOLDER [key=value ...]

  nucleist predict runs/NAME/ID slide.tif -o out
  nucleist predict runs/NAME/ID images/ more/*.png -o out score_threshold=0.3
  nucleist predict last.ckpt slides/ -o out share=2/4      the second of four processes
  nucleist predict nuclei slide.svs -o out cluster=local:8     on eight processes
  nucleist predict last.ckpt a.tif -o out save=labels,geojson,imagej,csv
  nucleist predict last.ckpt a.tif -o out model.grid=32    an option of the net changed

MODEL is a run folder or a checkpoint file, IMAGES are files or folders of them: TIFF, PNG, JPEG,
BMP, OME-TIFF, OME-Zarr, slides and files of microscopes (docs/data.md lists them).

For every image NAME it writes NAME_labels.tif (0 background, 1..N nuclei, best score first,
16 bits, 32 where needed), NAME_overlay.png and NAME_nuclei.csv: a line for each nucleus with its
label, score, area, centroid, box, shape and intensity. Pixels; the upper left corner of the image
is 0, 0, and the first pixel's middle 0.5, 0.5. nuclei.csv has the nuclei of all images of the
folder, images.csv a line for each image. docs/predict.md explains the columns and other files.

An image that cannot be read does not end the work on the others: it is named at the end, with the
reason, and the exit status is 3. The same command again does only what is not done yet.

  save=A,B,...         what to write: labels,overlay,csv (the default), coco, geojson (QuPath),
                       imagej (Fiji), splines (outlines of few points), zarr (large images)
  channel=N            of images with several channels the one to use, from 1; or its name, or
                       channel=rgb
  z=N                  of stacks the plane to use, from 1; or z=project, the largest value; or
                       z=each: results NAME_z1_..., NAME_z2_...
  t=N                  of several times the one to use, from 1; or t=each
  stack=volume         with z=each: nuclei in 3D too, NAME_volume.tif; or stack=film with t=each:
                       nuclei followed over time, NAME_tracks/ (docs/stacks.md)
  diameter=N           pixels of a typical nucleus: outlined at the scale of the training;
                       auto: that of the nuclei that a first pass finds in each image
  pixel_size=X         or: micrometres of a pixel, or auto for what each file says
  score_threshold=X    nuclei with a higher score count; default: calibrated in training
  device=NAME          auto, cpu, cuda, cuda:1, mps
  tile=N               side of the tiles (px) of a large image, or none; default: 1024 above 4.2
                       million pixels. A cut command goes on with the tiles that are done
  overlap=N            what tiles share, at least twice the largest nucleus; default: 128
  symmetries=8         what the net finds in the image flipped and turned, by votes; 8 times slower
  pieces=X             drop pieces of a nucleus below this share of its largest; default: 0, none
  cluster=local:N      outlined by N processes of this machine; cluster=slurm, by jobs of SLURM;
                       cluster=tcp://HOST:8786, by the workers of a dask scheduler
  slurm.KEY=VALUE      of a job: jobs, cores, memory, walltime, queue, directives
  share=I/N            only each N-th image, from I on; default: what torchrun or srun started
  overwrite=true       replace earlier results
  model.KEY=VALUE      an option of the net that has no weights
  normalize.floor=X    least range of an image in units of its noise; 0 for none
  trust=PACKAGE        build nets of this package of yours
"""


def width(value: str) -> float | str:
    """A number, or `auto`."""
    return value if value == "auto" else number(value)


def number_or_word(value: str) -> int | str:
    """A whole number, or a word as it is."""
    return int(value) if value.isdecimal() else value


SETTINGS = {
    **MODEL_SETTINGS,
    "channel": number_or_word,
    "z": number_or_word,
    "t": number_or_word,
    "stack": text,
    "diameter": width,
    "pixel_size": width,
    "score_threshold": share,
    "pieces": share,
    "tile": number_or_word,
    "overlap": number_or_word,
    "symmetries": count,
    "save": names,
    "share": text,
    "overwrite": switch,
    "cluster": text,
    "slurm.jobs": count,
    "slurm.cores": count,
    "slurm.memory": text,
    "slurm.walltime": text,
    "slurm.queue": text,
    "slurm.directives": names,
}


def main(arguments: Sequence[str]) -> int:
    """Entry point of the verb; returns 3 if some images could not be outlined."""
    found = images_through_a_model("predict", arguments, HELP, SETTINGS, "predict")
    return 3 if found is not None and found.failed else 0
