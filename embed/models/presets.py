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
    normalise: bool = True


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
    "hubert-tiny": Preset(hub_id=None, architecture="hubert-tiny"),
}


@dataclass(frozen=True, kw_only=True)
class AcousticSettings:
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

    def architecture(self) -> str:
        """SHA-256 of the settings' canonical JSON."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


ACOUSTIC_PRESETS: dict[str, AcousticSettings] = {
    "mfcc": AcousticSettings(name="mfcc", mels=80, cepstra=40),
    "fbank": AcousticSettings(name="fbank", mels=80, cepstra=0),
}


def canonical_name(name: str) -> str:
    """The one name a model's states are stored under: its preset's name if there is one."""
    if name.startswith(RANDOM):
        return RANDOM + canonical_name(name.removeprefix(RANDOM))
    return next((short for short, preset in PRESETS.items() if preset.hub_id == name), name)
