"""Which image of a folder goes with which labels, as a table for people."""

from collections.abc import Sequence

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
