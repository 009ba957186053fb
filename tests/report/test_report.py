"""Reports: figures worked out by hand, what is left out, and a page that needs nothing else."""

import csv
import io
import itertools
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from support.reports import BASELINE, PA, make_run, scores

from nucleist.cli.main import main
from nucleist.data.readers.kumar import TEST
from nucleist.plots.label_curves import label_figure
from nucleist.report import organ_tables, write_report
from nucleist.report.charts import families
from nucleist.report.find import find_runs
from nucleist.report.grouping import Benchmark, RunGroup, group_runs
from nucleist.report.organ_tables import p_values, signed_rank, table3, table4
from nucleist.report.published import published, row_of
from nucleist.report.score_tables import table1
from nucleist.report.speed_table import table2
from nucleist.report.table import Column, OverSeeds, Row, Table, to_csv, to_markdown
from nucleist.training.finished import METRICS
from nucleist.types import Progress, UserError

pytestmark = pytest.mark.slow

KUMAR = {"_target_": "nucleist.data.Kumar", "root": "x"}


class Notes(Progress):
    """Keeps the notes."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        self.lines.append(line)


def notes_of(runs: Path) -> list[str]:
    notes = Notes()
    write_report([runs], runs / "out", progress=notes)
    return notes.lines


def by_name(found: Table, row: int) -> dict:
    names = [f"published_{c.name}" if c.published else c.name for c in found.columns]
    return dict(zip(names, found.rows[row].cells, strict=True))


def one_set(folder: Path) -> Benchmark:
    (found,), notes = group_runs(find_runs([folder])[0])
    assert notes == []
    return found


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two models, two seeds: mAP 0.6 and 0.5 of all labels, 0.5 and 0.3 of a quarter."""
    top = tmp_path / "runs"
    make_run(top, "all", 0, BASELINE, test=0.6, curve={50: 0.3, 100: 0.7, 150: 0.6}, nuclei=400)
    make_run(top, "all", 1, BASELINE, test=0.5, curve={50: 0.2, 100: 0.4, 150: 0.5}, nuclei=400)
    make_run(top, "quarter", 0, PA, test=0.5, calibrated=0.44, fraction=0.25, anchor=[46.0, 46.0])
    make_run(top, "quarter", 1, PA, test=0.3, calibrated=0.46, fraction=0.25, anchor=[45.0, 46.0])
    return top


def test_means_and_spreads_over_seeds(runs: Path) -> None:
    tables = {t.key: t for t in table1(one_set(runs))}
    fixed = tables["table1_bbbc038_last_test_pooled"]
    whole, quarter = by_name(fixed, 0), by_name(fixed, 1)
    assert (whole["model"], quarter["model"]) == ("all", "quarter")
    assert (quarter["annotation"], quarter["labelled_nuclei"]) == ("25 %", 100)
    # mAP (0.5 + 0.3) / 2, half of 0.5 - 0.3; AJI is 0.01 more; 0.4 of (0.6 + 0.5) / 2 = 0.55
    assert str(quarter["map_pooled"]) == "0.400 ± 0.100"
    assert str(quarter["aji_pooled"]) == "0.410 ± 0.100"
    assert str(whole["recall_pooled"]) == "0.590 ± 0.050"
    assert quarter["map_of_all_labels"] == pytest.approx(0.4 / 0.55)
    calibrated = by_name(tables["table1_bbbc038_last_test_calibrated_pooled"], 1)
    assert str(calibrated["map_pooled"]) == "0.450 ± 0.010"
    assert calibrated["score_threshold"] == 0.4
    images = by_name(tables["table1_bbbc038_last_test_per_image"], 1)
    assert str(images["map_per_image"]) == "0.401 ± 0.100"


