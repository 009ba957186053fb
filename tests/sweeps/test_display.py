"""What people see of a sweep: a line for each change."""

from pathlib import Path

from support.lines import Lines
from support.sweeps import small_sweep

from nucleist.sweeps.display import Display
from nucleist.sweeps.sweep import DONE, FAILED, RUNNING, WAITING


def test_a_line_for_each_change(tmp_path: Path) -> None:
    sweep, lines = small_sweep(tmp_path, 10), Lines()
    with Display(sweep, lines) as display:
        for run, status in zip(sweep.runs, (RUNNING, DONE, FAILED, WAITING), strict=False):
            run.status = status
        sweep.log(sweep.runs[0]).parent.mkdir()
        sweep.log(sweep.runs[0]).write_text("step 4/10  loss 1\n")
        for run in sweep.runs[:4]:
            display.update(run)
        display.update(None)
        (task,) = display.bar.tasks
    assert lines.notes == [
        " 2/10  running     seed=0",
        " 2/10  done        seed=1",
        " 2/10  failed      seed=2",
        " 2/10  interrupted seed=3",
    ]
    assert (task.completed, task.total) == (14, 100)
    assert task.description == "1 running, 7 waiting"
