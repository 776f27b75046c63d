"""The command `finetune`: parse, train, print."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer

from layerprobe.cache.common.console import print_json, print_table, progress, say
from layerprobe.cache.common.interrupts import Interrupted
from layerprobe.cache.common.text import format_duration
from layerprobe.classify.config import Metric
from layerprobe.classify.finetune.config import (
    REPORTERS,
    ClassWeight,
    FinetuneConfig,
    Freeze,
    HeadName,
    Validation,
)
from layerprobe.embed.config import DEFAULT_CACHE, DEVICES, PRECISIONS

METRICS = get_args(Metric)


def finetune(
    table: Annotated[Path, typer.Argument(help="Table of clips: CSV, TSV or Parquet.", show_default=False)],
    model: Annotated[
        str, typer.Option(help="Preset, hub id, local folder or random:NAME.", show_default=False)
    ],
    splits: Annotated[Path, typer.Option(help="splits.json of a run on the same table.", show_default=False)],
    out: Annotated[
        Path, typer.Option(help="Run folder to write; an interrupted run goes on in it.", show_default=False)
    ],
    target: Annotated[str, typer.Option(help="Column with the label.")] = FinetuneConfig.target,
    head: Annotated[
        str, typer.Option(help=f"On the pooled states: {', '.join(get_args(HeadName))}.")
    ] = FinetuneConfig.head,
    epochs: Annotated[
        int, typer.Option(help="Passes over the training clips, at most.")
    ] = FinetuneConfig.epochs,
    learning_rate: Annotated[
        float, typer.Option(help="Its peak; it falls linearly to zero.")
    ] = FinetuneConfig.learning_rate,
    batch_size: Annotated[int, typer.Option(help="Clips in one pass.")] = FinetuneConfig.batch_size,
    accumulation: Annotated[
        int, typer.Option(help="Passes that make one step of the optimizer.")
    ] = FinetuneConfig.accumulation,
    warmup: Annotated[
        float, typer.Option(help="Share of the steps over which the rate rises.")
    ] = FinetuneConfig.warmup,
    weight_decay: Annotated[float, typer.Option(help="Of AdamW.")] = FinetuneConfig.weight_decay,
    dropout: Annotated[float, typer.Option(help="Of the head.")] = FinetuneConfig.dropout,
    freeze: Annotated[
        str, typer.Option(help=f"{', '.join(get_args(Freeze))}: what is not trained.")
    ] = FinetuneConfig.freeze,
    weighted_layers: Annotated[
        bool, typer.Option("--weighted-layers", help="Pool a softmax-weighted sum of all layers.")
    ] = FinetuneConfig.weighted_layers,
    lora: Annotated[
        int, typer.Option(help="Rank of low-rank adapters trained instead of the model; 0 for none.")
    ] = FinetuneConfig.lora,
    class_weight: Annotated[
        str, typer.Option(help=f"Of the loss: {', '.join(get_args(ClassWeight))}.")
    ] = FinetuneConfig.class_weight,
    precision: Annotated[
        str, typer.Option(help=f"{', '.join(PRECISIONS)}; auto is bf16 on a GPU that has it.")
    ] = FinetuneConfig.precision,
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Compute blocks twice and hold less memory.")
    ] = FinetuneConfig.gradient_checkpointing,
    window: Annotated[
        float, typer.Option(help="Longer clips are cut, and their windows' logits averaged; seconds.")
    ] = FinetuneConfig.window,
    validation: Annotated[
        str,
        typer.Option(help=f"{', '.join(get_args(Validation))}: who of the training part picks the epoch."),
    ] = FinetuneConfig.validation,
    patience: Annotated[
        int, typer.Option(help="Epochs without a better validation score, then it stops; 0 for never.")
    ] = FinetuneConfig.patience,
    metric: Annotated[
        str, typer.Option(help=f"Of the validation part: {', '.join(METRICS)}.")
    ] = FinetuneConfig.metric,
    no_spec_augment: Annotated[
        bool,
        typer.Option("--no-spec-augment", help="Mask no frames, whatever the model's configuration says."),
    ] = not FinetuneConfig.spec_augment,
    trials: Annotated[
        int, typer.Option(help="Of a search over rate, epochs, dropout and head; 0 for none.")
    ] = FinetuneConfig.trials,
    seed: Annotated[int, typer.Option(help="Decides all that is random.")] = FinetuneConfig.seed,
    device: Annotated[str, typer.Option(help=f"{', '.join(DEVICES)}.")] = FinetuneConfig.device,
    workers: Annotated[
        int, typer.Option(help="Processes that decode ahead; -1 for what suits the device.")
    ] = FinetuneConfig.workers,
    keep_models: Annotated[
        bool, typer.Option("--keep-models", help="Leave each fold's trained weights in the run folder.")
    ] = FinetuneConfig.keep_models,
    report_to: Annotated[
        str, typer.Option(help=f"Where the curves go too: {', '.join(REPORTERS)}.")
    ] = FinetuneConfig.report_to,
    cache: Annotated[Path, typer.Option(help="Folder where hashes are remembered.")] = DEFAULT_CACHE,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub model.")] = None,
    path_column: Annotated[str | None, typer.Option(help="Column with the audio files.")] = None,
    speaker_column: Annotated[str | None, typer.Option(help="Column with the speakers.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print summary.json instead of a table.")] = False,
) -> None:
    """Train a whole model on each fold of a run's splits and test it once, to compare with frozen heads.

    The epoch is picked on a speaker-disjoint part of the training part, never on the test part.
    """
    from layerprobe.classify.runs.splits_file import read_assignment, split_name
    from layerprobe.embed.manifest.clips import read_manifest

    config = FinetuneConfig(
        target=target,
        split=split_name(splits) or FinetuneConfig.split,
        head=cast("HeadName", head),
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        accumulation=accumulation,
        warmup=warmup,
        weight_decay=weight_decay,
        dropout=dropout,
        freeze=cast("Freeze", freeze),
        weighted_layers=weighted_layers,
        lora=lora,
        class_weight=cast("ClassWeight", class_weight),
        precision=precision,
        gradient_checkpointing=gradient_checkpointing,
        window=window,
        validation=cast("Validation", validation),
        patience=patience,
        metric=cast("Metric", metric),
        spec_augment=not no_spec_augment,
        trials=trials,
        seed=seed,
        report_to=report_to,
        device=device,
        workers=workers,
        keep_models=keep_models,
    )
    clips = read_manifest(table, path_column=path_column, speaker_column=speaker_column, must_exist=False)
    assignment = read_assignment(splits, clips)
    command = {
        "table": str(table.resolve()),
        "path_column": path_column,
        "speaker_column": speaker_column,
        "splits": str(splits.resolve()),
        "revision": revision,
    }
    given = {"model": model, "revision": revision, "cache": cache, "command": command}
    tell_summary(out, run(clips, assignment, out, config, **given), as_json=as_json)


def run(clips: Any, assignment: Any, out: Path, config: FinetuneConfig, **given: Any) -> dict[str, Any]:
    """Fine-tune while a person watches; the run's summary."""
    from layerprobe.classify.finetune.run import finetune as train

    try:
        with progress(f"finetune {given['model']}") as line:
            return train(
                clips,
                assignment,
                out=out,
                config=config,
                report=lambda now: line.update(now.share, now.status),
                **given,
            )
    except KeyboardInterrupt:
        saved = f"finished folds and the last checkpoint are kept in {out}"
        raise Interrupted(f"{saved}; the same command resumes") from None


