"""The command `demo`: the main job end to end, on synthetic or real voices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from layerprobe.cache.common.console import print_json, say
from layerprobe.cache.common.interrupts import Interrupted
from layerprobe.cache.common.options import FLAT, OutputOptions
from layerprobe.classify.config import EvaluationConfig, StudyConfig
from layerprobe.classify.controls.console import print_summary
from layerprobe.embed.config import EmbedConfig

MODELS = ("mfcc", "random:hubert-tiny")


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """Options of `demo`."""

    baved: Path | None = None
    """Folder of the real BAVED corpus, instead of synthetic voices."""
    out: Path = Path("demo")
    """Folder for the corpus, the cache and the runs."""
    trials: int = 6
    """Trials for each outer fold, layer and head."""
    output: Annotated[OutputOptions, FLAT] = OutputOptions()


def demo(options: Annotated[DemoOptions, FLAT] = DemoOptions()) -> None:
    """Run the main job end to end: a corpus, cached states, heads tuned on every layer, a figure."""
    from layerprobe.classify.controls.evaluation import run_and_evaluate
    from layerprobe.embed.extract.run import embed_with_progress
    from layerprobe.embed.manifest.clips import read_manifest, write_manifest
    from layerprobe.embed.manifest.corpora import CORPORA
    from layerprobe.embed.manifest.synthetic import make_corpus
    from layerprobe.embed.models.lookup import find_model_store

    if options.baved is None:
        say("The voices are synthetic: 12 speakers say 5 words at 3 levels of arousal.")
        folder = make_corpus(options.out / "corpus")
    else:
        folder = options.baved
    say("hubert-tiny has random weights: its score shows what an untrained network encodes.")
    table, cache = options.out / "clips.csv", options.out / "features"
    write_manifest(CORPORA["baved"](folder).clips, table)
    clips = read_manifest(table)
    results = []
    for model in MODELS:
        if embed_with_progress(clips, EmbedConfig(model=model, cache=cache)).stopped:
            raise Interrupted(f"embedded clips are in {cache}; the same command resumes")
        store = find_model_store(cache, model)
        run = options.out / "runs" / model.replace(":", "-")
        study = StudyConfig(trials=options.trials)
        results.append((run, run_and_evaluate(clips, store, run, study, evaluation=EvaluationConfig())))
    if options.output.json:
        print_json([{"out": run, **summary} for run, summary in results])
        return
    for run, summary in results:
        print(f"\n{summary['model']}")
        print_summary(run, summary, as_json=False)
    print("\nTo do the same with your own speech, see the README's first study.")
