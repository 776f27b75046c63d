"""The command `finetune`. Most of its options are in `classify.finetune.config`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from layerprobe.cache.common.console import Verbosity, print_json, print_table, say, set_verbosity
from layerprobe.cache.common.options import (
    DEFAULT_CACHE,
    FLAT,
    CacheFolder,
    OutputOptions,
    Revision,
    RunFolder,
    TableColumns,
    TableFile,
)
from layerprobe.cache.common.text import format_duration
from layerprobe.classify.finetune.config import FinetuneConfig


@dataclass(frozen=True)
class FinetuneOptions:
    """Options of `finetune`."""

    table: TableFile
    _: KW_ONLY
    model: str
    """Preset, hub id, local folder or random:NAME."""
    splits: Path
    """splits.json of a run on the same table, or emobox:FOLDER."""
    out: RunFolder
    folds_of: str | None = None
    """Train a part of the outer folds only, such as 2/5, the second of five parts, while other processes
    train the rest in the same run folder; the last one completes the run."""
    config: Annotated[FinetuneConfig, FLAT] = FinetuneConfig()
    cache: CacheFolder = DEFAULT_CACHE
    revision: Revision = None
    columns: Annotated[TableColumns, FLAT] = TableColumns()
    output: Annotated[OutputOptions, FLAT] = OutputOptions()


def finetune(options: Annotated[FinetuneOptions, FLAT]) -> None:
    """Train the complete model on each fold of a run's splits and test it once: full fine-tuning.

    The epoch is chosen on a speaker-disjoint part of the training part, never on the test part. Under
    torchrun or `accelerate launch`, the processes train together, each with --batch-size clips of a batch.
    """
    if "RANK" in os.environ:  # before torch is imported: each process would warn about parameters without use
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    if os.environ.get("RANK", "0") == "0":
        summary = _finetune(options)
    else:  # the first process prints what all find
        from layerprobe.classify.finetune.parallel.group import reported_by_first

        set_verbosity(Verbosity.QUIET)
        with reported_by_first():
            _finetune(options)
        return
    if summary is None:
        _print_part(options, as_json=options.output.json)
    else:
        _print_summary(options.out, summary, as_json=options.output.json)


def _finetune(options: FinetuneOptions) -> dict[str, Any] | None:
    """Train; the summary of a complete run."""
    from layerprobe.classify.finetune.parallel.folds import parse_share
    from layerprobe.classify.runs.splits_file import (
        check_classes,
        read_assignment,
        resolve_splits,
        split_name,
    )
    from layerprobe.embed.audio.headers import channel_clips
    from layerprobe.embed.manifest.clips import read_manifest

    clips = channel_clips(
        read_manifest(options.table, **vars(options.columns), must_exist=False),
        channels=options.config.channels,
        track=options.config.track,
    )
    splits = Path(resolve_splits(str(options.splits), clips))
    config = replace(options.config, split=split_name(splits) or FinetuneConfig.split)
    assignment = read_assignment(splits, clips)
    check_classes(splits)
    from layerprobe.classify.finetune.run import finetune_with_progress  # imports torch: after all is checked

    share = parse_share(options.folds_of)
    if share is not None:
        numbers = ", ".join(map(str, share.folds(len(assignment))))
        say(f"part {share.part} of {share.count}: outer folds {numbers} of 0 to {len(assignment) - 1}")
    return finetune_with_progress(
        clips,
        assignment,
        model=options.model,
        out=options.out,
        config=config,
        cache=options.cache,
        revision=options.revision,
        share=share,
        command={
            "table": str(options.table.resolve()),
            **vars(options.columns),
            "splits": str(splits),
            "revision": options.revision,
        },
    )


def _print_part(options: FinetuneOptions, *, as_json: bool) -> None:
    """Print that a part is trained and others are not."""
    if as_json:
        print_json({"out": options.out, "part": options.folds_of, "finished": False})
        return
    print(f"part {options.folds_of} is trained; the run is complete when the other parts are: {options.out}")


def _print_summary(out: Path, summary: Mapping[str, Any], *, as_json: bool) -> None:
    """Print the run's result: each fold, the score with its interval, the cost of the run."""
    if as_json:
        print_json({"out": out, **summary})
        return
    from layerprobe.classify.runs.run_folder import RUN, read_json
    from layerprobe.classify.search.console import print_scores, remarks

    selected = summary["selected"]
    print_table(
        [
            {
                "fold": fold["fold"],
                "head": fold["params"]["head"],
                "rate": f"{fold['params']['learning_rate']:.1e}",
                "best epoch": fold["params"]["epoch"],
                "validation": fold["inner_score"],
                "test UAR": fold["uar"],
                "test accuracy": fold["accuracy"],
            }
            for fold in selected["folds"]
        ]
    )
    uar, accuracy = selected["uar"], selected["accuracy"]["value"]
    interval = "" if uar["low"] is None else f" [{uar['low']:.3f}, {uar['high']:.3f}]"
    print(f"\nfine-tuned {summary['model']}, split: {selected['split']}")
    print(f"UAR {uar['value']:.3f}{interval}, accuracy {accuracy:.3f}, chance {summary['chance']:.3f}")
    cost = read_json(out / RUN)["cost"]
    duration, trained = format_duration(cost["wall_s"]), cost["trained_parameters"]
    print(f"{trained:,} parameters trained in {duration} on {cost['device']}")
    print()
    print_scores(summary)
    for line in remarks(summary):
        say(f"note: {line}")
    print(f"run folder {out}, figure {out / 'figures' / 'curves.svg'}")
