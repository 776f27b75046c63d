"""Options that several commands share, and how the command line reads values.

Every command has one frozen dataclass of options in its module below `commands/`. The command line, `--help`,
the reference in `docs/commands.md` and a call from Python are all derived from it by cyclopts: an option's
name, type, default and help text are written there and nowhere else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

from cyclopts import Parameter, Token, convert

from layerprobe.cache.common.console import Verbosity, say_detail, set_verbosity
from layerprobe.cache.common.disk import check_overwrite
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.places import local_cache, refuse_url

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

DEFAULT_CACHE = Path("features")

# A dataclass of options whose fields appear as options of the command itself.
FLAT = Parameter(name="*")
# A field that is set by the program, not on the command line.
INTERNAL = Parameter(parse=False)
SECRET = {"storage"}  # fields whose values may hold a password
# Options as typed, name -> value ("" for a flag): distinguishes given options from defaults.
Given = Annotated[Mapping[str, str], INTERNAL]

# Types of options that several commands have, with the help text of each.
TableFile = Annotated[
    Path, Parameter(help="Table of clips: a file or folder of any kind in docs/recordings.md.")
]
CacheFolder = Annotated[
    Path,
    Parameter(
        env_var="LAYERPROBE_CACHE",
        converter=lambda _, tokens: local_cache(tokens[0].value),
        help="Cache folder: feature stores, and hashes of audio files. Or s3://BUCKET/PREFIX, gs://…, az://… "
        "(docs/cache.md).",
    ),
]
ModelName = Annotated[
    str, Parameter(help="Preset, hub id, local folder, random:NAME, mfcc, fbank or opensmile:NAME.")
]
Revision = Annotated[str | None, Parameter(help="Branch, tag or commit of a hub model.")]
Device = Annotated[str, Parameter(help="auto, cpu, cuda, mps, or any device name of torch, such as cuda:1.")]
Force = Annotated[bool, Parameter(help="Replace the file --out if it exists.")]
RunFolder = Annotated[Path, Parameter(help="Run folder to write; an interrupted run continues in it.")]

FIGURE_KINDS = ("svg", "pdf", "png")
FigureTitle = Annotated[
    str | None, Parameter(help="Title of the figure instead of the automatic one; none for no title.")
]

_BYTES = {
    **{"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12},
    **{"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40},
}


def parse_bytes(text: str, *, option: str = "--memory") -> int:
    """Bytes of `8GB`, `512MiB` or plain digits. Raises InputError."""
    digits = text.strip().rstrip("KMGTIBkmgtib ")
    unit = text.strip()[len(digits) :].strip().upper()
    try:
        if (size := int(float(digits) * _BYTES[unit])) < 0:
            raise ValueError(size)
        return size
    except (ValueError, KeyError, OverflowError):
        raise InputError(f"{option} {text}", do="write it as 8GB or 512MiB") from None


# An integer field that is typed as `8GB`.
BYTES = Parameter(
    converter=lambda _, tokens: parse_bytes(tokens[0].value, option=tokens[0].keyword or "--memory"),
    show_default=lambda size: f"{size >> 30}GiB",
)


@dataclass(frozen=True, kw_only=True)
class TableColumns:
    """Where a table of clips has its audio files and its speakers."""

    path_column: str | None = None
    """Column with the audio files; detected if omitted."""
    speaker_column: str | None = None
    """Column with the speakers; detected if omitted (`speaker`, …)."""


@dataclass(frozen=True, kw_only=True)
class StoreOptions:
    """Which cached states a command reads."""

    cache: CacheFolder = DEFAULT_CACHE
    revision: Revision = None
    fingerprint: str | None = None
    """Beginning of the extraction's fingerprint, if a model was cached in several ways."""


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """How a command prints its result."""

    json: bool = False
    """Print one JSON document instead of a table."""
    quiet: Annotated[bool, Parameter(alias="-q")] = False
    """Print results and errors only: no progress, no notes."""
    verbose: Annotated[bool, Parameter(alias="-v")] = False
    """Also print, on stderr, every option's value and how long each stage takes."""


def check_choice(option: str, value: str, allowed: Collection[str]) -> None:
    """Raise InputError unless `value` is one of `allowed`. option: as typed, such as `--split`."""
    if value not in allowed:
        raise InputError(f"{option} {value}", do=f"choose from {', '.join(allowed)}")


def check_choices(option: str, values: Iterable[str], allowed: Collection[str]) -> None:
    """`check_choice` for an option with several values."""
    for value in values:
        check_choice(option, value, allowed)


