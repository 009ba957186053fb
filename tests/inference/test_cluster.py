"""Images on the workers of a dask cluster: the results of this process, whoever is lost."""

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from support.lines import Lines
from support.runs import said
from support.tiled import grid_of, on_seams

import nucleist
from nucleist.data.formats.channels import CLEAR
from nucleist.inference.cluster import start, tasks
from nucleist.inference.cluster.asked import Slurm, asked_for
from nucleist.inference.each import Begun, StoppedError
from nucleist.inference.opened import Item
from nucleist.inference.scaling import AS_IT_IS
from nucleist.inference.tiles.cut import Cut
from nucleist.models.otsu import otsu
from nucleist.models.weights.portable import write_portable
from nucleist.types import UserError

SIZE = (500, 620)
SIDES = {"tile": 192, "overlap": 64}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A file of a net that needs no training."""
    path = tmp_path_factory.mktemp("model") / "otsu.safetensors"
    config = {
        "model": {"_target_": "nucleist.models.otsu", "nuclei": "bright"},
        "normalize": {"_target_": "nucleist.ops.normalize.Percentile"},
    }
    write_portable(path, otsu().state_dict(), {"config": config, "calibrated_threshold": 0.4})
    return path


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator["Client"]:  # noqa: F821 - imported when it is needed
    """Four workers."""
    lines, folder = Lines(), tmp_path_factory.mktemp("cluster")
    with start.reached(asked_for("local:4", None), folder, lines) as reached:
        assert lines.notes == ["cluster=local:4: started 4 processes of this machine"]
        yield reached.client


@pytest.fixture
def images(tmp_path) -> Path:
    """A folder of small images, a damaged one, and a large one with nuclei on every seam."""
    folder = tmp_path / "in"
    folder.mkdir()
    noise = np.random.default_rng(0)
    for name, size in {"large": SIZE, **dict.fromkeys("abcdefgh", (90, 120))}.items():
        pixels = on_seams(grid_of(*SIZE, 192, 64))[0][: size[0], : size[1]].astype(int)
        pixels += noise.integers(0, 20, pixels.shape)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{name}.png")
    (folder / "damaged.png").write_bytes((folder / "a.png").read_bytes()[:200])
    return folder


class At(Lines):
    """Calls a function when the tiles of the large image begin, another at a quarter of them."""

    def __init__(self, begin, quarter) -> None:
        super().__init__()
        self.begin, self.quarter = begin, quarter

    def watch(self, items, title):
        for number, item in enumerate(items):
            if title != "outlining":
                {0: self.begin, len(items) // 4: self.quarter}.get(number, bool)()
            yield item


class Victim:
    """A worker that keeps what it is given, until it is killed."""

    def __init__(self, client) -> None:
        self.client = client
        self.name, self.number = next(iter(client.run(os.getpid).items()))

    def stop(self) -> None:
        os.kill(self.number, signal.SIGSTOP)

    def kill(self) -> None:
        assert self.client.processing()[self.name]
        os.kill(self.number, signal.SIGKILL)


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.iterdir() if path.name[0] != "." and path.is_file()]
    return {path.name: path.read_bytes() for path in files}


@pytest.mark.whole
def test_a_worker_is_killed_and_nothing_changes(model, images, client):
    serial, spread, victim = images.parent / "serial", images.parent / "spread", Victim(client)
    lines = At(victim.stop, victim.kill)
    here = nucleist.predict(model, images, serial, **SIDES, progress=Lines())
    there = nucleist.predict(model, images, spread, **SIDES, cluster=client, progress=lines)
    assert "cluster=Client: 1 of the workers lost" in "\n".join(lines.notes)
    assert dict(there) == dict(here) and len(here) == 9 and here[images / "large.png"] > 300
    assert {path: "damaged" in why for path, why in there.failed.items()} == {
        images / "damaged.png": True
    }
    assert contents(spread) == contents(serial) and len(contents(serial)) == 9 * 3 + 2
    assert not (spread / ".large_tiles").exists()
    again = Lines()
    nucleist.predict(model, images, spread, **SIDES, cluster=client, progress=again)
    assert "9 of 10 images have these results already" in again.notes[0]


@pytest.mark.whole
def test_ctrl_c_is_not_for_the_workers(client):
    processes = client.run(os.getpid)
    for number in processes.values():
        os.kill(number, signal.SIGINT)
    assert client.run(os.getpid) == processes


@pytest.mark.whole
def test_all_ports_are_on_loopback(client):
    assert client.scheduler_info()["address"].startswith("tls://127.0.0.1:")
    own = psutil.Process()
    for process in (own, *own.children(recursive=True)):
        listening = [c for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
        assert {connection.laddr.ip for connection in listening} <= {"127.0.0.1"}


def recipe_of(model: Path) -> tasks.Recipe:
    loaded = nucleist.load(model, device="cpu")
    cut, what = Cut(192, 64), (CLEAR, AS_IT_IS)
    settings = tasks.earlier.settings_hash(loaded, 0.4, CLEAR, 0, cut, AS_IT_IS)
    return tasks.recipe_of(model, loaded, {}, "cpu", (), 0.4, 0, 1, *what, cut, settings)


def test_a_worker_with_something_else_says_so(model, images):
    recipe, image = recipe_of(model), Item(images / "a.png")
    begun = Begun(image, {}, {"image": "", "settings": ""}, images / ".a_tiles")
    assert tasks.outline_file(recipe, begun).about["nuclei"] > 0
    large = begun._replace(image=Item(images / "large.png"))
    assert tasks.outline_file(recipe, large) is None
    for words, other in {
        "install the same on both": {"versions": "nucleist 0"},
        "another model": {"settings": "0"},
        r"gone\.ckpt: no such checkpoint": {"model": "gone.ckpt"},
    }.items():
        with pytest.raises(StoppedError, match=words):
            tasks.outline_file(replace(recipe, **other), begun)
    with pytest.raises(StoppedError, match="a folder that all workers see"):
        tasks.outline_file(recipe, begun._replace(work=images / "gone" / ".a_tiles"))
    tasks.forget()


def test_a_shipped_model_goes_by_its_name(model):
    given = recipe_of(model)
    rest = [getattr(given, key) for key in list(tasks.Recipe.__dataclass_fields__)[1:-1]]
    assert given.model == str(model)
    assert tasks.recipe_of("nuclei", nucleist.load(model), *rest).model == "nuclei"


@pytest.mark.parametrize(
    ("cluster", "slurm", "words"),
    [
        ("local", {}, "write the number of processes, e.g. cluster=local:4"),
        ("local:0", {}, "write the number of processes"),
        ("somewhere", {}, "write local:N, slurm, or the address of a dask scheduler"),
        ("tcp://a b:1", {}, "write local:N, slurm, or the address"),
        ("slurm", {}, "there is no sbatch here"),
        ("slurm", {"job": 2}, "slurm.job=2: unknown; use some of jobs, cores"),
        ("slurm", {"jobs": 0}, "slurm.jobs=0: write a whole number from 1"),
        ("slurm", {"memory": "much"}, "slurm.memory=much: write e.g. 24GB"),
        ("slurm", {"walltime": "1 day"}, "slurm.walltime=1 day: write HH:MM:SS"),
        ("slurm", {"queue": "a\n#b"}, "write the name of a partition"),
        ("slurm", {"directives": ["gpu"]}, "write options of sbatch"),
        ("local:2", {"jobs": 2}, "slurm.jobs=2: is for cluster=slurm"),
        (None, {"jobs": 2}, "slurm.jobs=2: is for cluster=slurm"),
    ],
)
def test_what_is_refused(cluster, slurm, words, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match=words):
        asked_for(cluster, slurm)


def test_the_extra_is_named_where_it_is_missing(model, images, capsys, monkeypatch):
    command = ["predict", str(model), str(images), "-o", str(images / "out")]
    told = said(capsys, *command, "cluster=local:2", "slurm.jobs=2")
    assert "slurm.jobs=2: is for cluster=slurm" in told
    monkeypatch.setitem(sys.modules, "distributed", None)
    told = said(capsys, *command, "cluster=local:2")
    assert "distributed is not installed; pip install 'nucleist[cluster]'" in told
    assert not (images / "out").exists()


def test_nobody_answers(model, images, monkeypatch):
    monkeypatch.setattr(start, "ANSWER", 0.2)
    with pytest.raises(UserError, match=r"cluster=127\.0\.0\.1:1: no dask scheduler answers there"):
        nucleist.predict(model, images, images / "out", cluster="127.0.0.1:1")


def test_the_script_of_a_job(tmp_path):
    asked = Slurm(2, 3, "12GB", "1-00:00:00", "gpu", ["--gres=gpu:1", "--account=lab"])
    with start.jobs_of(asked, tmp_path) as cluster:
        script = cluster.job_script()
        http = cluster.scheduler.http_server.address
    for line in (
        "#SBATCH -J nucleist",
        "#SBATCH -p gpu",
        "#SBATCH --cpus-per-task=3",
        "#SBATCH --mem=12G",
        "#SBATCH -t 1-00:00:00",
        "#SBATCH --gres=gpu:1",
        "#SBATCH --account=lab",
        f"#SBATCH -o {tmp_path}/slurm_logs/nucleist-%J.out",
    ):
        assert line in script.splitlines()
    worker = script.splitlines()[-1]
    assert worker.startswith(f"{sys.executable} -m distributed.cli.dask_worker tls://")
    for words in ("--nworkers 3", "--nthreads 1", "--no-dashboard", f"--tls-key {tmp_path}/"):
        assert words in worker
    assert http == "127.0.0.1"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not list(tmp_path.glob(".dask*"))
    with pytest.raises(UserError, match="bear no space"), start.jobs_of(asked, tmp_path / "a b"):
        pass


SBATCH = """#!/bin/sh
[ "$1" = --test-only ] && exec test ! -e "$0.refuses"
cp "$1" "$0.job"
setsid sh "$0.job" > /dev/null 2>&1 &
echo "Submitted batch job $!"
"""


@pytest.fixture
def site(tmp_path, monkeypatch) -> Path:
    """A `sbatch` that runs the script of a job here, and a `scancel`."""
    scripts = {"sbatch": SBATCH, "scancel": '#!/bin/sh\nkill -KILL -- "-$1"\n'}
    folder = tmp_path / "site"
    folder.mkdir()
    for name, script in scripts.items():
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def test_sbatch_refuses(model, images, site):
    (site / "sbatch.refuses").touch()
    with pytest.raises(UserError, match="sbatch refuses the job"):
        nucleist.predict(model, images, images / "out", cluster="slurm")


@pytest.mark.whole
def test_jobs_that_end_are_submitted_again(model, images, site):
    """The jobs run here, and the only one is killed in the middle."""
    from dask import config

    serial, spread, jobs = images.parent / "serial", images.parent / "spread", []

    def kill() -> None:
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if "distributed.cli.dask_worker" in words and str(spread) in " ".join(words):
                jobs.append(process.pid)
                os.killpg(os.getpgid(process.pid), signal.SIGKILL)

    lines, large = At(bool, kill), images / "large.png"
    with config.set({"distributed.deploy.lost-worker-timeout": "1s"}):
        nucleist.predict(
            *(model, large, spread),
            **SIDES,
            cluster="slurm",
            slurm={"jobs": 1, "cores": 1, "memory": "4GB"},
            progress=lines,
        )
    assert len(jobs) == 1 and "cluster=slurm: no worker is there; waiting for one" in lines.notes
    nucleist.predict(model, large, serial, **SIDES)
    assert contents(spread) == contents(serial) and len(contents(serial)) == 5
    assert not list(spread.glob(".dask*")) and (spread / "slurm_logs").is_dir()
