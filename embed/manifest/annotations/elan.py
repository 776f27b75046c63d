"""ELAN's annotation files (.eaf), which are XML."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree
from xml.parsers import expat

from layerprobe.embed.manifest.annotations.tiers import Annotation, Interval, Tier


def read_elan(path: Path) -> Annotation:
    """The tiers of an .eaf file. An annotation that refers to another one has that one's times.

    Raises ValueError. A document type, with which entities are declared that expand without end, is refused;
    ELAN writes none.
    """
    data = path.read_bytes()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(data, True)
        root = ElementTree.fromstring(data)
    except (expat.ExpatError, ElementTree.ParseError) as error:
        raise ValueError(f"is not XML ({error})") from error
    except (LookupError, RecursionError) as error:
        raise ValueError("is not XML") from error
    times = {
        slot.get("TIME_SLOT_ID"): int(value) / 1000
        for slot in root.iter("TIME_SLOT")
        if (value := slot.get("TIME_VALUE")) is not None and value.isdecimal()
    }
    spans: dict[str | None, tuple[float | None, float | None]] = {}
    parents: dict[str | None, str | None] = {}
    for entry in root.iter("ALIGNABLE_ANNOTATION"):
        start, end = times.get(entry.get("TIME_SLOT_REF1")), times.get(entry.get("TIME_SLOT_REF2"))
        spans[entry.get("ANNOTATION_ID")] = start, end
    for entry in root.iter("REF_ANNOTATION"):
        parents[entry.get("ANNOTATION_ID")] = entry.get("ANNOTATION_REF")

    def text(entry: ElementTree.Element) -> str:
        return (entry.findtext("ANNOTATION_VALUE") or "").strip()

    def interval(entry: ElementTree.Element) -> Interval | None:
        id, seen = entry.get("ANNOTATION_ID"), set()
        while id in parents and id not in seen:
            seen.add(id)
            id = parents[id]
        start, end = spans.get(id, (None, None))
        if start is None or end is None:
            return None
        return Interval(start, end, text(entry))

    tiers = []
    for tier in root.iter("TIER"):
        entries = [entry for kind in ("ALIGNABLE_ANNOTATION", "REF_ANNOTATION") for entry in tier.iter(kind)]
        spanned = [(entry, interval(entry)) for entry in entries]
        intervals = [known for _, known in spanned if known is not None]
        tiers.append(
            Tier(
                name=tier.get("TIER_ID") or "",
                intervals=sorted(intervals, key=lambda known: known.start),
                speaker=tier.get("PARTICIPANT") or None,
                untimed=sum(known is None and bool(text(entry)) for entry, known in spanned),
            )
        )
    media = [
        unquote(url).removeprefix("file://")
        for entry in root.iter("MEDIA_DESCRIPTOR")
        for url in (entry.get("RELATIVE_MEDIA_URL"), entry.get("MEDIA_URL"))
        if url
    ]
    return Annotation(tiers=tiers, media=media)


def _refuse(name: str, *_: object) -> None:
    raise ValueError(f"declares a document type ('{name}'), which is not read; save it again with ELAN")
