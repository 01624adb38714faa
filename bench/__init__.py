"""The bench: how quick and how large Antechamber is, each figure beside a peer measured in the same run.

`python -m bench` (`make bench`) runs every scenario in a network namespace with nothing but `lo`, in the practice
world; `python -m bench a d` picks some; `--quick` runs each once, which a test does to see that all figures are there.
"""
