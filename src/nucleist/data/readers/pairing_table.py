"""Which image of a folder goes with which labels, as a table for people."""

from collections.abc import Mapping, Sequence

from nucleist.data.formats.archive import FileTree
from nucleist.data.readers.pairing import Pair


def table_of_pairs(pairs: Sequence[Pair], orphans: Sequence[str]) -> str:
    """Three columns, then how much has no partner.

    Args:
        pairs: Every image with what holds its labels.
        orphans: Label files without an image.
    """
    rows = [("id", "image", "labels")]
    for one in pairs:
        masks = f" ({len(one.nuclei)} masks)" if one.nuclei else ""
        rows.append((one.id, one.image, f"{one.labels}{masks}" if one.labels else "- none -"))
    rows += [("", "- none -", name) for name in orphans]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    alone = sum(one.labels is None for one in pairs)
    lines.append(
        f"{len(pairs) - alone} pairs, {alone} images without labels, "
        f"{len(orphans)} labels without an image"
    )
    return "\n".join(lines)


def lines_of_problems(
    tree: FileTree,
    pairs: Sequence[Pair],
    orphans: Sequence[str],
    empty: Sequence[str],
    unused: Mapping[str, Sequence[str]],
) -> list[str]:
    """What has no partner and which files are not used, one line for each image or reason.

    Args:
        tree: The files.
        pairs: Images with what holds their labels.
        orphans: Labels without an image.
        empty: Ids of images that are said to be complete and have no labels.
        unused: Further files by the reason why they are not used.
    """
    alone = [
        f"{tree.describe(one.image)}: image without labels" for one in pairs if one.labels is None
    ]
    alone += [
        f"{tree.describe(name)}: labels without an image; add the image or remove them"
        for name in orphans
    ]
    alone += [
        f"{tree.describe()}: {image_id} is said to be complete, but has no labels; if it "
        "shows no nucleus, add a label image of zeros"
        for image_id in empty
    ]
    for reason, names in unused.items():
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        alone.append(f"{tree.describe()}: {len(names)} files {reason}: {shown}")
    return alone