def tell_summary(out: Path, summary: Mapping[str, Any], *, as_json: bool) -> None:
    """The run's result: each fold, the score with its interval, what the run cost."""
    if as_json:
        print_json({"out": out, **summary})
        return
    from layerprobe.classify.runs.folder import RUN, read_json
    from layerprobe.classify.search.console import print_scores, remarks

    chosen = summary["selected"]
    print_table(
        [
            {
                "fold": fold["fold"],
                "head": fold["params"]["head"],
                "rate": f"{fold['params']['learning_rate']:.1e}",
                "epoch kept": fold["params"]["epoch"],
                "validation": fold["inner_score"],
                "test UAR": fold["uar"],
                "test accuracy": fold["accuracy"],
            }
            for fold in chosen["folds"]
        ]
    )
    uar, accuracy = chosen["uar"], chosen["accuracy"]["value"]
    interval = "" if uar["low"] is None else f" [{uar['low']:.3f}, {uar['high']:.3f}]"
    print(f"\nfine-tuned {summary['model']}, split: {chosen['split']}")
    print(f"UAR {uar['value']:.3f}{interval}, accuracy {accuracy:.3f}, chance {summary['chance']:.3f}")
    cost = read_json(out / RUN)["cost"]
    took, trained = format_duration(cost["wall_s"]), cost["trained_parameters"]
    print(f"{trained:,} parameters trained in {took} on {cost['device']}")
    print()
    print_scores(summary)
    for line in remarks(summary):
        say(f"note: {line}")
    print(f"run folder {out}, figure {out / 'figures' / 'curves.svg'}")
