"""What `classify` says beside a score: its protocol, its audit, its controls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cache.console import say


def tell_trust(summary: Mapping[str, Any]) -> None:
    """Print what a reader needs to judge the score."""
    _tell_protocol(summary.get("protocol"))


def _tell_protocol(protocol: Mapping[str, Any] | None) -> None:
    if protocol is None:
        return
    say(f"note: protocol {protocol['name']} leaks: {protocol['leaks']}")
    if protocol["deviations"]:
        told = "; ".join(protocol["deviations"])
        say(f"note: this is not {protocol['name']} as published, so others' scores do not compare: {told}")
