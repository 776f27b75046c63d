"""layerprobe against its peers, in one table: time, memory, error of the states, score.

    python benchmarks/peers/run.py clips.csv --model FOLDER [--limit 200]

FOLDER: a HuBERT or wav2vec2 as transformers saves it; without one, hubert-base with random weights is made in
--folder. All methods get the same clips and the same model folder, all searches the same states and folds.

error: the largest difference of a clip's mean states from transformers' with one clip at a time, relative to
the layer's largest value. UAR: of all outer test clips. Seconds and memory are those of the complete process,
with Python's start. What fails is listed with the reason. --only names some of: embed, one_at_a_time, padded,
s3prl, nkululeko, classify, grid_search. The packages of s3prl and nkululeko (together 11 GB) are
installed into --environments on first use.
"""

from __future__ import annotations

import sys
import tempfile
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from benchmarks.peers.methods import Methods, Row
from layerprobe.cache.common.console import print_json, print_table
from layerprobe.embed.manifest.clips import read_manifest

NAMES = ("embed", "one_at_a_time", "padded", "s3prl", "nkululeko", "classify", "grid_search")


def main() -> None:
    """Run each method and print the table."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, help="table of clips, 16 kHz")
    parser.add_argument("--model", type=Path, help="model folder; made if omitted")
    parser.add_argument("--target", default="emotion")
    parser.add_argument("--layer", default="6", help="layer of the searches")
    parser.add_argument("--limit", type=int, default=0, help="number of clips, spaced evenly; 0 for all")
    parser.add_argument("--folder", type=Path, help="for what the methods write; temporary if omitted")
    parser.add_argument("--environments", type=Path, default=Path(".cache/peers"), help="of peers' packages")
    parser.add_argument("--only", default=",".join(NAMES))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    wanted = arguments.only.split(",")
    if unknown := set(wanted) - set(NAMES):
        parser.error(f"--only {', '.join(sorted(unknown))}: choose from {', '.join(NAMES)}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        clips = read_manifest(arguments.clips)
        if arguments.limit:
            clips = clips[:: max(1, len(clips) // arguments.limit)][: arguments.limit]
        methods = Methods(
            clips,
            arguments.model or random_hubert(folder / "model"),
            folder.resolve(),
            target=arguments.target,
            layer=arguments.layer,
            environments=arguments.environments,
        )
        rows = {name: getattr(methods, name)() for name in NAMES if name in wanted}
    reference = rows["one_at_a_time"].states if "one_at_a_time" in rows else None
    lines = [line(row, reference) for row in rows.values()]
    if arguments.json:
        print_json(lines)
    else:
        print_table(lines, title=f"{len(clips)} clips")


def line(row: Row, reference: np.ndarray | None) -> dict[str, Any]:
    """A row as it is printed. reference: (clips, layers, columns) states that errors are relative to."""
    measured = row.measured
    known = row.states is not None and reference is not None
    return {
        "method": f"{row.method} {row.version}".strip(),
        "gives": row.gives,
        "wall s": round(measured.wall_s, 1),
        "CPU s": round(measured.cpu_s, 1),
        "peak MB": round(measured.peak_mb),
        "error": f"{error(row.states, reference, row.layer):.1e}" if known else "",
        "UAR": "" if row.uar is None else f"{row.uar:.3f}",
        "failure": measured.failure,
    }


def error(states: np.ndarray | None, reference: np.ndarray | None, layer: int | None = None) -> float:
    """The largest relative error of a layer. layer: the only one of the states, if they have one."""
    assert states is not None
    assert reference is not None
    if layer is not None:
        reference = reference[:, layer : layer + 1]
    return float((np.abs(states - reference).max((0, 2)) / np.abs(reference).max((0, 2))).max())


def random_hubert(folder: Path) -> Path:
    """hubert-base with random weights, as transformers saves it."""
    import torch
    from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

    if not (folder / "config.json").is_file():
        torch.manual_seed(0)
        HubertModel(HubertConfig()).save_pretrained(folder)
        Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main()
