"""Print the reference of the Python interface, from its docstrings: `make reference` writes python.md."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import layerprobe
from layerprobe.classify.predict.bundle import Bundle, Prediction
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.extract.run import ExtractionSummary, embed
from layerprobe.embed.manifest.clips import Clip, read_manifest, write_manifest

# Name to import it by → the object.
PUBLIC: dict[str, Any] = {
    "layerprobe.classify": type(layerprobe.classify).__call__,
    "layerprobe.Study": layerprobe.Study,
    "layerprobe.load_bundle": layerprobe.load_bundle,
    "layerprobe.classify.predict.bundle.Bundle": Bundle,
    "layerprobe.classify.predict.bundle.Prediction": Prediction,
    "layerprobe.Embedder": layerprobe.Embedder,
    "layerprobe.FeatureStore": layerprobe.FeatureStore,
    "layerprobe.embed.extract.run.embed": embed,
    "layerprobe.embed.extract.run.ExtractionSummary": ExtractionSummary,
    "layerprobe.embed.config.EmbedConfig": EmbedConfig,
    "layerprobe.embed.manifest.clips.read_manifest": read_manifest,
    "layerprobe.embed.manifest.clips.write_manifest": write_manifest,
    "layerprobe.embed.manifest.clips.Clip": Clip,
}


def text_of(item: Any) -> str:
    """The docstring as Markdown: `<` shown as it is, indented lines as code."""
    lines = inspect.cleandoc(item.__doc__ or "").splitlines()
    return "\n".join(line if line.startswith("    ") else line.replace("<", "&lt;") for line in lines)


def signature(item: Any) -> str:
    """The parameters with their types, without `self`; a line for each if they are many."""
    whole = inspect.signature(item)
    parts: list[str] = []
    for name, one in whole.parameters.items():
        if name in ("self", "cls"):
            continue
        if one.kind is one.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        mark = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
        default = "" if one.default is one.empty else f" = {default_of(one.default)}"
        parts.append(f"{mark}{name}: {one.annotation}{default}")
    returned = "" if whole.return_annotation in ("None", inspect.Signature.empty) else whole.return_annotation
    arrow = f" -> {returned}" if returned and returned is not None else ""
    line = f"({', '.join(parts)}){arrow}"
    return line if len(line) <= 90 else "(\n" + "".join(f"    {part},\n" for part in parts) + f"){arrow}"


def default_of(value: Any) -> str:
    """A default as the source writes it."""
    if isinstance(value, Path):
        return f"Path({str(value)!r})"
    return value.__name__ if callable(value) else repr(value)


def members(kind: type) -> list[tuple[str, Any]]:
    """Public methods and properties with a docstring, in the order of the source."""
    own = [
        (name, value)
        for base in reversed(kind.__mro__)
        if base.__module__.startswith("layerprobe")
        for name, value in vars(base).items()
        if not name.startswith("_") and getattr(value, "__doc__", None) and not isinstance(value, type)
    ]
    return [(name, value) for name, value in dict(own).items() if callable(value) or is_descriptor(value)]


def is_descriptor(value: Any) -> bool:
    """Whether a member of a class is a property or a class method."""
    return isinstance(value, property | classmethod | staticmethod)


print("<!-- Written by `make reference` from the docstrings. -->\n")
print("# Python\n")
print(
    "What is documented here stays as it is within a minor version. Errors caused by input are\n"
    "`layerprobe.cache.common.errors.InputError`, whose text says what is wrong, where, and what to do.\n"
)
for path, item in PUBLIC.items():
    name = path.rpartition(".")[2]
    print(f"## {name}\n\n```\n{path}{signature(item)}\n```\n\n{text_of(item)}\n")
    if not isinstance(item, type):
        continue
    for member, value in members(item):
        function = getattr(value, "__func__", value)
        print(f"### {name}.{member}\n")
        if not isinstance(value, property):
            print(f"```\n{member}{signature(function)}\n```\n")
        print(f"{text_of(function)}\n")
