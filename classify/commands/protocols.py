"""The command `protocols`."""

from __future__ import annotations

from typing import Annotated

from layerprobe.cache.common.console import print_json
from layerprobe.cache.common.options import FLAT, OutputOptions


def protocols(output: Annotated[OutputOptions, FLAT] = OutputOptions()) -> None:
    """List fixed, published splits: the rule of each, and what it leaks."""
    from layerprobe.classify.data.protocols import PROTOCOLS

    rows = [
        {
            "name": protocol.name,
            "corpus": protocol.published.corpus,
            "clips": protocol.published.clips,
            "speakers": protocol.published.speakers,
            "rule": protocol.rule.description,
            "speaker_disjoint": protocol.rule.speaker_disjoint,
            "leaks": protocol.leaks,
        }
        for protocol in PROTOCOLS.values()
    ]
    if output.json:
        print_json(rows)
        return
    for row in rows:
        sizes = [f"{row[name]:,} {name}" for name in ("clips", "speakers") if row[name] is not None]
        print(f"{row['name']}: {', '.join([str(row['corpus']), *sizes])}")
        for name in ("rule", "leaks"):
            print(f"  {name:5}  {row[name]}")