def test_the_best_checkpoint_is_that_of_the_curve(runs: Path) -> None:
    tables = {t.key: t for t in table1(one_set(runs))}
    best = by_name(tables["table1_bbbc038_best_test_pooled"], 0)
    # seed 0 at step 100 with 0.7, seed 1 at step 150 with 0.5
    assert str(best["step"]) == "125 ± 25"
    assert str(best["map_pooled"]) == "0.600 ± 0.100"
    assert str(best["aji_pooled"]) == "0.610 ± 0.100"
    assert "table1_bbbc038_best_test_calibrated_pooled" not in tables


def test_a_tested_best_checkpoint_comes_before_the_curve(tmp_path: Path) -> None:
    tested = {"step": 90, "test": scores(0.5, 0.8), "test_calibrated": scores(0.4, 0.9)}
    make_run(tmp_path, "a", 0, summary={"best_checkpoint": tested}, val="val")
    tables = {t.key: t for t in table1(one_set(tmp_path))}
    fixed = by_name(tables["table1_bbbc038_best_test_pooled"], 0)
    calibrated = by_name(tables["table1_bbbc038_best_test_calibrated_pooled"], 0)
    assert (fixed["step"], str(fixed["map_pooled"])) == (90, "0.800")
    assert (calibrated["step"], str(calibrated["map_pooled"])) == (90, "0.900")


def test_curves_on_other_images_give_no_best_checkpoint(tmp_path: Path) -> None:
    make_run(tmp_path, "a", 0, val="val")
    assert not any("_best_test_pooled" in t.key for t in table1(one_set(tmp_path)))


@pytest.mark.parametrize(
    ("model", "options", "row"),
    [
        (BASELINE, {}, "DH100-baseline"),
        (PA, {}, "DH100-pa"),
        (BASELINE, {"fraction": 0.25}, "DH25-baseline"),
        (PA, {"fraction": 0.25}, "DH25-pa"),
        (PA, {"fraction": 0.25, "warmup": 60}, "DH25-pa-warmup"),
        (BASELINE, {"crop": 0.25}, "DH25crop-baseline"),
        (PA, {"crop": 0.25}, "DH25crop-pa"),
        (PA, {"fraction": 0.05}, None),
        (PA, {"exemplars": 3}, None),
        (PA, {"source": KUMAR}, None),
        ("nucleist.models.other", {}, None),
    ],
)
def test_rows_of_the_paper_are_found_by_model_and_annotation(
    tmp_path: Path, model: str, options: dict, row: str | None
) -> None:
    make_run(tmp_path, "a", 0, model, **options)
    found = one_set(tmp_path)
    assert row_of(found.groups[0], found.source) == row


def test_the_papers_figures_stand_in_columns_of_their_own(runs: Path) -> None:
    fixed = table1(one_set(runs))[0]
    quarter = by_name(fixed, 1)
    assert (quarter["published_row"], quarter["published_annotations"]) == ("DH25-pa", 525)
    papers = [quarter[f"published_{name}"] for name in ("map_ieee", "map_arxiv", "recall_arxiv")]
    assert papers == [0.435, 0.427, 0.791]
    assert {c.name for c in fixed.columns if c.published} == {
        "row", "annotations", "map_ieee", "aji_ieee", "map_arxiv", "ncs_arxiv", "recall_arxiv",
    }  # fmt: skip


def test_published_figures_have_a_source_and_the_known_means() -> None:
    for name in ("table1", "table2", "table3", "table4"):
        assert all("Table" in row["source"] for row in published(name))
    *rows, overall = published("table3")
    assert len(rows) == 14
    means = [round(float(np.mean([float(r[m]) for r in rows])), 4) for m in organ_tables.METHODS]
    assert means == [0.5268, 0.5598, 0.5083]
    assert [overall[m] for m in organ_tables.METHODS] == ["0.5353", "0.5598", "0.5083"]


