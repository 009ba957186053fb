"""What nucleist costs beside stock torchvision and other tools: `python -m scripts.bench`.

`__main__` has the command and the order; `measure` times and weighs a case in a process of its
own; `drawn`, `nets`, `stock` and `planted` make what is measured; `bookkeeping`, `steps`,
`scores` and `loading` are the parts; `verdicts` and `report` write them down.
"""
