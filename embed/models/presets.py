"""Models known by a short name: checkpoints (`PRESETS`) and acoustic features (`ACOUSTIC_PRESETS`)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

# transformers' configurations of the presets, so that `models` and `random:` need no network.
ARCHITECTURES = Path(__file__).with_name("architectures.json")
RANDOM = "random:"  # `random:NAME`: NAME's architecture with random weights


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A checkpoint known by a short name; `architecture` is its entry in architectures.json."""

    hub_id: str | None  # None: an architecture for random weights only
    architecture: str
    # Whether it expects clips of mean 0 and variance 1, for copies without their preprocessor_config.json;
    # None: not known here, so that such a copy is refused.
    normalise: bool | None = True


_XLSR = "wav2vec2-large-layer-norm"
_WHISPER_SIZES = {
    **{f"{size}{english}": size for size in ("tiny", "base", "small", "medium") for english in ("", ".en")},
    **{"large": "large", "large-v2": "large", "large-v3": "large-v3", "large-v3-turbo": "large-v3"},
}
PRESETS: dict[str, Preset] = {
    "wav2vec2-base": Preset(hub_id="facebook/wav2vec2-base", architecture="wav2vec2-base"),
    "wav2vec2-large": Preset(hub_id="facebook/wav2vec2-large", architecture="wav2vec2-large"),
    "wav2vec2-large-xlsr-53": Preset(hub_id="facebook/wav2vec2-large-xlsr-53", architecture=_XLSR),
    "xls-r-300m": Preset(hub_id="facebook/wav2vec2-xls-r-300m", architecture=_XLSR),
    "hubert-base": Preset(hub_id="facebook/hubert-base-ls960", architecture="hubert-base"),
    "hubert-large": Preset(hub_id="facebook/hubert-large-ll60k", architecture="hubert-large"),
    "wavlm-base": Preset(hub_id="microsoft/wavlm-base", architecture="wavlm-base", normalise=False),
    "wavlm-base-plus": Preset(hub_id="microsoft/wavlm-base-plus", architecture="wavlm-base", normalise=False),
    "wavlm-large": Preset(hub_id="microsoft/wavlm-large", architecture="wavlm-large"),
    "distilhubert": Preset(hub_id="ntu-spml/distilhubert", architecture="distilhubert"),
    "data2vec-audio-base": Preset(hub_id="facebook/data2vec-audio-base", architecture="data2vec-audio-base"),
    "xlsr-53-arabic-elgeish": Preset(hub_id="elgeish/wav2vec2-large-xlsr-53-arabic", architecture=_XLSR),
    "xlsr-arabic-othrif": Preset(hub_id="othrif/wav2vec2-large-xlsr-arabic", architecture=_XLSR),
    "xlsr-53-egyptian-zaid": Preset(hub_id="Zaid/wav2vec2-large-xlsr-53-arabic-egyptian", architecture=_XLSR),
    **{
        f"whisper-{size}": Preset(
            hub_id=f"openai/whisper-{size}", architecture=f"whisper-{_architecture}", normalise=False
        )
        for size, _architecture in _WHISPER_SIZES.items()
    },
    "wav2vec2-base-960h": Preset(hub_id="facebook/wav2vec2-base-960h", architecture="wav2vec2-base"),
    "wav2vec2-large-lv60": Preset(hub_id="facebook/wav2vec2-large-lv60", architecture=_XLSR),
    "wav2vec2-large-robust": Preset(hub_id="facebook/wav2vec2-large-robust", architecture=_XLSR),
    "xls-r-1b": Preset(hub_id="facebook/wav2vec2-xls-r-1b", architecture="xls-r-1b"),
    "xls-r-2b": Preset(hub_id="facebook/wav2vec2-xls-r-2b", architecture="xls-r-2b"),
    "mms-300m": Preset(hub_id="facebook/mms-300m", architecture=_XLSR),
    "mms-1b": Preset(hub_id="facebook/mms-1b", architecture="xls-r-1b"),
    "hubert-xlarge": Preset(hub_id="facebook/hubert-xlarge-ll60k", architecture="hubert-xlarge"),
    "unispeech-sat-base": Preset(hub_id="microsoft/unispeech-sat-base", architecture="unispeech-sat-base"),
    "unispeech-sat-base-plus": Preset(
        hub_id="microsoft/unispeech-sat-base-plus", architecture="unispeech-sat-base", normalise=None
    ),
    "unispeech-sat-large": Preset(hub_id="microsoft/unispeech-sat-large", architecture="unispeech-sat-large"),
    "wav2vec2-conformer-rel-pos-large": Preset(
        hub_id="facebook/wav2vec2-conformer-rel-pos-large", architecture="wav2vec2-conformer-relative"
    ),
    "wav2vec2-conformer-rope-large": Preset(
        hub_id="facebook/wav2vec2-conformer-rope-large", architecture="wav2vec2-conformer-rotary"
    ),
    "w2v-bert-2.0": Preset(hub_id="facebook/w2v-bert-2.0", architecture="w2v-bert", normalise=False),
    **{
        f"sew-{size}": Preset(hub_id=f"asapp/sew-{size}-100k", architecture=f"sew-{size}")
        for size in ("tiny", "small", "mid")
    },
    **{
        f"sew-d-{size}": Preset(hub_id=f"asapp/sew-d-{size}-100k", architecture=f"sew-d-{size}")
        for size in ("tiny", "small", "mid", "mid-k127")
    },
    "hubert-tiny": Preset(hub_id=None, architecture="hubert-tiny"),
}


