"""layerprobe's command line: `python cli.py COMMAND`. Each room brings its own commands."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":  # before the other imports: they take a moment, in which somebody may press Ctrl-C
    from layerprobe.cache.common.interrupts import exit_on_signals

    exit_on_signals()

from pathlib import Path
from typing import Annotated

import typer
from typer.main import get_command

from layerprobe.cache.commands import cache as cache_commands
from layerprobe.cache.common.console import print_json, say
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.interrupts import STATUS, Interrupted, exit_now, raise_on_signals
from layerprobe.classify.commands import audit as audit_commands
from layerprobe.classify.commands import classify as classify_commands
from layerprobe.classify.commands import compare as compare_commands
from layerprobe.classify.commands import finetune as finetune_commands
from layerprobe.classify.commands import probe as probe_commands
from layerprobe.classify.commands import protocols as protocols_commands
from layerprobe.classify.commands import reproduce as reproduce_commands
from layerprobe.classify.controls.console import print_summary
from layerprobe.embed.commands import embed as embed_commands
from layerprobe.embed.commands import manifest as manifest_commands
from layerprobe.embed.commands import models as models_commands

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Probe the layers of frozen speech models with classical heads, and get numbers you can trust.",
)
app.add_typer(manifest_commands.app, name="manifest")
app.command()(embed_commands.embed)
app.command()(classify_commands.classify)
app.command()(finetune_commands.finetune)
app.command()(probe_commands.probe)
app.command()(audit_commands.audit)
app.command()(compare_commands.compare)
app.command()(protocols_commands.protocols)
app.command()(reproduce_commands.reproduce)
app.add_typer(cache_commands.app, name="cache")
app.command()(models_commands.models)
app.command()(models_commands.doctor)

DEMO_MODELS = ("mfcc", "random:hubert-tiny")


@app.command()
def demo(
    baved: Annotated[
        Path | None, typer.Option(help="Folder of the real BAVED corpus, instead of synthetic voices.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the corpus, the cache and the runs.")] = Path("demo"),
    trials: Annotated[int, typer.Option(help="Trials for each outer fold, layer and head.")] = 6,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summaries as one JSON document.")
    ] = False,
) -> None:
    """The main job end to end: a corpus, its states in a cache, heads tuned on every layer, a figure."""
    from layerprobe.cache.maintenance.catalog import find_store
    from layerprobe.classify.config import EvaluationConfig, StudyConfig
    from layerprobe.classify.controls.run import run as run_classify
    from layerprobe.embed.config import EmbedConfig
    from layerprobe.embed.extract.progress import run as run_embed
    from layerprobe.embed.manifest.clips import read_manifest, write_manifest
    from layerprobe.embed.manifest.corpora import CORPORA
    from layerprobe.embed.manifest.synthetic import make_corpus
    from layerprobe.embed.models.lookup import wanted_fields

    if baved is None:
        say("The voices are synthetic: 12 made-up speakers say 5 words at 3 levels of arousal.")
        folder = make_corpus(out / "corpus")
    else:
        folder = baved
    say("hubert-tiny has random weights: what it scores is what an untrained network gives away.")
    table, cache = out / "clips.csv", out / "features"
    write_manifest(CORPORA["baved"](folder).clips, table)
    clips = read_manifest(table)
    results = []
    for model in DEMO_MODELS:
        done = run_embed(clips, EmbedConfig(model=model, cache=cache))
        if done.stopped:
            raise Interrupted(f"finished clips are in {cache}; the same command resumes")
        store = find_store(cache, model=model, match=wanted_fields(model, revision=None, cache=cache))
        run = out / "runs" / model.replace(":", "-")
        results.append(
            (run, run_classify(clips, store, run, StudyConfig(trials=trials), trust=EvaluationConfig()))
        )
    if as_json:
        print_json([{"out": run, **summary} for run, summary in results])
        return
    for run, summary in results:
        print(f"\n{summary['model']}")
        print_summary(run, summary, as_json=False)
    print("\nThe same steps on speech of your own: see the README's first study.")


def tell_usage(error: typer.TyperException) -> None:
    """An unknown option or a missing argument in one line; a command without its subcommand is helped."""
    told = str(getattr(error, "format_message", error.__str__)())
    if told.startswith("Usage:"):
        say(told)
        return
    context = getattr(error, "ctx", None)
    line = " ".join(told.split()).rstrip(".?")
    where = context.command_path if context else "cli.py"
    say(f"error: {line[:1].lower()}{line[1:]}; see python {where} --help")


def main() -> None:
    """Run a command; bad input is one line and status 2, Ctrl-C one line and 130, never a traceback."""
    # Warnings of libraries about themselves are no news to a person who types a command.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        raise_on_signals()
        command = get_command(app)
        with command.make_context("cli.py", sys.argv[1:]) as context:
            command.invoke(context)
    except typer.Exit as told:
        sys.exit(told.exit_code)
    except InputError as error:
        say(f"error: {error}")
        sys.exit(2)
    except typer.TyperException as error:
        tell_usage(error)
        sys.exit(2)
    except Interrupted as stop:
        say(f"stopped: {stop}")
        sys.exit(STATUS)
    except KeyboardInterrupt:
        exit_now()
    except BrokenPipeError:
        # The reader of our output has gone; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
