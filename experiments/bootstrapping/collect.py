"""Write results.md, cells.csv, rounds.csv and the plots from the files of results/.

    .venv/bin/python -m experiments.bootstrapping.collect

It reads results/ alone: no images, no nets.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.bootstrapping.cells import Cell, all_cells
from experiments.bootstrapping.draw import save_curves, save_rounds
from experiments.bootstrapping.prices import DRAWING
from experiments.bootstrapping.run import HERE, UNFINISHED
from nucleist.files import replacing, write_text

GOAL_RECALL, GOAL_SHARE = 0.95, 0.4
OWN = {"nucleist": "anchors", "cellpose": "stroke"}
"""How the actions of each rules are counted in the tables."""

Result = dict[str, Any]
Row = dict[str, Any]


def read_results(folder: Path) -> list[Result]:
    """Finished cells and unfinished ones, in the order of the plan."""
    found = {}
    for path in [*folder.glob(f"{UNFINISHED}/*.json"), *folder.glob("*.json")]:
        content = json.loads(path.read_text())
        content["name"] = Cell(**content["cell"])
        found[content["name"]] = content
    return [found[cell] for cell in all_cells() if cell in found]


def rows_of_rounds(result: Result) -> list[Row]:
    """One row a round: quality, and the share of all by hand if it were finished from here."""
    rows = []
    for number, state in enumerate(result["rounds"], 1):
        row = {**result["cell"], "round": number, "threshold": round(state["threshold"], 3)}
        row["labelled"] = state["labelled"]
        row |= {f"annotation_{key}": value for key, value in state["annotation"].items()}
        row |= {f"unseen_{key}": value for key, value in state["unseen"].items()}
        for rules, left in state["finish"].items():
            for count in DRAWING:
                spent = state["spent"].get(count, 0)
                whole = result["by_hand"][count]
                for what, key in (("end", "spent"), ("95", "to_95")):
                    share = (spent + left[key].get(count, 0)) / whole
                    row[f"{rules}|{count}|{what}"] = round(share, 4)
        rows.append(row)
    return rows


def row_of_cell(result: Result) -> Row:
    """One row a finished cell."""
    count, whole = OWN[result["cell"]["rules"]], result["by_hand"]
    reached = [one for one in result["curve"] if one["recall"] >= GOAL_RECALL]
    row = {**result["cell"], "images": result["images"], "nuclei": result["nuclei"]}
    row |= {"count": count, "by_hand": whole[count], "actions": result["end"][count]}
    row["actions_95"] = reached[0].get(count, 0) if reached else ""
    for name in DRAWING:
        row[f"share_{name}"] = round(result["end"][name] / whole[name], 4)
        row[f"share_95_{name}"] = round(reached[0].get(name, 0) / whole[name], 4) if reached else ""
    row |= {key: result["end"][key] for key in ("recall", "precision", "mean_iou")}
    return {**row, **result["end"]["done"], "seconds": result["seconds"]}


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with replacing(path) as part, part.open("w", newline="") as file:
        table = csv.DictWriter(file, names, restval=0)
        table.writeheader()
        table.writerows(rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def percent(share: float | str) -> str:
    return "never" if share == "" else f"{100 * float(share):.1f} %"


def title(cell: Mapping[str, Any]) -> list[str]:
    first = "none; shipped weights" if not cell["outlines"] else str(cell["outlines"])
    return [cell["group"], first, cell["policy"], cell["rules"], str(cell["seed"])]


TITLE = ["images", "first outlines", "policy", "rules", "seed"]


def finished_table(results: Sequence[Result]) -> str:
    rows = []
    for result in results:
        if "end" in result:
            row = row_of_cell(result)
            own = row["count"]
            quality = [f"{row[key]:.3f}" for key in ("recall", "precision", "mean_iou")]
            shares = [percent(row[f"share_95_{own}"]), percent(row[f"share_{own}"])]
            each = f"{row['actions'] / row['nuclei']:.2f} of {row['by_hand'] / row['nuclei']:.2f}"
            reached = row[f"share_95_{own}"] != "" and row[f"share_95_{own}"] <= GOAL_SHARE
            good = "yes" if reached else "no"
            rows.append([*title(result["cell"]), own, *shares, each, *quality, good])
    head = ["counted in", "actions to 95 %", "to the end", "actions a nucleus, of by hand"]
    return table([*TITLE, *head, "recall", "precision", "mean IoU", "goal"], rows)


def rounds_table(results: Sequence[Result]) -> str:
    rows = []
    for result in results:
        for row in rows_of_rounds(result):
            unseen = [f"{row[f'unseen_{key}']:.3f}" for key in ("recall", "precision", "mean_iou")]
            shares = [percent(row[f"{r}|{c}|{w}"]) for r, c in OWN.items() for w in ("95", "end")]
            rows.append([*title(row), str(row["round"]), *unseen, *shares])
    head = ["round", "recall", "precision", "mean IoU"]
    head += [f"{rules}: {words}" for rules in OWN for words in ("to 95 %", "to the end")]
    return table([*TITLE, *head], rows)


def counts_table(results: Sequence[Result]) -> str:
    """Other ways to count and other standards, of the last round of each cell."""
    rows = []
    ways = [("nucleist", count) for count in ("anchors", "rough", "ellipse", "tab")]
    ways += [("nucleist lenient", "anchors"), ("nucleist strict", "anchors")]
    ways += [("cellpose", count) for count in ("stroke 0.25", "stroke", "stroke 1")]
    for result in results:
        for row in rows_of_rounds(result)[-1:]:
            shares = [percent(row[f"{rules}|{count}|end"]) for rules, count in ways]
            rows.append([*title(row), str(row["round"]), *shares])
    return table([*TITLE, "round", *(f"{rules}: {count}" for rules, count in ways)], rows)


def page(results: Sequence[Result]) -> str:
    done = sum("end" in result for result in results)
    words = f"{done} of {len(all_cells())} cells are finished"
    words += f", of {len(results) - done} more some rounds. " if len(results) > done else ". "
    return "\n".join(
        [
            "# Results\n",
            f"{words}Written by `collect.py`; [README.md](README.md) says what is what. Shares "
            "are of the actions of all by hand, counted in the same way.\n",
            "## Cells to their end\n",
            "What the annotator did. Goal: 95 % of the nuclei for at most 40 % of the actions.\n",
            finished_table(results),
            "## After each round\n",
            "Recall, precision and mean IoU if all that is shown were accepted unseen; then the "
            "share of all by hand, first outlines included, if the annotator finished from "
            "here by either rules.\n",
            rounds_table(results),
            "## Counted in other ways\n",
            "The share to the end, finished from the last round that is there.\n",
            counts_table(results),
        ]
    )


def main() -> None:
    results = read_results(HERE / "results")
    write_text(HERE / "results.md", page(results))
    write_csv(HERE / "cells.csv", [row_of_cell(one) for one in results if "end" in one])
    write_csv(HERE / "rounds.csv", [row for one in results for row in rows_of_rounds(one)])
    save_curves(HERE / "recall.png", results, OWN, (GOAL_SHARE, GOAL_RECALL))
    save_rounds(HERE / "rounds.png", results, rows_of_rounds, OWN, GOAL_SHARE)
    print(f"{len(results)} cells")


if __name__ == "__main__":
    main()