def test_size_and_speed(tmp_path: Path) -> None:
    speed = {"seconds_per_step": 0.5, "seconds_per_image": 0.25, "peak_memory_mb": 900}
    speed |= {"device": "cpu", "measured_by": "run"}
    make_run(tmp_path, "a", 0, summary={"speed": speed})
    make_run(tmp_path, "a", 1, summary={"speed": {**speed, "seconds_per_step": 0.7}})
    make_run(tmp_path, "b", 0, BASELINE)
    found = table2(one_set(tmp_path))
    own = {row.cells[0]: by_name(found, i) for i, row in enumerate(found.rows)}
    assert own["a"]["parameters_millions"] == 2.4
    assert str(own["a"]["seconds_per_step"]) == "0.600 ± 0.100"
    assert str(own["a"]["peak_memory_mb"]) == "900 ± 0"
    assert own["a"]["device"] == "cpu"
    assert own["b"]["seconds_per_step"] is None
    assert str(own["b"]["seconds_per_step_all"]) == "2.000"  # 300 s for 150 steps


def test_runs_belong_together_by_configuration_not_by_name(tmp_path: Path) -> None:
    for fraction, seed in itertools.product((0.05, 1.0), (0, 1)):
        process = round(100 * fraction)
        make_run(tmp_path, "sweep", seed, PA, fraction=fraction, process=process)
    make_run(tmp_path, "other", 0, PA, crop=0.25)
    found = one_set(tmp_path)
    assert [(m.title, m.family, len(m.runs)) for m in found.groups] == [
        ("sweep, 100 %", "PA Mask R-CNN", 2),
        ("other", "PA Mask R-CNN, crop_fraction=0.25", 1),
        ("sweep, 5 %", "PA Mask R-CNN", 2),
    ]


def test_a_measured_anchor_does_not_part_seeds_but_a_chosen_one_does(tmp_path: Path) -> None:
    for seed, side in ((0, 30.0), (1, 40.0)):
        make_run(tmp_path / "median", "a", seed, anchor=[side, side])
        command = f"nucleist train model.center.anchor_size=[{side},{side}]"
        make_run(tmp_path / "chosen", "a", seed, anchor=[side, side], command=command)
    assert len(one_set(tmp_path / "median").groups) == 1
    assert len(one_set(tmp_path / "chosen").groups) == 2


def test_of_a_repeated_seed_the_newest_counts(tmp_path: Path) -> None:
    make_run(tmp_path, "a", 0, process=1, test=0.1)
    newer = make_run(tmp_path, "a", 0, process=2, test=0.2)
    (found,), notes = group_runs(find_runs([tmp_path])[0])
    assert [run.folder for run in found.groups[0].runs] == [newer]
    assert len(notes) == 1 and "repeats it (seed 0)" in notes[0]


