"""One search in several processes, on any machines, which share the trials in the storage of a server.

`server.py` opens the storage, `processes.py` knows which processes live, `claims.py` which of them runs a
study, `requests.py` lets a worker ask for the next study, and `run.py` runs what no other process does.
"""
