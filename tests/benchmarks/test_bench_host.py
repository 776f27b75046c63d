"""The benchmark of the host measures an extraction that is complete."""

from __future__ import annotations

from argparse import Namespace

from benchmarks.bench_host import measure, write_corpus


def test_every_clip_of_the_corpus_is_embedded(tmp_path):
    write_corpus(tmp_path / "corpus", clips=5, seconds=0.3)
    measured = measure(Namespace(corpus=tmp_path / "corpus", clips=4, batch_seconds=0.5))
    assert measured["clips"] == 4
    assert 0.9 * 4 * 0.3 <= measured["audio_s"] <= 4 * 0.3
    assert set(measured["cpu_ms"]) == {"pending", "decode", "forward", "collect", "write", "all"}