def test_what_is_not_finished_or_damaged_is_told_and_left_out(tmp_path: Path) -> None:
    whole = make_run(tmp_path, "a", 0, curve={150: 0.5})
    (make_run(tmp_path, "begun", 0) / "summary.json").unlink()
    (make_run(tmp_path, "cut", 0) / "summary.json").write_text('{"experiment"')
    (make_run(tmp_path, "list", 0) / "summary.json").write_text("[]")
    (make_run(tmp_path, "yaml", 0) / "config.yaml").write_text("a: [")
    bare = make_run(tmp_path, "bare", 0)
    for name in ("thresholds.csv", "metrics.csv", "per_image.csv", "environment.json"):
        (bare / name).unlink()
    (whole / "figures" / "overlays.png").write_bytes(b"no picture")
    sweep = {"runs": [{"status": "done"}, {"status": "failed"}]}
    (tmp_path / "sweep.json").write_text(json.dumps(sweep))
    notes = notes_of(tmp_path)
    for words in (
        "sweep.json: 1 of 2 runs", "begun/20260101-000000-abc-1: not finished", "not JSON",
        "a JSON list, not an object", "not readable YAML", "no thresholds.csv", "no metrics.csv",
        "no per_image.csv", "overlays.png: not a readable picture",
    ):  # fmt: skip
        assert sum(words in note for note in notes) == 1, words
    assert len(notes) == 9 and all("\n" not in note for note in notes)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "a JSON list, not an object" in page


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda top: top / "nowhere", "no such folder"),
        (lambda top: top, "no run folder in it"),
        (lambda top: (make_run(top, "a", 0) / "summary.json").unlink() or top, "no finished run"),
        (lambda top: make_run(top, "a", 0) / "config.yaml", "no such folder"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path: Path, make, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        write_report([make(tmp_path)], tmp_path / "out")
    assert "\n" not in str(caught.value)


def kumar(folder: Path, images: dict[str, float], **options) -> RunGroup:
    for seed in (0, 1):
        shifted = {name: value + 0.02 * seed for name, value in images.items()}
        make_run(folder, "k", seed, images=shifted, **{"source": KUMAR, **options})
    return one_set(folder).groups[0]


def test_table_3_beside_the_published_rows(tmp_path: Path) -> None:
    names = {"TCGA-E2-A1B5-01Z": 0.4, "TCGA-A7-A13F-01Z": 0.5, "TCGA-NH-A8F7-01A": 0.3}
    model = kumar(tmp_path, names)
    rows, tests = table3(one_set(tmp_path))
    found = [by_name(rows, i) for i in range(len(rows.rows))]
    assert [(r["organ"], r["image"], r["published_number"]) for r in found[:3]] == [
        ("breast", "TCGA-A7-A13F-01Z", 1),
        ("breast", "TCGA-E2-A1B5-01Z", 2),
        ("colon", "TCGA-NH-A8F7-01A", 2),
    ]
    # seeds 0.5 and 0.52; the calibrated threshold has 0.1 more
    assert str(found[0]["aji_fixed"]) == "0.510 ± 0.010"
    assert str(found[0]["aji_calibrated"]) == "0.610 ± 0.010"
    assert [found[1][f"published_{m}"] for m in organ_tables.METHODS] == [0.5784, 0.5884, 0.5796]
    mean, pooled, fourteen, overall = found[3:]
    assert str(mean["aji_fixed"]) == str(OverSeeds(model.scores("test", "aji", "per_image")))
    assert str(pooled["aji_fixed"]) == str(OverSeeds(model.scores("test", "aji")))
    assert mean["published_ours"] == pytest.approx((0.5027 + 0.5784 + 0.5008) / 3)
    assert fourteen["published_ours"] == pytest.approx(0.5268, abs=5e-5)
    assert overall["published_ours"] == 0.5353
    first = by_name(tests, 0)
    assert (first["threshold"], first["against"], first["images"]) == ("fixed", "PA Mask R-CNN", 3)
    # means of the seeds 0.51, 0.41, 0.31 against 0.5027, 0.5784, 0.5008: ranks +1, -2, -3;
    # a sum of positive ranks of at most 1 has 2 of 8 outcomes, two-sided 4 of 8
    assert first["p"] == pytest.approx(0.5)


def brute_force(own: list[float], theirs: list[float]) -> float:
    """Wilcoxon's two-sided p from all 2 ** n signs, for differences that are all different."""
    difference = np.subtract(own, theirs)
    ranks = np.abs(difference).argsort().argsort() + 1
    seen = ranks[difference > 0].sum()
    sums = [ranks[list(s)].sum() for s in itertools.product([True, False], repeat=len(own))]
    low, high = np.mean([s <= seen for s in sums]), np.mean([s >= seen for s in sums])
    return min(1.0, 2 * min(low, high))


def test_wilcoxon_against_all_signs_and_all_pairings() -> None:
    rng = np.random.default_rng(0)
    slots = [(organ, i) for organ in list(TEST)[:3] for i in (1, 2)]
    own = {f"image {i}": rng.uniform() for i in range(5)}
    places = dict(zip(own, slots, strict=False))  # of the third organ one image only
    theirs = {slot: rng.uniform() for slot in slots}
    p, low, high = p_values(own, places, theirs)
    values = list(own.values())
    assert p == pytest.approx(brute_force(values, [theirs[s] for s in slots[:5]]))
    every = [
        brute_force(values, [theirs[slots[i]] for i in (*a, *b, c)])
        for a in ((0, 1), (1, 0))
        for b in ((2, 3), (3, 2))
        for c in (4, 5)
    ]
    assert (low, high) == pytest.approx((min(every), max(every)))
    assert signed_rank([0.5, 0.5], [0.5, 0.5]) == 1.0


def test_table_4_beside_the_published_rows(tmp_path: Path) -> None:
    source = {"_target_": "nucleist.data.TNBC", "root": "x", "kumar_root": "y"}
    breast = {"kumar_TCGA-E2-A1B5-01Z": 0.4, "kumar_TCGA-A7-A13F-01Z": 0.5}
    kumar(tmp_path / "breast", breast, source=source, fraction=0.25)
    found = table4(one_set(tmp_path / "breast"))
    assert found is not None and len(found.rows) == 5
    assert by_name(found, 1)["published_aji"] == 0.5853
    assert str(by_name(found, 4)["aji_fixed"]) == "0.510 ± 0.000"
    kumar(tmp_path / "slides", {"01_1": 0.4, "02_1": 0.5}, source=source)
    assert table4(one_set(tmp_path / "slides")) is None


def test_points_against_labels(runs: Path) -> None:
    data = one_set(runs)
    points = families(data, "test", lambda model: model.fraction)
    assert points == {
        "Mask R-CNN": [(1.0, (0.6, 0.5))],
        "PA Mask R-CNN": [(0.25, (0.5, 0.3))],
    }
    left, right = label_figure(
        {"fixed": points, "calibrated": points}, "annotated fraction", shares=True
    ).axes
    assert left.get_xscale() == right.get_xscale() == "log"
    assert left.get_ylim() == right.get_ylim()
    assert [t.get_text() for t in left.get_xticklabels()] == ["25 %", "100 %"]
    drawn = {tuple(line.get_xdata()) for line in left.lines}
    assert drawn == {(1.0,), (0.25,), (1.0, 1.0), (0.25, 0.25)}  # means, then runs


def test_markdown_and_csv_of_a_table() -> None:
    columns = (
        Column("model", "model"),
        Column("seeds", "seeds", folds=True),
        Column("map", "mAP"),
        Column("map", "mAP", published=True, digits=2),
    )
    rows = (Row(("a|b", 2, OverSeeds((0.5, 0.6)), 0.464)), Row(("c", 2, None, None)))
    found = Table("t", "Title", columns, rows, ("Note.",), commands=("do it",))
    assert to_markdown(found) == (
        "### Title\n\n| model | mAP | *mAP (paper)* |\n|---|---|---|\n"
        "| a\\|b | 0.550 ± 0.050 | 0.46 |\n| c |  |  |\n\n"
        "In every row: seeds 2.\n\nNote.\n\n```sh\ndo it\n```\n"
    )
    first, second = csv.DictReader(io.StringIO(to_csv(found)))
    assert first == {
        "model": "a|b", "seeds": "2", "map": "0.55", "map_low": "0.5", "map_high": "0.6",
        "map_seeds": "2", "published_map": "0.464",
    }  # fmt: skip
    assert set(second.values()) == {"c", "2", ""}
    with pytest.raises(ValueError, match="4 cells"):
        Table("t", "Title", columns, (Row(("a",)),))


class Page(HTMLParser):
    """Ids, addresses and text of a page; fails where tags do not match."""

    VOID = ("meta", "img", "br", "link", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.rows: dict[str, list[list[str]]] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        if given.get("id"):
            self.ids.append(str(given["id"]))
        self.addresses += [str(given[name]) for name in ("href", "src") if name in given]
        if tag == "tr":
            self.rows.setdefault(self.ids[-1], []).append([])
        if tag in ("td", "th"):
            self.rows[self.ids[-1]][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open or "th" in self.open:
            self.rows[self.ids[-1]][-1][-1] += data


def test_the_page_is_whole_and_needs_nothing_else(runs: Path, tmp_path: Path) -> None:
    run = make_run(runs, "markup", 0, fraction=0.05)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["weights"] = "https://example.org/<script>alert(1)</script>"
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    folder = run / "figures" / "test"
    folder.mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "b_overlay.png")
    out = tmp_path / "out"
    assert write_report(runs, out, title="A <b> & more") == out / "report.html"
    text = (out / "report.html").read_text()
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    for address in page.addresses:
        assert address.startswith(("data:", "#")), address
        assert address[0] != "#" or address[1:] in page.ids
    assert "default-src 'none'" in text
    assert page.tags.count("script") == 1 and "&lt;script&gt;alert(1)" in text
    assert page.tags.count("h1") == 1 and "A &lt;b&gt; &amp; more" in text
    # the beginning; five of Fig. 4, thresholds, two against labels; overlays of three models, one
    # best image
    assert page.tags.count("img") == 13
    # a configuration a run, commands for what is missing, the next command at the beginning
    assert page.tags.count("pre") == 5 + 1 + 1
    head, *rows = page.rows["table1_bbbc038_last_test_pooled"]
    assert head[:3] == ["model", "labels", "labelled nuclei"] and head[9:11] == [
        "mAP / all labels", "rowpaper",
    ]  # fmt: skip
    assert [row[0] for row in rows] == ["all", "quarter", "markup"]
    assert rows[1][4] == "0.400 ± 0.100"


def test_files_beside_the_page(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_report([runs / "all", runs / "quarter", runs], out, names={"quarter": "25 %, PA"})
    markdown = (out / "report.md").read_text()
    assert "| 25 %, PA | 25 % | 100 |" in markdown
    pictures = [line.split("](")[1][:-1] for line in markdown.splitlines() if line[:2] == "!["]
    assert len(pictures) == 11 and all((out / name).is_file() for name in pictures)
    rows = list(csv.DictReader((out / "runs.csv").read_text().splitlines()))
    assert len(rows) == 4 * 3  # each run once, at three thresholds
    own = [r for r in rows if r["experiment"] == "quarter" and r["threshold_kind"] == "test"]
    assert [float(r["map_pooled"]) for r in own] == [0.5, 0.3]
    own_table = out / "tables" / "table1_bbbc038_last_test_pooled.csv"
    table = list(csv.DictReader(own_table.read_text().splitlines()))
    assert [table[1][k] for k in ("map_pooled", "map_pooled_low", "map_pooled_high")] == [
        "0.4", "0.3", "0.5",
    ]  # fmt: skip
    assert table[1]["published_map_ieee"] == "0.435"
    assert set(METRICS) <= {name.removesuffix("_pooled") for name in table[0]}


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "runs", "all", 0, curve={150: 0.5})
    (run / "thresholds.csv").unlink()
    runs, out = str(tmp_path / "runs"), str(tmp_path / "out")
    assert main(["report", runs, "-o", out, "name.all=Every label"]) == 0
    told = capsys.readouterr()
    assert told.out.strip() == f"{out}/report.html"
    assert told.err.count("\n") == 1 and "no thresholds.csv" in told.err
    assert "Every label" in (tmp_path / "out" / "report.md").read_text()
    assert main(["report", runs, "-o", out]) == 2
    assert "overwrite=true" in capsys.readouterr().err
    assert main(["report", runs, "-o", out, "overwrite=true"]) == 0
    capsys.readouterr()
    (tmp_path / "file").write_text("")
    assert main(["report", runs, "-o", str(tmp_path / "x"), "names=all"]) == 2
    assert main(["report", str(tmp_path / "none"), "-o", str(tmp_path / "x")]) == 2
    assert main(["report", runs, "-o", str(tmp_path / "file")]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert [line.startswith("nucleist: ") for line in lines] == [True] * 3
    assert "name.EXPERIMENT" in lines[0] or "'name" in lines[0]
