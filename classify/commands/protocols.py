"""The command `protocols`: published splits and what each leaks."""

from __future__ import annotations

from layerprobe.cache.common.console import print_json
from layerprobe.classify.commands.compare import Json


def protocols(as_json: Json = False) -> None:
    """Fixed, published splits by name: the rule each goes by, and what it leaks."""
    from layerprobe.classify.data.protocols import PROTOCOLS

    rows = [
        {
            "name": one.name,
            "corpus": one.published.corpus,
            "clips": one.published.clips,
            "speakers": one.published.speakers,
            "rule": one.rule.told,
            "speaker_disjoint": one.rule.speaker_disjoint,
            "leaks": one.leaks,
        }
        for one in PROTOCOLS.values()
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        sizes = [f"{row[name]:,} {name}" for name in ("clips", "speakers") if row[name] is not None]
        print(f"{row['name']}: {', '.join([str(row['corpus']), *sizes])}")
        for name in ("rule", "leaks"):
            print(f"  {name:5}  {row[name]}")
