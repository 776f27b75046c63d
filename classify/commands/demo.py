"""The command `demo`: the main job end to end, on synthetic or real voices."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from layerprobe.cache.common.console import print_json, say
from layerprobe.cache.common.errors import InputError, ModelError
from layerprobe.cache.common.interrupts import Interrupted
from layerprobe.cache.common.options import FLAT, OutputOptions, check_choice
from layerprobe.classify.commands.compare import CompareOptions, compare
from layerprobe.classify.config import EvaluationConfig, StudyConfig
from layerprobe.classify.controls.console import print_summary
from layerprobe.embed.config import EmbedConfig

if TYPE_CHECKING:
    from layerprobe.embed.manifest.clips import Clip

BASELINE, TRAINED = "mfcc", "whisper-tiny.en"
UNTRAINED = f"random:{TRAINED}"
HEADS = ("logreg", "svm")  # the fast ones
SYNTHETIC = "baved"  # the layout of the synthetic corpus
SYNTHETIC_SIZE = 20, 3  # its speakers and words


@dataclass(frozen=True)
class DemoOptions:
    """Options of `demo`."""

    folder: Path | None = None
    """Folder of a real corpus; synthetic voices if omitted."""
    _: KW_ONLY
    corpus: str | None = None
    """Layout of the folder, as for manifest: baved, emodb, …"""
    baved: Path | None = None
    """Folder of the BAVED corpus: the same as --corpus baved FOLDER."""
    out: Path = Path("demo")
    """Folder for the corpus, the cache and the runs."""
    trials: int = 6
    """Trials for each outer fold, layer and head."""
    output: Annotated[OutputOptions, FLAT] = OutputOptions()


def demo(options: Annotated[DemoOptions, FLAT] = DemoOptions()) -> None:
    """Run the main job end to end: a corpus, cached states, heads tuned on every layer, figures.

    Compares mfcc, the trained encoder of whisper-tiny.en, and the same encoder with random weights.
    """
    from layerprobe.classify.controls.evaluation import run_and_evaluate
    from layerprobe.embed.extract.run import embed_with_progress
    from layerprobe.embed.models.lookup import find_model_store

    clips = _find_clips(options)
    cache = options.out / "features"
    study, evaluation = StudyConfig(trials=options.trials, heads=HEADS), EvaluationConfig()
    results = []
    for model in _find_models():
        if embed_with_progress(clips, EmbedConfig(model=model, cache=cache)).stopped:
            raise Interrupted(f"embedded clips are in {cache}; the same command resumes")
        run = options.out / "runs" / model.replace(":", "-")
        store = find_model_store(cache, model)
        results.append((run, run_and_evaluate(clips, store, run, study, evaluation=evaluation)))
    if options.output.json:
        print_json([{"out": run, **summary} for run, summary in results])
        return
    shown = next((result for result in results if result[1]["model"] == TRAINED), results[-1])
    print(f"\n{shown[1]['model']}")
    print_summary(*shown, as_json=False)
    print("\nall models")
    figure = options.out / "layers.svg"
    compare(CompareOptions([run for run, _ in results], figure=figure, layers=True))
    print("\nTo do the same with your own speech, see the README's first study.")


def _find_clips(options: DemoOptions) -> list[Clip]:
    """The clips of the corpus, written to clips.csv and read again. Raises InputError."""
    from layerprobe.embed.manifest.clips import read_manifest, write_manifest
    from layerprobe.embed.manifest.corpora import CORPORA
    from layerprobe.embed.manifest.synthetic import LEVELS, make_corpus

    folder, corpus = options.folder, options.corpus
    if options.baved is not None:
        if folder is not None or corpus is not None:
            raise InputError("--baved has its own folder and corpus", do="omit FOLDER and --corpus")
        folder, corpus = options.baved, "baved"
    if folder is not None and corpus is not None:
        check_choice("--corpus", corpus, CORPORA)
    elif folder is not None or corpus is not None:
        given = "a folder" if corpus is None else f"--corpus {corpus}"
        raise InputError(f"{given} is given alone", do="give both: --corpus NAME FOLDER")
    else:
        speakers, words = SYNTHETIC_SIZE
        say(
            f"The voices are synthetic: {speakers} speakers say {words} words at {LEVELS} levels of arousal, "
            "each recorded by another device in another room. They were designed to show a difference "
            "between the models, and are no evidence about real speech."
        )
        folder = make_corpus(options.out / "corpus", speakers=speakers, words=words, varied=True)
        corpus = SYNTHETIC
    table = options.out / "clips.csv"
    write_manifest(CORPORA[corpus](folder).clips, table)
    return read_manifest(table)


def _find_models() -> tuple[str, ...]:
    """The models to compare; without the trained one if its weights are not available."""
    from layerprobe.embed.models.sources import find_model

    say(f"{UNTRAINED} has random weights: its score shows what an untrained network encodes.")
    try:
        find_model(TRAINED)
    except ModelError as error:
        say(f"note: without a trained model, because of this: {error.line()}")
        return BASELINE, UNTRAINED
    return BASELINE, TRAINED, UNTRAINED
