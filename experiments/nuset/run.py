"""NuSeT beside Otsu, U-Net and Mask R-CNN on BBBC038: trains, scores, measures, writes the table.

NUCLEIST_DATA=FOLDER python experiments/nuset/run.py [RUNS] [--budget SECONDS] [--seeds 0 1]

Every net is trained for the same time: `--budget` seconds of one core over the median time of a
step, which is measured once and kept in RUNS/NAME.steps. What is finished is skipped and what was
cut goes on when the same command is started again. `--steps 4` is a short trial.
"""

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from rows import DATA, ROWS, TRAININGS  # noqa: E402


def words_of(name: str, runs: Path) -> list[str]:
    """The settings of a training, but for seed and steps."""
    return [*DATA, *TRAININGS[name], f"data.cache={runs / 'cache'}", f"name=nuset_{name}"]


def call(*words: str, log: Path) -> str:
    """Run a program with one thread; its standard output."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("a") as errors:
        done = subprocess.run(
            [sys.executable, *words],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    if done.returncode:
        raise SystemExit(f"failed: {log}")
    return done.stdout.strip()


def count_steps(name: str, runs: Path, budget: float) -> int:
    """Steps of a training that fit into the budget, measured once."""
    path = runs / f"{name}.steps"
    if not path.exists():
        words = [str(HERE / "seconds.py"), *words_of(name, runs)]
        seconds = float(call(*words, log=runs / f"{name}.log"))
        path.write_text(f"{max(2, int(budget / seconds))}\n")
        print(f"{name}: {seconds:.3f} s a step, {path.read_text().strip()} steps", flush=True)
    return int(path.read_text())


def train(name: str, seed: int, runs: Path, steps: int) -> None:
    """Train once; the run folder is kept in RUNS/NAME_SEED.done."""
    done = runs / f"{name}_{seed}.done"
    if done.exists():
        return
    steps_of = [] if name == "otsu" else [f"steps={steps}", f"val_every={max(1, steps // 4)}"]
    words = [*words_of(name, runs), *steps_of, f"seed={seed}", "resume=auto", f"runs={runs}"]
    print(f"train {name}, seed {seed}", flush=True)
    folder = call("-m", "nucleist", "train", *words, log=runs / f"{name}_{seed}.log")
    done.write_text(folder.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="?", default=Path("runs/nuset"))
    parser.add_argument(
        "--budget", type=float, default=900, help="seconds of each training, of one core"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--names", nargs="+", default=list(TRAININGS), choices=list(TRAININGS))
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, a core each")
    parser.add_argument("--steps", type=int, help="of each training, in place of the budget")
    parser.add_argument("--output", type=Path, default=HERE, help="folder of table and pictures")
    options = parser.parse_args()
    runs = options.runs
    runs.mkdir(parents=True, exist_ok=True)
    steps = {
        name: options.steps or (1 if name == "otsu" else count_steps(name, runs, options.budget))
        for name in options.names
    }
    jobs = [(name, seed) for seed in options.seeds for name in options.names]
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(lambda job: train(*job, runs, steps[job[0]]), jobs))
    for name, seed in jobs:
        if not (runs / f"{name}_{seed}.json").exists():
            print(f"score {name}, seed {seed}", flush=True)
            call(
                str(HERE / "score.py"), str(runs), name, str(seed), log=runs / f"{name}_{seed}.log"
            )
    if not (runs / "speed.json").exists():
        print("speed", flush=True)
        call(str(HERE / "speed.py"), str(runs), str(options.seeds[0]), log=runs / "speed.log")
    words = [str(HERE / "collect.py"), str(runs), str(options.output)]
    print(call(*words, log=runs / "collect.log"))
    assert {row.training for row in ROWS} <= set(TRAININGS)


if __name__ == "__main__":
    main()
