"""What `classify` says beside a score: its protocol, its audit, its controls."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cache.console import say


def tell_trust(out: Path, summary: Mapping[str, Any]) -> None:
    """Print what a reader needs to judge the score of the run in `out`."""
    _tell_protocol(summary.get("protocol"))
    _tell_audit(out, summary["audit"])


def _tell_protocol(protocol: Mapping[str, Any] | None) -> None:
    if protocol is None:
        return
    say(f"note: protocol {protocol['name']} leaks: {protocol['leaks']}")
    if protocol["deviations"]:
        told = "; ".join(protocol["deviations"])
        say(f"note: this is not {protocol['name']} as published, so others' scores do not compare: {told}")


def _tell_audit(out: Path, audit: Mapping[str, Any]) -> None:
    if "verdict" not in audit:
        return
    named = {
        verdict: ", ".join(found["item"] for found in audit["findings"] if found["verdict"] == verdict)
        for verdict in ("leak", "look")
    }
    told = "; ".join(f"{verdict}: {items}" for verdict, items in named.items() if items) or "fine"
    say(f"audit: {told}; see {out / 'audit.json'}")
