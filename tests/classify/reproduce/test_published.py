"""The published table matches the publication, and rows are chosen by name."""

from __future__ import annotations

import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.data.protocols import PROTOCOLS
from layerprobe.classify.reproduce.published import CORPUS_SOURCES, PUBLISHED, choose
from layerprobe.embed.manifest.corpora import CORPORA
from layerprobe.embed.models.presets import PRESETS

TABLE = [  # corpora, hub id, clips, accuracy in %
    ("eyase", "elgeish/wav2vec2-large-xlsr-53-arabic", 499, 64),
    ("eyase", "othrif/wav2vec2-large-xlsr-arabic", 499, 67),
    ("eyase", "Zaid/wav2vec2-large-xlsr-53-arabic-egyptian", 499, 67),
    ("eyase", "facebook/hubert-base-ls960", 499, 70),
    ("eyase", "facebook/hubert-large-ll60k", 499, 64),
    ("baved", "elgeish/wav2vec2-large-xlsr-53-arabic", 1935, 89),
    ("baved", "facebook/hubert-base-ls960", 1935, 87),
    ("baved + eyase", "elgeish/wav2vec2-large-xlsr-53-arabic", 2434, 84),
]


def test_the_rows_match_the_published_table():
    rows = [(" + ".join(r.corpora), r.hub_id, r.clips, round(100 * r.accuracy)) for r in PUBLISHED.values()]
    assert rows == TABLE


def test_corpora_models_and_protocols_of_every_row_exist():
    for name, row in PUBLISHED.items():
        assert row.name == name
        assert set(row.corpora) <= CORPORA.keys() & CORPUS_SOURCES.keys()
        assert row.hub_id in {preset.hub_id for preset in PRESETS.values()}
        published, unseen = PROTOCOLS[row.published_split], PROTOCOLS[row.unseen_split]
        assert "random_state=101" in published.rule.description
        assert not published.rule.speaker_disjoint
        assert unseen.rule.speaker_disjoint


def test_the_recipe_matches_the_publication():
    wav2vec2, hubert = PUBLISHED["baved-elgeish"].recipe("x"), PUBLISHED["baved-hubert-base"].recipe("x")
    assert (wav2vec2.head, wav2vec2.epochs, hubert.head, hubert.epochs) == ("linear", 5, "mlp", 15)
    for config in (wav2vec2, hubert):
        assert (config.learning_rate, config.warmup, config.batch_size, config.accumulation) == (
            1e-4,
            0,
            4,
            2,
        )
        assert (config.validation, config.freeze, config.class_weight) == ("none", "cnn", "none")
        assert (config.lora, config.weighted_layers, config.trials) == (0, False, 0)
        assert (config.seed, config.weight_decay, config.spec_augment) == (101, 0, True)
    assert [PUBLISHED["eyase-zaid"].recipe("x", device=name).precision for name in ("cuda:0", "cpu")] == [
        "fp16",
        "auto",
    ]


def test_rows_are_chosen_by_name():
    assert [row.name for row in choose(())] == list(PUBLISHED)
    assert [row.name for row in choose(["baved-elgeish", "eyase-zaid"])] == ["eyase-zaid", "baved-elgeish"]
    with pytest.raises(InputError, match="no row 'baved' in the published table; choose from eyase-elgeish"):
        choose(["baved"])
