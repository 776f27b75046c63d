"""The index of clips, compared with a dictionary."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from layerprobe.cache.store.index import ClipIndex

DIGESTS = st.sampled_from(
    [bytes([0] * 31 + [i]) for i in range(6)] + [bytes([i] + [0] * 31) for i in range(6)]
)


def array(raw: list[bytes]) -> np.ndarray:
    return np.array(raw, "S32")


@given(
    shards=st.dictionaries(st.sampled_from("abcd"), st.lists(DIGESTS, max_size=8, unique=True)),
    asked=st.lists(DIGESTS, max_size=8),
)
def test_each_clip_is_found_once_in_its_first_shard(shards, asked):
    index = ClipIndex({name: array(digests) for name, digests in shards.items()})
    expected = {}
    for name in sorted(shards, reverse=True):
        expected.update({digest: (name, row) for row, digest in enumerate(shards[name])})
    assert len(index.digests) == len(expected)
    positions = index.find(array(asked))
    assert [p >= 0 for p in positions] == [digest in expected for digest in asked]
    held = [i for i, p in enumerate(positions) if p >= 0]
    found = {}
    for group in index.by_shard(positions[held], np.array(held, int)):
        assert (np.diff(group.rows) >= 0).all()
        found.update(
            {int(i): (group.shard, int(r)) for i, r in zip(group.positions, group.rows, strict=True)}
        )
    assert found == {i: expected[asked[i]] for i in held}
    used = {(name, row) for name, mask in index.copies_in_use().items() for row in np.flatnonzero(mask)}
    assert used == set(expected.values())
