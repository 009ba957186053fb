"""Many images through a trained model: label TIFFs, tables and overlays in a folder."""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nucleist.config.targets import Trust
from nucleist.data.formats.channels import Choice
from nucleist.files import make_folder
from nucleist.inference import earlier
from nucleist.inference.cluster.asked import asked_for
from nucleist.inference.cluster.tasks import recipe_of
from nucleist.inference.cluster.team import team_of
from nucleist.inference.each import Begun, UnreadableError, Way, outline_one
from nucleist.inference.inputs import find_images, share_of
from nucleist.inference.load import Model, load
from nucleist.inference.opened import Item, items_of
from nucleist.inference.outputs import (
    check_tables,
    done_before,
    existing,
    missing,
    plan_outputs,
    tables_there,
    there_already,
    write_tables,
)
from nucleist.inference.predicted import Predicted, summed
from nucleist.inference.save import DEFAULT, chosen, paths_of
from nucleist.inference.scaling import Diameter, PixelSize, Scaling
from nucleist.inference.stacks import check_stack, join
from nucleist.inference.tiles.cut import Cut, Overlap, Tile
from nucleist.inference.tiles.run import Job
from nucleist.inference.turns import Turns
from nucleist.progress import shown
from nucleist.types import Progress

if TYPE_CHECKING:
    from distributed import Client


def predict(
    model: str | Path | Model,
    images: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    score_threshold: float | None = None,
    device: str = "auto",
    share: str | None = None,
    overwrite: bool = False,
    channel: int | str | None = None,
    z: int | Literal["project", "each"] | None = None,
    t: int | Literal["each"] | None = None,
    diameter: Diameter | None = None,
    pixel_size: PixelSize | None = None,
    pieces: float = 0,
    stack: Literal["volume", "film"] | None = None,
    tile: Tile = "auto",
    overlap: Overlap = "auto",
    symmetries: int = 1,
    save: str | Sequence[str] = DEFAULT,
    options: Mapping[str, Any] | None = None,
    trust: Trust = (),
    cluster: "str | Client | None" = None,
    slurm: Mapping[str, Any] | None = None,
    progress: bool | Progress = False,
) -> Predicted:
    """Outline the nuclei of image files and write the results into a folder.

    For every image `NAME` it writes `NAME_labels.tif` (0 background, 1..N nuclei, best score
    first, 16 bits, 32 where needed), `NAME_overlay.png` and `NAME_nuclei.csv`, a line for each
    nucleus (`nucleist.inference.result.COLUMNS`, then `nucleist.inference.measurements`); and for
    the folder `nuclei.csv` and `images.csv` with the nuclei of all images and a line for each. Of
    a file with several pictures each has its own results, `NAME_t2_z3_labels.tif`. Processes that
    are given the same folder divide the images among themselves.

    Args:
        model: A run folder, a checkpoint or a loaded model; see `nucleist.load`.
        images: Files of any kind that `nucleist.data.pictures.open.open_pictures` reads, or folders
            of them.
        output: Folder for the results; made if it is not there.
        score_threshold: Detections with a higher score count, in [0, 1]; None for the threshold
            that was calibrated in training.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.
        share: `I/N`: only each N-th image, from the I-th on (from 1), so that N processes share
            the work; None for what torchrun or srun has started, else `1/1`.
        overwrite: Replace earlier results. Without it, images whose results are there already,
            from the same model and settings, are not done again; other results are refused.
        channel: Number of the channel that shows the nuclei, from 1, its name, or `"rgb"`, of
            images that have several; see `nucleist.data.formats.channels.Choice`.
        z: Number of the plane, from 1, `"project"` or `"each"`, of stacks; likewise.
        t: Number of the time, from 1, or `"each"`; likewise.
        diameter: Typical diameter of the nuclei, pixels, or `"auto"` for that of the nuclei that a
            first pass finds in each image: images are outlined at the scale of the
            training; results are of the images as they are.
        pixel_size: Or: width of a pixel in micrometres, or `"auto"` for what each file says.
        pieces: Pieces of a nucleus below this share of its largest one are dropped, in [0, 1]: 0
            keeps all, 1 the largest alone.
        stack: Put the planes of each file together: `"volume"` links those of z="each" to nuclei
            in 3D, `NAME_volume.tif`; `"film"` follows the nuclei of t="each", `NAME_tracks/`. See
            docs/stacks.md.
        tile: Side of the tiles of a large image, pixels; `auto`: images of more than 4.2 million
            pixels are outlined in tiles of 1024, `none`: no image is. Tiles that are done stay
            beside the results until these are written, so that the same command goes on.
        overlap: What neighbouring tiles share, pixels, at least twice the largest nucleus; `auto`:
            an eighth of the tile, at least 128.
        symmetries: 1, or 8: what the net finds in the eight positions of the square, by votes, at
            eight times the cost.
        save: What to write for each image: some of `labels`, `overlay`, `csv`, `coco`,
            `geojson`, `imagej`, `splines` and `zarr`; see docs/predict.md.
        options: Options of the model that differ from the training; see `nucleist.load`.
        trust: See `nucleist.load`.
        cluster: `"local:N"`, N processes of this machine; `"slurm"`, jobs of a SLURM site; or the
            address of a dask scheduler, or a `distributed.Client` of yours: workers outline the
            images and the tiles of large ones, with the same results. See docs/predict.md.
        slurm: What the jobs ask for: some of `jobs`, `cores`, `memory`, `walltime`, `queue` and
            `directives`; see `nucleist.inference.cluster.asked.Slurm`.
        progress: True prints lines and a bar to stderr; or an object that shows them otherwise.

    Returns:
        The number of nuclei of each image, as a mapping; `failed` has the images that could not
        be read, each with the reason. One of them does not end the work on the others.

    Raises:
        UserError: If the model or a single image cannot be read, two images share a name, or
            other results are there already. What was written before stays.
    """
    watcher, folder = shown(progress), Path(output).expanduser()
    asked = asked_for(cluster, slurm)
    choice, scaling = Choice(channel, z, t), Scaling(diameter, pixel_size)
    given = [images] if isinstance(images, str | Path) else images
    every = items_of(find_images(given, watcher), choice)
    own = share_of(every, share)
    outputs = plan_outputs(every, folder)
    wanted = chosen(save)
    check_stack(stack, choice, wanted, len(own) == len(every))
    turns = Turns(folder, overwrite)
    known = {} if overwrite else done_before(own, outputs, wanted, folder)
    if "csv" in wanted and not overwrite:
        check_tables(folder)
    where = device if asked is None else "auto"  # the workers' device may not be here
    loaded = load(model, options=options, device=where, trust=trust)
    threshold = loaded.score_threshold(score_threshold)
    cut = Cut(tile, overlap)
    job = Job(loaded.net, loaded.normalize, threshold, pieces, symmetries)
    settings = earlier.settings_hash(loaded, threshold, choice, pieces, cut, scaling, symmetries)
    for image, line in known.items():
        if line["settings"] != settings:
            raise there_already(existing(outputs[image], wanted))
    make_folder(folder)
    to_do = {image: missing(known.get(image), outputs[image], wanted) for image in own}
    done = {image: line for image, line in known.items() if not to_do[image]}
    if done:
        watcher.note(
            f"{folder}: {len(done)} of {len(own)} images have these results already; "
            "overwrite=true does them again"
        )
    loaded.net.limits_reached.clear()
    counts = {image: line["nuclei"] for image, line in done.items()}
    failed: dict[Item, str] = {}
    left = [image for image in own if image not in done]

    def begin(image: Item) -> Begun:
        paths, output = paths_of(outputs[image], to_do[image]), outputs[image]
        about: dict[str, Any] = {"image": earlier.image_hash(image), "settings": settings}
        about["saved"] = sorted({*known.get(image, {}).get("saved", ()), *paths})
        earlier.add(folder, output.name, about)
        return Begun(image, paths, about, output.with_name(f".{output.name}_tiles"))

    def done_by_others(image: Item) -> bool:
        theirs = turns.done(outputs[image], settings, to_do[image])
        if theirs:
            watcher.note(f"{image}: {theirs['nuclei']} nuclei, by another process")
            counts[image] = theirs["nuclei"]
        return bool(theirs)

    way = Way(job, choice, scaling, loaded.trained, cut)
    with ExitStack() as on:
        own_turns = turns.over(left, outputs, watcher)
        rounds = _here(way, own_turns, done_by_others, begin, watcher)
        if asked is not None and left:
            asked_of = (threshold, pieces, symmetries, choice, scaling, cut, settings)
            recipe = recipe_of(model, loaded, dict(options or {}), device, trust, *asked_of)
            team = on.enter_context(team_of(asked, recipe, folder, watcher))
            rounds = team.images(way, left, begin)
        on.enter_context(closing(rounds))
        for begun, outline in rounds:
            try:
                about = {**begun.made_from, **outline()}
            except UnreadableError as error:
                if len(every) == 1:
                    raise
                failed[begun.image] = str(error)
                continue
            about["choice"] = [choice.channel, choice.z, choice.t]
            counts[begun.image] = about["nuclei"]
            earlier.add(folder, outputs[begun.image].name, about)
    if "csv" in wanted and (left or not tables_there(folder)):
        write_tables(folder)
    if stack is not None:
        join({image: outputs[image] for image in own if image in counts}, failed, stack, watcher)
    warn_of_limits(loaded.net.limits_reached, len(left), watcher)
    warn_of_failed(failed, len(own), watcher)
    return summed(own, counts, failed)


