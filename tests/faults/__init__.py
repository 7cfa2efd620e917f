"""The fault harness: the real service as processes, broken one way after another.

`matrix.py` has a row for each fault, `scenes.py` what people do meanwhile, `breaks.py` the ways
to break, `history.py` what must hold afterwards. `python -m tests.faults` runs all of it.
"""
