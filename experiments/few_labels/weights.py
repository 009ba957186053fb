"""Train weights like those of the package without the group of 520 x 696 px, and export them.

    NUCLEIST_DATA=FOLDER .venv/bin/python -m experiments.few_labels.weights [--steps 2400]

Training goes on where it was cut. `--steps` is the first stage, whose full length is 2400; the
second stage of the package's weights (1400 steps at a lower rate) is added by `--second`.
"""

import argparse
import time

import nucleist
from experiments.few_labels.cells import RUNS, WITHOUT
from nucleist.files import make_folder
from scripts.weights import OPTIONS, SCORE_THRESHOLD, SECOND

WORDS = ["trainer=cpu", "data.workers=0", "test_best=false", "data.source.without=520x696"]


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--steps", type=int, default=2400)
    words.add_argument("--second", action="store_true", help="train the second stage too")
    given = words.parse_args()
    make_folder(RUNS)
    common = [*WORDS, f"data.cache={RUNS / 'cache'}", f"runs={RUNS}", "resume=auto"]
    begun = time.process_time()
    length = [f"steps={given.steps}", f"val_every={given.steps}", "name=without_520x696"]
    run = nucleist.train("nuclei", overrides=[*common, *length], progress=True)
    if given.second:
        more = [*SECOND, f"weights={run}", "name=without_520x696_second"]
        run = nucleist.train("nuclei", overrides=[*common, *more], progress=True)
    model = nucleist.load(run, options=OPTIONS, device="cpu")
    nucleist.export_model(model, WITHOUT, score_threshold=SCORE_THRESHOLD)
    print(f"{WITHOUT}: from {run}, {(time.process_time() - begun) / 60:.1f} CPU minutes here")


if __name__ == "__main__":
    main()
