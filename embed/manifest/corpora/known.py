"""Known corpora as data: how their files are named, what the codes mean, where they come from.

To add a corpus, write an entry with one pattern per naming scheme (see `patterns`) and a test on a made tree.
"""

from __future__ import annotations

from layerprobe.embed.manifest.corpora.arabic import ARABIC
from layerprobe.embed.manifest.corpora.entry import SEE_PAGE, KnownCorpus
from layerprobe.embed.manifest.corpora.ravdess import RAVDESS

_FOLDER = "{emotion:Angry|Happy|Neutral|Sad|Surprise}"
_WORDS = {
    **{"angry": "anger", "happy": "happiness", "sad": "sadness"},
    **{"Angry": "anger", "Happy": "happiness", "Sad": "sadness", "Neutral": "neutral", "Calm": "calm"},
    "Surprise": "surprise",
}
_EMODB_MEN = ("03", "10", "11", "12", "15")


KNOWN: tuple[KnownCorpus, ...] = (
    *ARABIC,
    KnownCorpus(
        name="emodb",
        title="Berlin Database of Emotional Speech",
        patterns=(
            "{speaker:##}{text:3}{emotion:W|L|E|A|F|T|N}{version:1}",
            "{speaker:##}{text:3}{emotion:W|L|E|A|F|T|N}",
        ),
        example="03a01Fa.wav (speaker, text, emotion, version)",
        maps={
            "emotion": {
                **{"W": "anger", "L": "boredom", "E": "disgust", "A": "fear"},
                **{"F": "happiness", "T": "sadness", "N": "neutral"},
            }
        },
        derived={"gender": lambda fields: "m" if fields["speaker"] in _EMODB_MEN else "f"},
        clips=535,
        speakers=10,
        citation="Burkhardt et al. 2005, Interspeech, 1517-1520",
        licence=SEE_PAGE,
        source="http://emodb.bilderbar.info",
    ),
    *RAVDESS,
    KnownCorpus(
        name="crema-d",
        title="Crowd-sourced Emotional Multimodal Actors Dataset",
        patterns=("{speaker:4}_{text:3}_{emotion:ANG|DIS|FEA|HAP|NEU|SAD}_{level:LO|MD|HI|XX|X}",),
        example="AudioWAV/1001_DFA_ANG_XX.wav (actor_sentence_emotion_level)",
        maps={
            "emotion": {
                **{"ANG": "anger", "DIS": "disgust", "FEA": "fear"},
                **{"HAP": "happiness", "NEU": "neutral", "SAD": "sadness"},
            },
            "level": {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified", "X": "unspecified"},
        },
        clips=7442,
        speakers=91,
        citation="Cao et al. 2014, IEEE Transactions on Affective Computing 5(4), 377-390",
        licence="Open Database License and Database Contents License",
        source="https://github.com/CheyneyComputerScience/CREMA-D",
    ),
    KnownCorpus(
        name="tess",
        title="Toronto Emotional Speech Set",
        patterns=("{speaker:OAF|OA|YAF}_{word}_{emotion:angry|disgust|fear|happy|neutral|ps|sad}",),
        example="OAF_back_angry.wav (actress_word_emotion)",
        maps={"speaker": {"OA": "OAF"}, "emotion": _WORDS | {"ps": "surprise"}},
        clips=2800,
        speakers=2,
        citation="Pichora-Fuller and Dupuis 2020, doi 10.5683/SP2/E8H2MF",
        licence="CC BY-NC-ND 4.0",
        source="https://doi.org/10.5683/SP2/E8H2MF",
    ),
    KnownCorpus(
        name="savee",
        title="Surrey Audio-Visual Expressed Emotion",
        patterns=(
            "{speaker:DC|JE|JK|KL}_{emotion:a|d|f|h|n|sa|su}{number:2}",
            "{speaker:DC|JE|JK|KL}/{emotion:a|d|f|h|n|sa|su}{number:2}",
        ),
        example="DC/a01.wav or DC_a01.wav (speaker, emotion, number)",
        maps={
            "emotion": {
                **{"a": "anger", "d": "disgust", "f": "fear", "h": "happiness"},
                **{"n": "neutral", "sa": "sadness", "su": "surprise"},
            }
        },
        clips=480,
        speakers=4,
        citation="Haq and Jackson 2009, AVSP, 53-58",
        licence="free of charge for research only, on request",
        source="http://kahlan.eps.surrey.ac.uk/savee/",
    ),
    KnownCorpus(
        name="urdu",
        title="URDU-Dataset",
        patterns=("{speaker}_{take}_{emotion:A|H|N|S}{number}",),
        example="Neutral/SM5_F63_N091.wav (speaker_take_emotion and number)",
        maps={"emotion": {"A": "anger", "H": "happiness", "N": "neutral", "S": "sadness"}},
        clips=400,
        speakers=38,
        citation="Latif et al. 2018, FIT, 88-93",
        licence=SEE_PAGE,
        source="https://github.com/siddiquelatif/URDU-Dataset",
    ),
    KnownCorpus(
        name="shemo",
        title="Sharif Emotional Speech Database",
        patterns=("{speaker:3}{emotion:A|F|H|N|S|W}{number:2}", "{speaker:3}{emotion:A|F|H|N|S|W}{number:3}"),
        example="female/F01S01.wav (speaker, emotion, number)",
        maps={
            "emotion": {
                **{"A": "anger", "F": "fear", "H": "happiness"},
                **{"N": "neutral", "S": "sadness", "W": "surprise"},
            }
        },
        clips=3000,
        speakers=87,
        citation="Mohamad Nezami et al. 2019, Language Resources and Evaluation 53(1), 1-16",
        licence="free of charge for academic purposes",
        source="https://github.com/pariajm/sharif-emotional-speech-database",
    ),
    KnownCorpus(
        name="aesdd",
        title="Acted Emotional Speech Dynamic Database",
        patterns=(
            "{emotion:a|d|f|h|s}{text:2} ({speaker:1})",
            "{emotion:a|d|f|h|s}{text:2} (0{speaker:1})",
            "{emotion:a|d|f|h|s}{text:2} ({speaker:1}){version:1}",
        ),
        example="anger/a06 (5).wav (emotion, text, speaker)",
        maps={
            "emotion": {"a": "anger", "d": "disgust", "f": "fear", "h": "happiness", "s": "sadness"},
        },
        citation="Vryzas et al. 2018, Journal of the Audio Engineering Society 66(6), 457-467",
        licence=SEE_PAGE,
        source="https://m3c.web.auth.gr/research/aesdd-speech-emotion-recognition/",
    ),
    KnownCorpus(
        name="cafe",
        title="Canadian French Emotional speech dataset",
        patterns=("{speaker:2}-{emotion:C|D|J|N|P|S|T}-{intensity:1|2}-{text:1}",),
        example="Peur/Fort/08-P-2-1.wav (actor-emotion-intensity-sentence)",
        maps={
            "emotion": {
                **{"C": "anger", "D": "disgust", "J": "happiness", "N": "neutral"},
                **{"P": "fear", "S": "surprise", "T": "sadness"},
            },
            "intensity": {"1": "mild", "2": "strong"},
        },
        clips=936,
        speakers=12,
        citation="Gournay, Lahaie and Lefebvre 2018, ACM MMSys, 399-402",
        licence="CC BY-NC-SA 4.0",
        source="https://zenodo.org/records/1478765",
    ),
    KnownCorpus(
        name="emovo",
        title="EMOVO, Italian emotional speech",
        patterns=("{emotion:dis|gio|neu|pau|rab|sor|tri}-{speaker:2}-{text:2}",),
        example="f2/gio-f2-b2.wav (emotion-speaker-sentence)",
        maps={
            "emotion": {
                **{"dis": "disgust", "gio": "happiness", "neu": "neutral", "pau": "fear"},
                **{"rab": "anger", "sor": "surprise", "tri": "sadness"},
            }
        },
        clips=588,
        speakers=6,
        citation="Costantini et al. 2014, LREC, 3501-3504",
        licence=SEE_PAGE,
        source="http://voice.fub.it/activities/corpora/emovo/",
    ),
    KnownCorpus(
        name="jl",
        title="JL corpus, New Zealand English",
        patterns=("{speaker:female1|female2|male1|male2}_{emotion}_{text}_{repetition:1}",),
        example="female1_angry_10a_1.wav (speaker_emotion_sentence_repetition)",
        maps={"emotion": _WORDS},
        clips=2400,
        speakers=4,
        citation="James, Tian and Watson 2018, Interspeech, 2768-2772",
        licence="CC0 1.0",
        source="https://github.com/tli725/JL-Corpus",
    ),
    KnownCorpus(
        name="esd",
        title="Emotional Speech Dataset, English and Mandarin",
        patterns=(
            f"{{speaker:4}}/{_FOLDER}/{{speaker}}_{{number:6}}",
            f"{{speaker:4}}/{_FOLDER}/{{subset:evaluation|test|train}}/{{speaker}}_{{number:6}}",
        ),
        example="0011/Angry/0011_000351.wav (speaker/emotion/speaker_number)",
        maps={"emotion": _WORDS},
        clips=35000,
        speakers=20,
        citation="Zhou et al. 2022, Speech Communication 137, 1-18",
        licence="academic, on request",
        source="https://github.com/HLTSingapore/Emotional-Speech-Data",
    ),
    KnownCorpus(
        name="ased",
        title="Amharic Speech Emotion Dataset",
        patterns=("{emotion:n1|f2|h3|s4|a5}-{text:2}-{repetition:2}-{gender:01|02}-{speaker:2}",),
        example="05Angry/a5-06-01-01-21.wav (emotion-sentence-repetition-gender-speaker)",
        maps={
            "emotion": {"n1": "neutral", "f2": "fear", "h3": "happiness", "s4": "sadness", "a5": "anger"},
        },
        clips=2474,
        speakers=65,
        citation="Retta et al. 2023, ACM TALLIP 22(1), 1-22",
        licence=SEE_PAGE,
        source="https://github.com/Ethio2021/ASED_V1",
    ),
    KnownCorpus(
        name="turev",
        title="Turkish Emotion Voice Database",
        patterns=("{emotion:Angry|Calm|Happy|Sad}/{speaker:4}_{_:2}_{word}",),
        example="Calm/1984_sk_orgu.wav (emotion/speaker_emotion_word)",
        maps={"emotion": _WORDS},
        clips=1735,
        speakers=6,
        citation="Canpolat et al. 2020, SLTU-CCURL, 368-375",
        licence="CC BY-NC-ND 4.0",
        source="https://github.com/Xeonen/TurEV-DB",
    ),
)
