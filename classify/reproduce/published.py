"""The published table of Arabic speech emotion recognition: eight fine-tuned systems, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.finetune.config import FinetuneConfig, HeadName


@dataclass(frozen=True, kw_only=True)
class CorpusSource:
    """Where to get a corpus; `layout` is the file layout that its reader expects."""

    title: str
    clips: int
    where: str
    licence: str
    layout: str


@dataclass(frozen=True, kw_only=True)
class PublishedSystem:
    """One row of the table.

    corpora: names in `embed.manifest.corpora.CORPORA`; two are joined. accuracy: on the test partition of
    `published_split`. clips: in all partitions. unseen_split: a speaker-independent split of the same clips;
    both are names in `classify.data.protocols.PROTOCOLS`.
    """

    name: str
    corpora: tuple[str, ...]
    hub_id: str
    head: HeadName
    epochs: int
    accuracy: float
    clips: int
    published_split: str
    unseen_split: str

    def recipe(self, split: str, *, device: str = "cpu") -> FinetuneConfig:
        """The published fine-tuning: no validation partition, the last epoch is the result.

        device: in torch's notation. The publication trained in fp16, which needs a GPU.
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
    "baved": CorpusSource(
        title="Basic Arabic Vocal Emotions Dataset",
        clips=1935,
        where="freely published by its authors under this title",
        licence="its README advises against commercial use and names no licence",
        layout="WORD/speaker-gender-age-word-level-record.wav, such as 2/12-f-21-2-2-105.wav",
    ),
    "eyase": CorpusSource(
        title="Egyptian Arabic Semi-natural Emotion speech",
        clips=579,
        where="on a drive of its authors: ask them",
        licence="what its authors grant you",
        layout="one folder of files such as 'fm01_hap (3).wav' (speaker, emotion, number)",
    ),
}

_DATA_SETS = {  # corpora, clips, speaker-independent split
    "eyase": (("eyase",), 499, "eyase-loso"),
    "baved": (("baved",), 1935, "baved-speaker-5"),
    "baved-eyase": (("baved", "eyase"), 2434, "baved-eyase-speaker-5"),
}
_HUB_IDS = {
    "elgeish": "elgeish/wav2vec2-large-xlsr-53-arabic",
    "othrif": "othrif/wav2vec2-large-xlsr-arabic",
    "zaid": "Zaid/wav2vec2-large-xlsr-53-arabic-egyptian",
    "hubert-base": "facebook/hubert-base-ls960",
    "hubert-large": "facebook/hubert-large-ll60k",
}


def _system(data_set: str, model: str, accuracy: float) -> PublishedSystem:
    """The wav2vec 2.0 systems have one linear layer and 5 epochs, the HuBERT systems an MLP and 15."""
    corpora, clips, unseen_split = _DATA_SETS[data_set]
    hubert = model.startswith("hubert")
    return PublishedSystem(
        name=f"{data_set}-{model}",
        corpora=corpora,
        hub_id=_HUB_IDS[model],
        head="mlp" if hubert else "linear",
        epochs=15 if hubert else 5,
        accuracy=accuracy,
        clips=clips,
        published_split=f"{data_set}-random-2021",
        unseen_split=unseen_split,
    )


PUBLISHED: dict[str, PublishedSystem] = {
    system.name: system
    for system in (
        _system("eyase", "elgeish", 0.64),
        _system("eyase", "othrif", 0.67),
        _system("eyase", "zaid", 0.67),
        _system("eyase", "hubert-base", 0.70),
        _system("eyase", "hubert-large", 0.64),
        _system("baved", "elgeish", 0.89),
        _system("baved", "hubert-base", 0.87),
        _system("baved-eyase", "elgeish", 0.84),
    )
}


def choose(names: Sequence[str]) -> list[PublishedSystem]:
    """The named rows, or all if there are no names, in the table's order. Raises InputError."""
    for name in names:
        if name not in PUBLISHED:
            raise InputError(
                f"no row '{name}' in the published table", do=f"choose from {', '.join(PUBLISHED)}"
            )
    return [system for system in PUBLISHED.values() if not names or system.name in names]
