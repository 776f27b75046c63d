"""Corpora that have readers of their own, as `manifest list` prints them."""

from __future__ import annotations

from layerprobe.embed.manifest.corpora.entry import Description

DESCRIBED: tuple[Description, ...] = (
    Description(
        name="baved",
        title="Basic Arabic Vocal Emotions Dataset",
        example="5/12-f-21-5-2-105.wav (speaker-gender-age-word-level-record)",
        clips=1935,
        speakers=61,
        citation="Aouf 2019",
        licence="not stated",
        source="https://github.com/40uf411/Basic-Arabic-Vocal-Emotions-Dataset",
    ),
    Description(
        name="eyase",
        title="Egyptian Arabic Semi-natural Emotion speech",
        example="fm01_hap (3).wav (speaker, emotion, number)",
        clips=579,
        speakers=6,
        citation="Abdel-Hamid 2020, Speech Communication 122, 19-30",
        licence="on request",
        source="https://doi.org/10.1016/j.specom.2020.04.005",
    ),
    Description(
        name="ksuemotions",
        title="King Saud University Emotions",
        example="data/SPEECH/Phase_1/E05/D05E05P003S18T02.flac (E emotion, P speaker, S sentence, T trial)",
        speakers=23,
        citation="Meftah et al. 2017, LDC2017S12",
        licence="of the Linguistic Data Consortium, paid",
        source="https://catalog.ldc.upenn.edu/LDC2017S12",
    ),
    Description(
        name="anad",
        title="Arabic Natural Audio Dataset",
        example="1sec_segmented_part1/V1_2 (3).wav (video, part, number), with ANAD.csv",
        clips=1384,
        citation="Klaylat et al. 2018, Analog Integrated Circuits and Signal Processing 96, 337-351",
        licence="not stated",
        source="https://www.kaggle.com/datasets/suso172/arabic-natural-audio-dataset",
    ),
    Description(
        name="emodb",
        title="Berlin Database of Emotional Speech",
        example="03a01Fa.wav (speaker, text, emotion, version)",
        clips=535,
        speakers=10,
        citation="Burkhardt et al. 2005, Interspeech, 1517-1520",
        licence="not stated",
        source="http://emodb.bilderbar.info",
    ),
)