def _here(
    way: Way,
    turns: Iterable[tuple[Item, AbstractContextManager[bool]]],
    done: Callable[[Item], bool],
    begin: Callable[[Item], Begun],
    progress: Progress,
) -> Generator[tuple[Begun, Callable[[], dict[str, Any]]], None, None]:
    """The images one by one, each with a function that outlines it in this process."""
    for image, turn in turns:
        with turn as mine:
            if mine and not done(image):
                one = begin(image)
                yield one, partial(outline_one, way, one, progress)


def warn_of_failed(failed: Mapping[Item, str], images: int, progress: Progress) -> None:
    """Name the images that could not be outlined, each with its reason; nothing if there is none.

    Args:
        failed: Reasons by image.
        images: Number of all images.
        progress: Gets the warnings.
    """
    for reason in failed.values():
        progress.warn(f"not outlined: {reason}")
    if failed:
        progress.warn(
            f"{len(failed)} of {images} images could not be outlined; mend or remove them, and "
            "give the same command again"
        )


def warn_of_limits(reached: Mapping[str, int], images: int, progress: Progress) -> None:
    """Warn that limits cut what was found; nothing if none did.

    Args:
        reached: Number of images by limit, as `Net.limits_reached`.
        images: Number of all images.
        progress: Gets the warning.
    """
    if reached:
        words = ", ".join(f"{name} in {n} of {images} images" for name, n in reached.items())
        raised = " ".join(f"model.{_doubled(name)}" for name in reached)
        progress.warn(f"nuclei were lost to a limit: {words}; raise it, for instance {raised}")


def _doubled(limit: str) -> str:
    """`roi.detections_per_img=1000` with twice the value."""
    key, _, value = limit.rpartition("=")
    return f"{key}={int(value) * 2}" if value.isdecimal() else limit
