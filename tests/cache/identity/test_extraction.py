"""What changes an extraction's fingerprint and a clip's key, and what does not."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerprobe.cache.common.errors import ForeignStoreError, StoreError
from layerprobe.cache.identity.extraction import LAYER_CONVENTION, Extraction
from layerprobe.cache.store.keys import clip_key
from tests.stores import extraction

DIGEST = hashlib.sha256(b"sound").hexdigest()

# One row for each thing that decides a state's numbers …
CHANGES: dict[str, dict[str, Any]] = {
    "weights (hash of the tensors' files)": {"weights": "seed:1"},
    "revision": {"revision": "0123abc"},
    "architecture configuration": {"architecture": "b"},
    "acoustic settings": {"weights": "none", "architecture": "mfcc, 40 bands"},
    "normalisation": {"normalise": False},
    "window": {"window": 20.0},
    "statistics": {"stats": ("mean", "std", "max")},
    "order of statistics": {"stats": ("std", "mean")},
    "every frame": {"stats": ("frame",)},
    "storage type": {"dtype": "float32"},
    "precision": {"precision": "bf16"},
    "layer convention": {"convention": LAYER_CONVENTION + 1},
    "layers": {"layers": ("0", "1"), "widths": (8, 8)},
    "width of a layer": {"widths": (8, 8, 5)},
    "sampling rate": {"rate": 8_000},
    "frame rate": {"frame_rate": 100.0},
    "receptive field": {"receptive_field": 0.03},
    "one channel": {"channels": "0"},
    "another audio track": {"track": 2},
}
# … and for each that does not.
SAME: dict[str, dict[str, Any]] = {
    "the model's name or path": {"model": "/home/someone/model"},
    "library versions": {"notes": {"torch": "2.12", "transformers": "6"}},
    "batch size": {"notes": {"batch_seconds": 80}},
    "device": {"notes": {"device": "cuda"}},
    "machine": {"notes": {"machine": "another"}},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_fingerprint_changes_with(change):
    assert extraction(**change).fingerprint() != extraction().fingerprint()


def test_no_two_changes_give_the_same_fingerprint():
    prints = [extraction(**change).fingerprint() for change in CHANGES.values()]
    assert len(set(prints)) == len(prints)


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_the_fingerprint_does_not_change_with(change):
    assert extraction(**change).fingerprint() == extraction().fingerprint()


def test_the_fingerprint_is_stable_across_machines_and_versions():
    """A change here makes every cache that people have useless: raise the layer convention instead."""
    assert extraction().fingerprint() == "3ce735214cf9fc91"


@pytest.mark.parametrize("change", [{}, *CHANGES.values(), *SAME.values()])
def test_a_record_survives_a_round_trip(change):
    kind = extraction(**change)
    back = Extraction.from_json(kind.to_json(), where="x")
    assert back == kind
    assert (back.model, back.notes) == (kind.model, kind.notes)


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda raw: raw.update(window=99.0), "its settings give"),
        (lambda raw: raw.update(fingerprint="0" * 16), "its settings give"),
        (lambda raw: raw.pop("dtype"), "its settings give"),
        (lambda raw: raw.update(color="red"), "its settings give"),
        (lambda raw: raw.pop("fingerprint"), "not a readable extraction record"),
        (lambda raw: raw.update(layers=3), "its settings give"),
    ],
)
def test_an_edited_record_is_refused(edit, expected):
    raw = json.loads(extraction().to_json())
    edit(raw)
    with pytest.raises(StoreError, match=f"extraction.json: .*{expected}.*--repair"):
        Extraction.from_json(json.dumps(raw), where="extraction.json")


@pytest.mark.parametrize("edit", [lambda raw: raw.pop("dtype"), lambda raw: raw.update(color="red")])
def test_an_intact_record_of_another_version_is_reported_as_foreign(edit):
    raw = json.loads(extraction().to_json())
    edit(raw)
    keyed = {k: v for k, v in raw.items() if k not in ("fingerprint", "model", "notes")}
    text = json.dumps(keyed, sort_keys=True, separators=(",", ":"))
    raw["fingerprint"] = hashlib.sha256(text.encode()).hexdigest()[:16]
    with pytest.raises(ForeignStoreError, match=r"another version of layerprobe \(fields: (dtype|color)\)"):
        Extraction.from_json(json.dumps(raw), where="extraction.json")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"fingerprint": 1}', "\x00"])
def test_invalid_json_records_are_refused(text):
    with pytest.raises(StoreError):
        Extraction.from_json(text, where="x")


def test_bytes_and_widths():
    kind = extraction()
    assert kind.bytes_per_row() == (8 + 8 + 4) * 2 * 2
    assert replace(kind, dtype="float32").bytes_per_row() == 2 * kind.bytes_per_row()
    assert [kind.width(layer) for layer in kind.layers] == [8, 8, 4]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "--model tiny --cache features --layers 0-1,cnn --stats mean,std --dtype float16 "),
        ({"notes": {"seed": 3}}, "--model tiny --cache features --seed 3 --layers 0-1,cnn "),
        (
            {"model": "my model", "weights": "ab", "revision": "c0ffee"},
            "'my model' --cache features --revision c0ffee",
        ),
        ({"layers": ("0", "1", "2", "12", "final"), "widths": (1,) * 5}, "--layers 0,1,2,12,final "),
        ({"layers": ("9",), "widths": (1,)}, "--layers 9 "),
        ({"layers": ("mfcc",), "widths": (1,)}, "--layers mfcc "),
        ({"stats": ("frame",)}, "--frames "),
        ({"channels": "1", "track": 2}, "--channels 1 --track 2 "),
        ({"window": 7.5, "precision": "bf16"}, "--precision bf16 --window 7.5"),
    ],
)
def test_the_embed_command_contains_every_option_that_changes_states(change, expected):
    command = extraction(**change).embed_command(Path("features"))
    assert command.startswith("python cli.py embed TABLE --model ")
    assert expected in f"{command} "


def test_a_complete_file_is_identified_by_its_content():
    assert clip_key(DIGEST, start=None, end=None) == DIGEST


@given(
    st.lists(
        st.tuples(st.none() | st.floats(0, 1e5), st.none() | st.floats(0, 1e5)), unique=True, max_size=20
    )
)
def test_segments_of_a_file_have_different_keys(segments):
    starts = {((start or 0.0) if (start, end) != (None, None) else None, end) for start, end in segments}
    keys = {clip_key(DIGEST, start=start, end=end) for start, end in segments}
    assert len(keys) == len(starts)
    assert all(len(key) == 64 and set(key) <= set("0123456789abcdef") for key in keys)


def test_a_segment_from_the_start_is_the_same_however_it_is_written():
    assert clip_key(DIGEST, start=None, end=2.0) == clip_key(DIGEST, start=0, end=2)
