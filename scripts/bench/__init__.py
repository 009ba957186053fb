"""Time and memory of nucleist beside stock torchvision and other tools: `python -m scripts.bench`.

`__main__` parses the command and runs the parts in order. `measure` and `meter` take the time and
the peak memory of a case in a process of its own. `settings`, `nets`, `stock` and `planted` make
the images and nets. The parts are `bookkeeping`, `steps`, `scores` and `loading`; `verdicts` and
`report` turn their results into tables. `canonical` and `overhead` are commands of their own.
"""
