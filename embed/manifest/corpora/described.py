"""Corpora that have readers of their own, as `manifest list` prints them."""

from __future__ import annotations

from layerprobe.embed.manifest.corpora.entry import Description

DESCRIBED: tuple[Description, ...] = (
    Description(
        name="anad",
        title="Arabic Natural Audio Dataset",
        example="1sec_segmented_part1/V1_2 (3).wav (video, part, number), with ANAD.csv",
        clips=1384,
        citation="Klaylat et al. 2018, Analog Integrated Circuits and Signal Processing 96, 337-351",
        licence="CC BY-NC-SA 4.0",
        source="https://www.kaggle.com/datasets/suso172/arabic-natural-audio-dataset",
    ),
    Description(
        name="iemocap",
        title="Interactive Emotional Dyadic Motion Capture Database",
        example="Session1/dialog/EmoEvaluation/Ses01F_impro01.txt, with the recordings of its turns",
        clips=10039,
        speakers=10,
        citation="Busso et al. 2008, Language Resources and Evaluation 42, 335-359",
        licence="on request",
        source="https://sail.usc.edu/iemocap/",
    ),
    Description(
        name="meld",
        title="Multimodal EmotionLines Dataset",
        example="train_splits/dia0_utt0.mp4, with train_sent_emo.csv",
        clips=13708,
        citation="Poria et al. 2019, ACL, 527-536",
        licence="GPL-3.0",
        source="https://github.com/declare-lab/MELD",
    ),
    Description(
        name="msp-podcast",
        title="MSP-Podcast Corpus",
        example="Audios/MSP-PODCAST_0001_0008.wav, with Labels/labels_consensus.csv",
        citation="Lotfian and Busso 2019, IEEE Transactions on Affective Computing 10(4), 471-483",
        licence="academic or commercial, on request",
        source="https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Podcast.html",
    ),
)
