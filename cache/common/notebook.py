"""A progress bar in the output of a notebook's cell."""

from __future__ import annotations

import html
import sys
from typing import Any


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


class NotebookBar:
    """A bar with a label and a status text, drawn again in place on each update."""

    def __init__(self, label: str) -> None:
        from IPython.display import display

        self._label, self._share, self._status = label, 0.0, ""
        self._handle: Any = display(self, display_id=True)

    def update(self, share: float, status: str) -> None:
        """Show the share (0 to 1) that is done."""
        self._share, self._status = share, status
        self._handle.update(self)

    def stop(self) -> None:
        """Leave the bar as it is."""

    def __repr__(self) -> str:
        return f"{self._label}: {self._share:.0%} {self._status}".rstrip()

    def _repr_html_(self) -> str:
        label, status = html.escape(self._label), html.escape(self._status)
        return f'<div>{label} <progress value="{self._share:.3f}" max="1"></progress> {status}</div>'
