"""Draw which nuclei each policy keeps.

    NUCLEIST_DATA=FOLDER .venv/bin/python experiments/protocol/policies.py docs/policies.png

A quarter of the nuclei of two images of 520 x 696 px of BBBC038 (CC0), a row each.
"""

import sys

from nucleist.data.catalog import open_annotated
from nucleist.data.policies import POLICIES
from nucleist.plots.overlay import LabelledImage, contact_sheet

WORDS = ["data.source.group=520x696", "data.annotation_fraction=0.25"]
IMAGES = (24, 48)
"""Which of the training images: one with 70 and one with 125 nuclei."""


def main(path: str) -> None:
    kept = {p: open_annotated("bbbc038", [*WORDS, f"data.policy={p}"]) for p in POLICIES}
    source = kept["random"][0]
    items = []
    for number in IMAGES:
        record = source.read(source.splits()["train"][number])
        for policy, (_, annotation) in kept.items():
            seen = annotation.visible(record)
            items.append(LabelledImage(record.image, seen, record.labels, title=policy))
    contact_sheet(path, items, columns=len(kept), side=300)


if __name__ == "__main__":
    main(sys.argv[1])