def check_figure(figure: Path | None, *, title: str | None = None) -> None:
    """Raise InputError for a --figure that cannot be drawn, and for a title without a figure."""
    if figure is None:
        if title is not None:
            what = "--title is that of a figure, and none is drawn"
            raise InputError(what, do="give --figure, or omit --title")
        return
    if figure.suffix[1:] not in FIGURE_KINDS:
        raise InputError(f"--figure {figure}", do=f"end the name in .{', .'.join(FIGURE_KINDS)}")
    _check_parent("--figure", figure)


def check_out(out: Path | None, *, force: bool, inputs: Sequence[Path]) -> None:
    """Raise InputError for an --out that cannot be written, as `check_overwrite`; before any work is done."""
    if out is not None:
        check_overwrite(out, force=force, inputs=inputs)
        _check_parent("--out", out)


def _check_parent(option: str, path: Path) -> None:
    if not path.parent.is_dir():
        do = f"folder {path.parent} does not exist: create it, or name another"
        raise InputError(f"{option} {path}", do=do)


def check_minimum(config: object, minimums: Mapping[str, float]) -> None:
    """Raise InputError for the first field of `config` that is below its minimum."""
    for name, least in minimums.items():
        value = getattr(config, name)
        if not value >= least:
            raise InputError(f"{flag(name)} {value:g}", do=f"give {least} or more")


def flag(field: str) -> str:
    """`inner_folds` -> `--inner-folds`."""
    return f"--{field.replace('_', '-')}"


def convert_option(kind: Any, tokens: Sequence[Token]) -> Any:
    """The value of an option: tuples are comma-separated (`a,b`), all else is converted by cyclopts."""
    if Path in (kind, *get_args(kind)):
        for token in tokens:
            refuse_url(token.value, option=token.keyword or "")
    if get_origin(kind) is tuple and get_args(kind)[-1:] == (Ellipsis,):
        parts = [part.strip() for token in tokens for part in token.value.split(",")]
        return tuple(part for part in parts if part)
    return convert(kind, tokens)


def show_default(value: object) -> str | None:
    """A default as the user would type it; None, which shows nothing, for flags and for no value."""
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or None
    return None if value is None or value is False else str(value)


class HelpPrinter:
    """How `--help` is printed: as cyclopts does, but docstrings of several lines are filled as one paragraph.

    cyclopts would print their line ends and their indentation in the source, too.
    """

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Print a panel."""
        from cyclopts.help import DefaultFormatter
        from cyclopts.help.inline_text import InlineText

        def filled(entry: HelpEntry) -> HelpEntry:
            plain = getattr(getattr(entry.description, "primary_renderable", None), "plain", "")
            if "\n" not in plain:
                return entry
            text = InlineText.from_format(" ".join(plain.split()), format="plaintext")
            return entry.copy(description=text)

        DefaultFormatter()(console, options, panel.copy(entries=[filled(entry) for entry in panel.entries]))

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        """Print the line of usage."""
        from cyclopts.help import DefaultFormatter

        DefaultFormatter().render_usage(console, options, usage)

    def render_description(self, console: Console, options: ConsoleOptions, description: Any) -> None:
        """Print what a command does."""
        from cyclopts.help import DefaultFormatter

        DefaultFormatter().render_description(console, options, description)


def apply_output_options(arguments: Iterable[object]) -> None:
    """Apply --quiet and --verbose of a command's dataclasses; with the latter, print every option's value.

    Raises InputError if both are given.
    """
    values: dict[str, object] = {}
    for argument in arguments:
        values |= option_values(argument) if is_dataclass(argument) else {}
    quiet, verbose = bool(values.pop("--quiet", False)), bool(values.pop("--verbose", False))
    if quiet and verbose:
        raise InputError("--quiet and --verbose contradict each other", do="give one of them")
    set_verbosity(Verbosity.QUIET if quiet else Verbosity.VERBOSE if verbose else Verbosity.NORMAL)
    for name, value in values.items():
        text = ", ".join(map(str, value)) if isinstance(value, tuple | list) else show_default(value)
        say_detail(f"{name}: {text or ('no' if value is False else 'none')}")


def option_values(options: object) -> dict[str, object]:
    """Every option of a command's dataclass with its value, name as typed; nested dataclasses flattened."""
    values: dict[str, object] = {}
    for field in fields(options):  # type: ignore[arg-type]
        value = getattr(options, field.name)
        if is_dataclass(value):
            values |= option_values(value)
        elif field.name in SECRET and value is not None:
            values[flag(field.name)] = "***"
        else:
            values[flag(field.name)] = value
    return values


def given_options(arguments: Sequence[str]) -> dict[str, str]:
    """The options among the words of a command line, name -> value as typed ("" for a flag)."""
    given: dict[str, str] = {}
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if word == "--":
            break
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            given[name] = value if equals else "" if following.startswith("--") else following
    return given
