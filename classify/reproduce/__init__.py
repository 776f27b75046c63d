"""The published table of Arabic speech emotion recognition, run again on this machine.

`published.py` holds the table as data, `available.py` finds corpora and weights, `run.py` makes the four runs
of a row (`reproduce_rows`), `table.py` turns run folders into `RowReport` and table rows, and `stand_ins.py`
makes tiny models and synthetic corpora to try everything out.
"""
