"""The published table of Arabic speech emotion recognition: eight fine-tuned systems, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.finetune.config import FinetuneConfig, HeadName


@dataclass(frozen=True, kw_only=True)
class CorpusSource:
    """How to come by a corpus; `layout` is what its reader expects to find."""

    name: str
    title: str
    clips: int
    where: str
    licence: str
    layout: str


@dataclass(frozen=True, kw_only=True)
class PublishedSystem:
    """One row of the table.

    corpora: names of `embed.manifest.corpora.CORPORA`; two are joined. hub_id: the model. accuracy: as
    published, on the test part of `published_split`, of `clips` clips in all. unseen_split: what tells how the same system
    does on speakers that it has never heard. Both are names of `classify.data.protocols.PROTOCOLS`.
    """

    name: str
    corpora: tuple[str, ...]
    hub_id: str
    head: HeadName
    epochs: int
    accuracy: float
    clips: int
    classes: int
    published_split: str
    unseen_split: str

    def recipe(self, split: str, *, device: str = "cpu") -> FinetuneConfig:
        """Fine-tuning as published: all epochs, the last one kept, as the test part was looked at all along.

        device: as torch calls it. The publication trained in fp16, which takes a GPU.
        """
        return FinetuneConfig(
            split=split,
            head=self.head,
            epochs=self.epochs,
            learning_rate=1e-4,
            batch_size=4,
            accumulation=2,
            warmup=0.0,
            weight_decay=0.0,
            class_weight="none",
            precision="fp16" if device.startswith("cuda") else FinetuneConfig.precision,
            validation="none",
            seed=101,
            device=device,
        )


CORPUS_SOURCES = {
    source.name: source
    for source in (
        CorpusSource(
            name="baved",
            title="Basic Arabic Vocal Emotions Dataset",
            clips=1935,
            where="freely published by its authors under this title",
            licence="its README advises against commercial use and names no licence",
            layout="WORD/speaker-gender-age-word-level-record.wav, such as 2/12-f-21-2-2-105.wav",
        ),
        CorpusSource(
            name="eyase",
            title="Egyptian Arabic Semi-natural Emotion speech",
            clips=579,
            where="on a drive of its authors: ask them",
            licence="what its authors grant you",
            layout="one folder of files such as 'fm01_hap (3).wav' (speaker, emotion, number)",
        ),
    )
}

ELGEISH = "elgeish/wav2vec2-large-xlsr-53-arabic"
OTHRIF = "othrif/wav2vec2-large-xlsr-arabic"
ZAID = "Zaid/wav2vec2-large-xlsr-53-arabic-egyptian"
HUBERT_BASE, HUBERT_LARGE = "facebook/hubert-base-ls960", "facebook/hubert-large-ll60k"


def _row(of: str, model: str, hub_id: str, accuracy: float) -> PublishedSystem:
    """wav2vec2 got one linear layer and 5 epochs, HuBERT a dense layer more and 15."""
    corpora, clips, classes, unseen = {
        "eyase": (("eyase",), 499, 4, "eyase-loso"),
        "baved": (("baved",), 1935, 3, "baved-speaker-5"),
        "baved-eyase": (("baved", "eyase"), 2434, 7, "baved-eyase-speaker-5"),
    }[of]
    hubert = hub_id in (HUBERT_BASE, HUBERT_LARGE)
    return PublishedSystem(
        name=f"{of}-{model}",
        corpora=corpora,
        hub_id=hub_id,
        head="mlp" if hubert else "linear",
        epochs=15 if hubert else 5,
        accuracy=accuracy,
        clips=clips,
        classes=classes,
        published_split=f"{of}-random-2021",
        unseen_split=unseen,
    )


PUBLISHED: dict[str, PublishedSystem] = {
    row.name: row
    for row in (
        _row("eyase", "elgeish", ELGEISH, 0.64),
        _row("eyase", "othrif", OTHRIF, 0.67),
        _row("eyase", "zaid", ZAID, 0.67),
        _row("eyase", "hubert-base", HUBERT_BASE, 0.70),
        _row("eyase", "hubert-large", HUBERT_LARGE, 0.64),
        _row("baved", "elgeish", ELGEISH, 0.89),
        _row("baved", "hubert-base", HUBERT_BASE, 0.87),
        _row("baved-eyase", "elgeish", ELGEISH, 0.84),
    )
}


def choose(names: Sequence[str]) -> list[PublishedSystem]:
    """The rows of these names, all if none is given, in the table's order. Raises InputError."""
    for name in names:
        if name not in PUBLISHED:
            raise InputError(
                f"no row '{name}' in the published table", do=f"choose from {', '.join(PUBLISHED)}"
            )
    return [row for row in PUBLISHED.values() if not names or row.name in names]
