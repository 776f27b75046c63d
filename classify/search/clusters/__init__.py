"""Units of a search as tasks of a Dask or Ray cluster, instead of processes of this machine.

`connect.py` opens the cluster that `--backend` names; `backends.py` are joblib's backends for it, on which
`search.parallel` runs units; `packing.py` leaves out of a task what all tasks share; `visible.py` checks that
a worker has the stores.
"""

from __future__ import annotations

from typing import Literal

BackendName = Literal["loky", "dask", "ray"]
LOKY: BackendName = "loky"  # processes of this machine