@dataclass(frozen=True, kw_only=True)
class _Settings:
    def architecture(self) -> str:
        """SHA-256 of the settings' canonical JSON."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class AcousticSettings(_Settings):
    """Everything that determines acoustic features; lengths in samples at 16 kHz."""

    name: str
    mels: int
    cepstra: int  # 0: the log mel spectrum itself
    window: int = 400
    hop: int = 160
    fft: int = 512
    low: float = 20.0  # Hz
    high: float = 8_000.0
    floor: float = 1e-6  # mel energies are clamped to at least this
    delta: int = 5  # frames in the regression window of a difference

    @property
    def width(self) -> int:
        """Values per frame: static features, first and second differences."""
        return 3 * (self.cepstra or self.mels)

    @property
    def layer(self) -> str:
        return self.name


@dataclass(frozen=True, kw_only=True)
class FunctionalSettings(_Settings):
    """A feature set of openSMILE: functionals, which are one vector for a clip.

    feature_set: a name of `opensmile.FeatureSet`; also that of the only layer. width: its features. shortest:
    samples of which it makes them. level: root mean square to which every clip is scaled first, 1 being the
    largest sample of 16 bits; None to leave the recording level as it is.
    """

    feature_set: str
    width: int
    shortest: int = 960
    level: float | None = None

    @property
    def layer(self) -> str:
        return self.feature_set


@dataclass(frozen=True, kw_only=True)
class ProsodySettings(_Settings):
    """Prosody of every frame; lengths in samples at 16 kHz, frequencies in Hz.

    window: three periods of the lowest fundamental frequency, `low`; the highest is `high`.
    """

    window: int = 640
    hop: int = 160
    low: float = 75.0
    high: float = 500.0
    width: int = 4

    @property
    def layer(self) -> str:
        return PROSODY


Acoustic = AcousticSettings | FunctionalSettings | ProsodySettings


OPENSMILE, NORMALISED = "opensmile:", ":normalised"
SPEECH_LEVEL = 0.05  # -26 dB, the nominal level of speech in ITU-T P.56: its peaks are not clipped
_FEATURE_SETS = {"eGeMAPSv02": 88, "ComParE_2016": 6373}
# Of each feature set, at the level of the recording and at the same level for all clips.
FUNCTIONALS: dict[str, FunctionalSettings] = {
    f"{OPENSMILE}{name}{suffix}": FunctionalSettings(feature_set=name, width=width, level=level)
    for name, width in _FEATURE_SETS.items()
    for suffix, level in (("", None), (NORMALISED, SPEECH_LEVEL))
}
PROSODY = "prosody"
ACOUSTIC_PRESETS: dict[str, Acoustic] = {
    "mfcc": AcousticSettings(name="mfcc", mels=80, cepstra=40),
    "fbank": AcousticSettings(name="fbank", mels=80, cepstra=0),
    PROSODY: ProsodySettings(),
    **FUNCTIONALS,
}


def canonical_name(name: str) -> str:
    """The one name a model's states are stored under: its preset's name if there is one."""
    if name.startswith(RANDOM):
        return RANDOM + canonical_name(name.removeprefix(RANDOM))
    return next((short for short, preset in PRESETS.items() if preset.hub_id == name), name)
