"""Draw which nuclei each policy keeps: docs/policies.png.

    NUCLEIST_DATA=FOLDER .venv/bin/python experiments/protocol/policies.py docs/policies.png

A quarter of the nuclei of three images of 520 x 696 px of BBBC038, a row each.
"""

import sys

from nucleist.data.catalog import open_annotated
from nucleist.data.policies import POLICIES
from nucleist.plots import LabelledImage, contact_sheet

IMAGES, SHARE = 3, 0.25


def main(path: str) -> None:
    words = ["data.source.group=520x696", f"data.annotation_fraction={SHARE}"]
    kept = {p: open_annotated("bbbc038", [*words, f"data.policy={p}"]) for p in POLICIES}
    source = kept["random"][0]
    ids = source.splits()["train"]
    rows = []
    for image_id in ids[:: len(ids) // IMAGES][:IMAGES]:
        record = source.read(image_id)
        for policy, (_, annotation) in kept.items():
            seen = annotation.visible(record)
            count = len(set(seen[seen > 0].tolist()))
            rows.append(
                LabelledImage(record.image, seen, record.labels, title=f"{policy}: {count}")
            )
    contact_sheet(path, rows)


if __name__ == "__main__":
    main(sys.argv[1])
