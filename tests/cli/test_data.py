"""`nucleist data` through the real entry point, on tiny data sets in the published layouts."""

import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image
from support import layouts
from support.runs import data_root

from nucleist.cli.main import main
from nucleist.data import BBBC038, DH100, TNBC, Folder, Kumar, Synthetic
from nucleist.data.catalog import data_set_names
from nucleist.data.formats.label_maps import write_label_map

pytestmark = pytest.mark.slow

SYNTHETIC = [f"data.source.{key}" for key in ("n_train=3", "n_test=2", "size=[32,32]")]


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run `nucleist data ...` in an empty folder; gives status, standard output and error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NUCLEIST_DATA", raising=False)

    def run(*arguments):
        status = main(["data", *map(str, arguments)])
        told = capsys.readouterr()
        return status, told.out, told.err

    return run


@pytest.fixture
def root(tmp_path):
    return data_root(tmp_path / "sets")


def refused(told):
    """The one line of an error."""
    status, _, error = told
    assert status == 2 and error.startswith("nucleist: ") and error.count("\n") == 1, told
    return error


def rows(table):
    """The numbers of the table: data set -> split -> images, nuclei."""
    found, name = {}, ""
    for line in table.splitlines()[1:]:
        if match := re.match(r"(\S*) +(\w+) +(\d+) +(\d+|-)", line):
            name = match[1] or name
            found.setdefault(name, {})[match[2]] = (match[3], match[4])
    return found


def test_list_counts_images_and_nuclei_of_what_is_there(run, root):
    # By the layouts: 5 images with 3 nuclei, 80 % train; 1 + 2; 1 an official split, with 2
    # nuclei; 4 slides x 2 and the one breast image of Kumar for testing.
    status, table, _ = run("list", f"data_root={root}", "bbbc038", "kumar", "dh25", "tnbc")
    assert status == 0
    assert rows(table) == {
        "bbbc038": {"train": ("4", "12"), "test": ("1", "3")},
        "kumar": {"train": ("1", "3"), "test": ("2", "6")},
        "dh25": {"train": ("1", "2"), "val": ("1", "2"), "test": ("1", "2")},
        "tnbc": {"train": ("9", "27"), "test": ("1", "3")},
    }
    assert str(root / "bbbc038") in table and str(root / "dh100") in table


def test_list_names_every_data_set_and_says_what_is_missing(run, tmp_path):
    status, table, error = run("list", "quick=true")
    assert status == 0 and "Traceback" not in table + error
    assert {line.split()[0] for line in table.splitlines()[1:] if line[0] != " "} == set(
        data_set_names()
    )
    assert "base" not in data_set_names() and {"bbbc360", "folder", "synthetic"} <= set(
        data_set_names()
    )
    for name in ("bbbc038", "kumar", "tnbc"):
        line = next(line for line in table.splitlines() if line.startswith(name))
        assert f"data/{name}" in line and f"nucleist data download {name}" in line
    assert rows(table) == {"synthetic": {"train": ("60", "-"), "test": ("30", "-")}}
    assert list(tmp_path.iterdir()) == []


def test_list_goes_on_after_a_damaged_image(run, root):
    image = root / "bbbc038" / "a0" / "images" / "a0.png"
    image.write_bytes(image.read_bytes()[:60])
    status, table, _ = run("list", "bbbc038", "kumar", f"data_root={root}")
    assert status == 0 and rows(table)["kumar"]["train"] == ("1", "3")
    assert re.search(rf"- +- +- +{re.escape(str(image))}: damaged", table)


def coloured(path):
    """Pixels of a sheet of gray images that are not gray, and the size of the sheet."""
    page = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return int((np.ptp(page, axis=2) > 30).sum()), page.shape[:2]


