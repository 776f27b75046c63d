"""Batches computed by several threads at a time: the same states, in order, on shared weights."""

from __future__ import annotations

import threading

import pytest
import torch

from layerprobe.cache.identity.extraction import Extraction
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.extract.batching import Window
from layerprobe.embed.extract.forward import ForwardPass
from layerprobe.embed.extract.parallel import (
    MAX_WORKERS,
    ParallelForward,
    Replicas,
    with_same_weights,
    worker_count,
)
from layerprobe.embed.extract.prefetch import Batch
from layerprobe.embed.models.backbones import open_backbone
from layerprobe.embed.models.interface import Backbone
from tests.run import tone
from tests.tiny import save_tiny
from tests.whispers import save_whisper

BUDGET = 64_000
# One of each way to keep state between calls, all of which copies must have for themselves.
MODELS = [
    *("wav2vec2-group", "data2vec", "wavlm-layer", "conformer-rotary", "sew", "w2v-bert", "whisper"),
    *("mfcc", "opensmile:eGeMAPSv02"),
]
CPU = torch.device("cpu")


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def batches(count: int) -> list[Batch]:
    """Padded batches of three clips of different lengths."""
    result = []
    for number in range(count):
        waves = [
            torch.from_numpy(tone(0.2 + 0.03 * (number + row), seed=3 * number + row)) for row in range(3)
        ]
        lengths = torch.tensor([len(wave) for wave in waves])
        padded = torch.zeros(3, int(lengths.max()))
        for row, wave in zip(padded, waves, strict=True):
            row[: len(wave)] = wave
        windows = [
            Window(clip=3 * number + row, number=0, count=1, begin=0, stop=int(n))
            for row, n in enumerate(lengths)
        ]
        result.append(Batch(windows=windows, waves=padded, lengths=lengths, failed={}))
    return result


@pytest.fixture(scope="module", params=MODELS)
def opened(request, tmp_path_factory) -> tuple[Backbone, Extraction]:
    name = request.param
    if name.startswith("opensmile:"):
        pytest.importorskip("opensmile")
    elif name != "mfcc":
        folder = tmp_path_factory.mktemp("model") / "m"
        name = str(save_whisper(folder) if name == "whisper" else save_tiny(folder, name))
    return open_backbone(EmbedConfig(model=name, device="cpu", dtype="float32"))


def test_the_states_and_their_order_are_those_of_one_thread(opened, four_threads):
    backbone, extraction = opened
    work = batches(9)
    alone = list(ForwardPass(backbone, extraction, budget=BUDGET).results(work))
    together = list(ParallelForward(Replicas(backbone), extraction, budget=BUDGET, batches=9).results(work))
    assert [result.windows for result in together] == [result.windows for result in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.frames == other.frames
        (found, peaks), (expected, their_peaks) = one.wait(), other.wait()
        for layer, states in expected.items():
            torch.testing.assert_close(found[layer], states, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(peaks, their_peaks, rtol=1e-4, atol=1e-5)


def test_the_copies_share_their_tensors_but_not_their_hooks(opened):
    backbone, _ = opened
    copy = with_same_weights(backbone)
    for name in ("model", "encoder"):
        if hasattr(backbone, name):
            own, others = getattr(backbone, name).parameters(), getattr(copy, name).parameters()
            assert all(one is other for one, other in zip(own, others, strict=True))
    (batch,) = batches(1)
    visited: list[str] = []
    copy.run(batch.waves, batch.lengths, lambda layer, _states, _frames: visited.append(layer))
    assert tuple(visited) == backbone.layers


def test_copies_are_made_once(opened):
    backbone, _ = opened
    replicas = Replicas(backbone)
    three = replicas.first(3)
    assert three[0] is backbone
    assert len({id(each) for each in three}) == 3
    assert replicas.first(2) == three[:2]
    assert replicas.first(3) == three


def test_several_batches_are_computed_at_a_time_each_by_its_own_backbone(opened, four_threads):
    backbone, extraction = opened
    both = threading.Barrier(2, timeout=60)  # breaks unless two batches are computed at the same time
    seen: set[int] = set()

    class Meeting(ForwardPass):
        def results(self, batches):
            both.wait()
            seen.add(id(self._backbone))
            return super().results(batches)

    parallel = ParallelForward(Replicas(backbone), extraction, budget=BUDGET, batches=2)
    for forward in parallel._passes:
        forward.__class__ = Meeting
    assert len(list(parallel.results(batches(2)))) == 2
    assert len(seen) == 2


def test_the_number_of_threads_is_as_before_afterwards(opened, four_threads):
    backbone, extraction = opened
    results = ParallelForward(Replicas(backbone), extraction, budget=BUDGET, batches=9).results(batches(9))
    next(results)
    results.close()  # as after Ctrl-C
    assert torch.get_num_threads() == 4
    started: list[int] = []
    thread = threading.Thread(target=lambda: started.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert started == [4]


def test_an_error_in_a_thread_reaches_the_caller(opened, four_threads, monkeypatch):
    backbone, extraction = opened
    parallel = ParallelForward(Replicas(backbone), extraction, budget=BUDGET, batches=9)

    def fail(*_arguments: object) -> None:
        raise ValueError("broken")

    for forward in parallel._passes:
        monkeypatch.setattr(forward, "_launch", fail)
    with pytest.raises(ValueError, match="broken"):
        list(parallel.results(batches(9)))


def test_the_number_of_workers(four_threads):
    assert worker_count(CPU, batches=100) == 4
    assert worker_count(CPU, batches=3) == 3
    assert worker_count(CPU, batches=1) == worker_count(CPU, batches=0) == 1
    assert worker_count(torch.device("cuda"), batches=100) == 1
    torch.set_num_threads(MAX_WORKERS + 3)
    assert worker_count(CPU, batches=100) == MAX_WORKERS
