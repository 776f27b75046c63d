"""Environments of their own for peers whose packages do not go together with ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# torchaudio.load and set_audio_backend, which both call, are gone from later versions of torchaudio.
PACKAGES = {
    "s3prl": ("s3prl==0.4.18", "torch==2.2.2", "torchaudio==2.2.2", "transformers<5", "numpy<2", "soundfile"),
    "nkululeko": ("nkululeko==1.14.1", "torch==2.8.0", "torchaudio==2.8.0"),
}


def python_of(peer: str, folder: Path) -> Path:
    """The Python of a peer's environment, installed on first use (some gigabytes, some minutes).

    Raises CalledProcessError where the packages cannot be installed.
    """
    environment = folder / peer
    python, complete = environment / "bin" / "python", environment / "complete"
    if not complete.is_file():
        print(f"installing {peer} into {environment}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(environment)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, *PACKAGES[peer]], check=True, stdout=sys.stderr)
        complete.touch()
    return python