def test_show_colours_the_kept_labels(run, root, tmp_path):
    place = ["show", "bbbc038", f"data_root={root}", "-o"]
    for name, extra in {
        "all": [],
        "one": ["data.exemplars=1"],
        "crop": ["data.crop_fraction=0.25"],
        "few": ["images=2"],
        "test": ["split=test", "data.exemplars=1"],
    }.items():
        status, output, _ = run(*place, tmp_path / f"{name}.png", *extra)
        assert (status, output) == (0, f"{tmp_path / name}.png\n")
    everything, size = coloured(tmp_path / "all.png")
    one, same_size = coloured(tmp_path / "one.png")
    assert 0 < one < everything and same_size == size
    assert coloured(tmp_path / "crop.png")[0] < everything
    assert coloured(tmp_path / "few.png")[1][1] < size[1]
    # Test images always show all labels: a quarter of the four training images' pixels.
    assert coloured(tmp_path / "test.png")[0] == pytest.approx(everything / 4, rel=0.05)
    assert "overwrite it" in refused(run(*place, tmp_path / "all.png"))
    assert run(*place, tmp_path / "all.png", "overwrite=true")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "bbbc038"], "data show needs -o"),
        (["show", "bbbc038", "-o", "a.jpg"], "a.jpg: the sheet is a PNG"),
        (["show", "bbbc038", "-o", "a.png", "images=0"], "images=0: write a whole number from 1"),
        (["show", "bbbc038", "-o", "a.png", "images=x"], "images=x: write a whole number"),
        (["show", "bbbc038", "-o", "a.png", "split=tain"], "'tain'; there is train, test"),
        (["show", "bbbc038", "kumar", "-o", "a.png"], "names 2 things; give one data set"),
        (["show", "bbbc038", "-o", "a.png", "data.annotation_fraction=0"], "fraction=0 is not"),
        (["show", "bbbc038", "-o", "a.png", "data.annotation_fraction=1.1"], "fraction=1.1 is"),
        (["show", "bbbc038", "-o", "a.png", "data.exemplar=1"], "'data.exemplars'"),
        (["show", "bbbc038", "-o", "a.png", "data.manifest=m.json"], "m.json"),
        (["list", "kumra"], "'kumra'; did you mean 'kumar'?"),
        (["list", "base"], "no data set 'base'"),
        (["check"], "names 0 things"),
        (["check", "zzz"], "zzz: neither a folder nor a data set; there is bbbc038, "),
        (["check", "kumar", "data.source.root=nowhere"], "nowhere: no such folder"),
        (["check", "bbbc038", "--fast"], "--fast"),
        (["prepare", "bbbc038"], "needs -o"),
        (["download", "synthetic"], "nothing to download"),
        (["download", "folder"], "stands for your own images"),
        (["download", "kumar"], "monuseg.grand-challenge.org"),
        (["download", "dh25crop"], "ask the authors"),
        (["download", "bbbc360", "checksum=crc:1"], "unknown kind"),
        (["frob"], "use one of list, show, check, prepare, download"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_one_line_and_status_2(run, root, tmp_path, arguments, words):
    assert words in refused(run(*arguments, *([f"data_root={root}"] if len(arguments) > 1 else [])))
    assert [path.name for path in tmp_path.iterdir()] == ["sets"]


def test_check_tells_oddities_and_succeeds(run, root):
    status, report, error = run("check", "bbbc038", f"data_root={root}")
    assert (status, error) == (0, "")
    assert sum("1 of 3 nuclei have one pixel" in line for line in report.splitlines()) == 5
    assert report.endswith(
        "train: 4 images, 12 nuclei; complete: 4, in part: 0, not: 0\n"
        "test: 1 images, 3 nuclei; complete: 1, in part: 0, not: 0\n"
        "errors: 0, warnings: 5\n"
    )
    # The tiny Kumar test image has the pixels of the images of TNBC's first slide.
    status, report, _ = run("check", "tnbc", f"data_root={root}")
    alike = [line for line in report.splitlines() if "same pixels" in line]
    assert status == 0 and len(alike) == 2
    for line, other in zip(alike, ("train/01_1", "train/01_2"), strict=True):
        assert line.startswith("warning: test/kumar_TCGA-E2-A1B5") and other in line
    assert "train/03_2: binary ground truth" in report


def test_check_tells_and_draws_what_a_split_cuts(run, tmp_path):
    for name, image in {"train/a": layouts.rgb(0), "test/b": layouts.rgb(0)}.items():
        layouts.png(tmp_path / "mine" / f"{name}.png", image)
        layouts.png(tmp_path / "mine" / f"{name}_labels.png", layouts.squares().astype(np.uint16))
    status, report, _ = run("check", "./mine", "-o", "pairs.png")
    with Image.open(tmp_path / "pairs.png") as picture:
        assert status == 0 and picture.width > 100
    assert "warning: test/b: has the same pixels as train/a; keep both in one split\n" in report
    assert "test: 1 of 1 images adjoin or repeat a training image, 3 of 3 nuclei (100%)" in report
    assert report.endswith("warnings: 3\npairs.png\n")
    assert "is there already" in refused(run("check", "./mine", "-o", "pairs.png"))
    assert run("check", "./mine", "-o", "pairs.png", "overwrite=true")[0] == 0
    report = run("check", "./mine", "data.folds=2", "data.source.groups=found")
    assert "1 groups are too few" in refused(report)


def test_check_names_every_file_that_cannot_be_used(run, root):
    cut = root / "bbbc038" / "a0" / "images" / "a0.png"
    cut.write_bytes(cut.read_bytes()[:60])
    huge = root / "bbbc038" / "a1" / "images" / "a1.png"
    huge.write_bytes(layouts.png_header(100_000, 100_000))
    small = layouts.png(root / "bbbc038" / "a2" / "masks" / "m1.png", np.ones((9, 24), np.uint8))
    for mask in (root / "bbbc038" / "a3" / "masks").iterdir():
        layouts.png(mask, np.zeros((24, 24), np.uint8))
    told = run("check", "bbbc038", f"data_root={root}")
    assert "3 of 5 images cannot be used" in refused(told)
    report = told[1].splitlines()
    errors = [line for line in report if line.startswith("error: ")]
    assert len(errors) == 3
    for path, words in ((cut, "damaged"), (huge, "over the limit"), (small, "9 x 24")):
        assert any(str(path) in line and words in line for line in errors)
    assert any("a3: mask m1.png is empty" in line for line in report)
    assert any("a3: no nuclei" in line for line in report)


def test_check_shows_the_pairing_of_a_folder(run, tmp_path):
    mine = tmp_path / "mine"
    for name in ("a", "b", "c"):
        layouts.png(mine / f"{name}.png", layouts.rgb(ord(name)))
    layouts.png(mine / "a_labels.png", layouts.squares().astype(np.uint16))
    layouts.png(mine / "b_mask.png", (layouts.squares() > 0).astype(np.uint8) * 255)
    layouts.png(mine / "z_labels.png", layouts.squares().astype(np.uint16))
    told = run("check", "folder", f"data.source.root={mine}")
    assert f"{mine}/b_mask.png: 3 separate regions share the one label 255" in refused(told)
    assert re.search(r"^a +a\.png +a_labels\.png$", told[1], re.MULTILINE)
    assert re.search(r"^warning: .*c\.png: image without labels", told[1], re.MULTILINE)
    assert re.search(r"^warning: .*z_labels\.png: labels without an image", told[1], re.MULTILINE)


def test_check_tells_what_is_complete(run, tmp_path):
    mine = tmp_path / "mine"
    for name in ("a", "b", "c", "test/d"):
        layouts.png(mine / f"{name}.png", layouts.rgb(ord(name[-1])))
        layouts.png(mine / f"{name}_labels.png", layouts.squares().astype(np.uint16))
    layouts.png(mine / "e.png", layouts.rgb(9))
    (mine / "complete.csv").write_text("image,x,y,width,height\na.png\nb.png,0,0,9,9\n")
    report = run("check", "./mine")[1].splitlines()
    *splits, said, total = report[-5:]
    assert splits == [
        "train: 3 images, 9 nuclei; complete: 1, in part: 1, not: 1",
        "test: 1 images, 3 nuclei; complete: 0, in part: 0, not: 1",
        "unlabelled: 1 images, 0 nuclei",
    ]
    assert said.startswith("not complete: ") and "data.source.complete=true" in said
    assert total == "errors: 0, warnings: 5"  # one-pixel nuclei, and the image without labels
    report = run("check", "./mine", "data.source.complete=true")[1]  # a has 0.29: it validates
    assert "train: 2 images, 6 nuclei; complete: 2, in part: 0, not: 0\nval: 1 images" in report
    assert "not complete:" not in report
    report = run("check", "./mine", "data.source.complete=[c,d.png]")[1]
    assert "train: 3 images, 9 nuclei; complete: 2, in part: 1, not: 0" in report
    assert "test: 1 images, 3 nuclei; complete: 1, in part: 0, not: 0" in report
    assert "no image 'x'; " in refused(run("check", "./mine", "data.source.complete=[x]"))
    (mine / "complete.csv").write_text("image,x,y,width,height\na.png,24,0,9,9\n")
    told = run("check", "./mine")
    assert "complete.csv: line 2: x=24" in refused(told)


@pytest.mark.parametrize("name", ["bbbc038", "kumar", "tnbc", "dh100", "synthetic"])
def test_prepare_is_read_back_the_same(run, root, tmp_path, name):
    extra = SYNTHETIC if name == "synthetic" else []
    status, output, told = run("prepare", name, "-o", "new/set", f"data_root={root}", *extra)
    assert (status, output) == (0, "new/set\n") and "nucleist train new/set" in told
    source = {
        "bbbc038": lambda: BBBC038(str(root / name)),
        "kumar": lambda: Kumar(str(root / name)),
        "tnbc": lambda: TNBC(str(root / name), str(root / "kumar")),
        "dh100": lambda: DH100(str(root / name)),
        "synthetic": lambda: Synthetic(n_train=3, n_test=2, size=(32, 32)),
    }[name]()
    written = Folder(tmp_path / "new" / "set")
    assert written.splits() == source.splits()
    for image_id in [i for ids in source.splits().values() for i in ids]:
        before, after = source.read(image_id), written.read(image_id)
        assert after.image.dtype == before.image.dtype
        np.testing.assert_array_equal(after.image, before.image)
        np.testing.assert_array_equal(after.labels, before.labels)
        assert after.complete is before.complete is True
    labels = next((tmp_path / "new" / "set" / "train" / "labels").iterdir())
    with Image.open(labels) as stored:
        assert stored.mode == "I;16"
    assert "is there already" in refused(run("prepare", name, "-o", "new/set"))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["set"]


def test_prepare_leaves_nothing_half_written(run, root, tmp_path):
    image = root / "bbbc038" / "a4" / "images" / "a4.png"
    image.write_bytes(image.read_bytes()[:60])
    for folder in ("new", "deep/er/new", "sets/bbbc038/a0/images/a0.png/new"):
        line = refused(run("prepare", "bbbc038", "-o", folder, f"data_root={root}"))
        assert str(image) in line or "cannot write" in line
    (tmp_path / "empty").mkdir()
    refused(run("prepare", "bbbc038", "-o", "empty", f"data_root={root}"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "sets"]


def test_prepare_keeps_names_that_end_like_pictures_or_labels(run, tmp_path):
    pieces = np.zeros((24, 24), np.uint8)
    pieces[2:5, 2:5] = pieces[9:12, 9:12] = 1
    for name in ("a", "a_overlay", "b_masks", "b_roi"):
        layouts.png(tmp_path / "mine" / name / "images" / f"{name}.png", layouts.rgb())
        layouts.png(tmp_path / "mine" / name / "masks" / "1.png", pieces)
    assert run("prepare", "bbbc038", "-o", "new", "data.source.root=mine")[0] == 0
    written = Folder(tmp_path / "new")
    assert {one.id for one in written.pairing() if one.labels} == {
        "a",
        "a_overlay",
        "b_masks",
        "b_roi",
    }
    np.testing.assert_array_equal(written.read("a_overlay").labels, pieces)


def test_prepare_keeps_a_nucleus_in_pieces_and_large_ids(run, tmp_path):
    pieces, large = np.zeros((2, 16, 16), np.int32)
    pieces[2:5, 2:5] = pieces[9:12, 9:12] = 1
    large[2:5, 2:5], large[9:12, 9:12] = 70_000, 3
    for name, labels in (("pieces", pieces), ("large", large)):
        layouts.png(tmp_path / "mine" / f"{name}.png", layouts.rgb(size=16))
        write_label_map(tmp_path / "mine" / f"{name}_labels.tif", labels)
    # As one mask a nucleus: a label map with a single nucleus in pieces would be refused.
    (tmp_path / "mine" / "pieces_labels.tif").unlink()
    layouts.png(tmp_path / "mine" / "pieces_masks" / "1.png", pieces.astype(np.uint8))
    assert run("prepare", "folder", "data.source.root=mine", "-o", "new")[0] == 0
    written = Folder(tmp_path / "new")
    np.testing.assert_array_equal(written.read("pieces").labels, pieces)
    np.testing.assert_array_equal(written.read("large").labels, large)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server of the folder `served`, on this machine."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    (tmp_path / "served").mkdir()
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *args: None)
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path / "served")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_download_is_found_where_it_is_looked_for(run, server, tmp_path):
    archive = tmp_path / "served" / "stage1_train.zip"
    layouts.pack(layouts.bbbc038(tmp_path / "stage1"), archive)
    # bbbc360 is a part of bbbc038: the same file in the same folder.
    status, output, error = run("download", "bbbc360", f"url={server}/{archive.name}")
    assert (status, output, error) == (0, f"data/bbbc038/{archive.name}\n", "")
    status, table, _ = run("list", "bbbc038")
    assert status == 0 and rows(table) == {"bbbc038": {"train": ("4", "12"), "test": ("1", "3")}}
    status, output, _ = run("download", "bbbc038", f"url={server}/{archive.name}", "-o", "x")
    assert (status, output) == (0, f"x/{archive.name}\n")
    line = refused(run("download", "tnbc", f"url={server}/none.zip", "-o", "y"))
    assert f"{server}/none.zip: the server answers 404" in line
    assert not (tmp_path / "y").exists()


@pytest.mark.parametrize("verb", ["list", "show", "check", "prepare", "download"])
def test_help_has_examples(verb, run):
    status, own, _ = run(verb, "--help")
    assert status == 0 and own.count(f"nucleist data {verb} ") >= 2
    status, text, _ = run("--help")
    assert status == 0 and f"  {verb} " in text
    assert run() == (0, text, "")
