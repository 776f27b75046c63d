"""`doctor` without a model: what is installed, what this machine has, and how to mend what is amiss."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Literal

from layerprobe.cache.common.disk import free_bytes, shared_memory_fault
from layerprobe.cache.common.places import mirrors_root, remote_url
from layerprobe.cache.common.text import format_bytes, format_count
from layerprobe.cache.maintenance.catalog import describe_cache

DISK_SPACE, MEMORY = 5 << 30, 4 << 30  # bytes below which a study of a few thousand clips may fail
GPU_FILES = ("/dev/nvidia0", "/dev/kfd")  # of drivers; torch may have been built without support for them
CHECKOUT = Path(__file__).resolve().parents[2]
Status = Literal["ok", "note", "fault"]


@dataclass(frozen=True, kw_only=True)
class MachineCheck:
    """One line of the report. note: something to know; fault: something that fails. do: how to mend it."""

    item: str
    status: Status
    found: str
    do: str = ""


def check_machine(cache: Path) -> list[MachineCheck]:
    """Check versions, devices, sound libraries, disk, and the stores of a cache; a fault in one is a line."""
    checks: list[MachineCheck] = []
    for item, check in CHECKS.items():
        try:
            checks += check(cache)
        except Exception as error:  # a broken library must not hide the other checks
            text = " ".join(f"{type(error).__name__}: {error}".split())
            checks.append(MachineCheck(item=item, status="fault", found=text[:200], do="install it again"))
    return checks


def _versions(_: Path) -> Iterator[MachineCheck]:
    own = _installed("layerprobe") or f"{_checkout()['version']} in a checkout"
    python = f"Python {platform.python_version()}, layerprobe {own}, {platform.platform()}"
    yield MachineCheck(item="versions", status="ok", found=python)
    required, extras = requirements()
    found: list[str] = []
    for name, specifier in required.items():
        installed = _installed(name)
        if installed is None:
            do = f"pip install '{name}{specifier}'"
            yield MachineCheck(item="packages", status="fault", found=f"{name} is missing", do=do)
            continue
        from packaging.specifiers import SpecifierSet

        if not SpecifierSet(specifier).contains(installed, prereleases=True):
            what = f"{name} is {installed}, and {specifier} is required"
            do = f"pip install '{name}{specifier}'"
            yield MachineCheck(item="packages", status="fault", found=what, do=do)
        found.append(f"{name} {installed}")
    yield MachineCheck(item="packages", status="ok", found=", ".join(found))
    missing = [name for name, packages in extras.items() if not all(map(_installed, packages))]
    present = [name for name in extras if name not in missing]
    if present:
        yield MachineCheck(item="extras", status="ok", found=", ".join(present))
    if missing:
        do = f"to use them: pip install 'layerprobe[{','.join(missing)}]'"
        yield MachineCheck(item="extras", status="note", found=f"not installed: {', '.join(missing)}", do=do)


def requirements() -> tuple[dict[str, str], dict[str, list[str]]]:
    """Required package → versions; extra → its packages. From the package's metadata or pyproject.toml."""
    from packaging.requirements import Requirement

    try:
        lines = requires("layerprobe") or []
    except PackageNotFoundError:  # a checkout
        project = _checkout()
        optional = project["optional-dependencies"].items()
        lines = [*project["dependencies"], *(f"{r}; extra == '{e}'" for e, rs in optional for r in rs)]
    required: dict[str, str] = {}
    extras: dict[str, list[str]] = {}
    for line in lines:
        one = Requirement(line)
        extra = str(one.marker).partition("extra == ")[2].strip("\"'") if one.marker else ""
        if extra in ("dev", "all"):
            continue
        if extra:
            extras.setdefault(extra, []).append(one.name)
        else:
            required[one.name] = str(one.specifier)
    return required, extras


def _checkout() -> Mapping[str, Any]:
    """[project] of the checkout that this file is in."""
    import tomllib

    return dict(tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"])


def _installed(package: str) -> str | None:
    """The version of a package; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _devices(_: Path) -> Iterator[MachineCheck]:
    import torch

    from layerprobe.embed.models.device import describe_device, find_device, find_precision

    cpu = torch.device("cpu")
    yield MachineCheck(item="processor", status="ok", found=f"{describe_device(cpu)}, {os.cpu_count()} cores")
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        what = f"cuda:{number}: {properties.name}, {format_bytes(properties.total_memory)}"
        yield MachineCheck(item="GPU", status="ok", found=what)
    if torch.backends.mps.is_available():
        yield MachineCheck(item="GPU", status="ok", found="mps (not used by auto)", do="give --device mps")
    elif not torch.cuda.is_available():
        driver = next((file for file in GPU_FILES if Path(file).exists()), None)
        if driver:
            what = f"{driver} exists, but torch {torch.__version__} cannot use it"
            do = "install the torch that fits the driver: https://pytorch.org/get-started/locally"
            yield MachineCheck(item="GPU", status="fault", found=what, do=do)
        else:
            yield MachineCheck(item="GPU", status="note", found="none: models run on the processor")
    device = find_device("auto")
    what = f"embed computes in {find_precision('auto', device)} on {device}"
    yield MachineCheck(item="precision", status="ok", found=what)


def _memory(_: Path) -> Iterator[MachineCheck]:
    info = Path("/proc/meminfo")
    if not info.is_file():
        return
    rows = dict(line.split(":", 1) for line in info.read_text().splitlines())
    total, available = (int(rows[name].split()[0]) << 10 for name in ("MemTotal", "MemAvailable"))
    found = f"{format_bytes(available)} of {format_bytes(total)} available"
    if available < MEMORY:
        do = "use smaller models, classify --memory 1GB and --jobs 1"
        yield MachineCheck(item="memory", status="note", found=found, do=do)
    else:
        yield MachineCheck(item="memory", status="ok", found=found)


def _sound(_: Path) -> Iterator[MachineCheck]:
    import av
    import soundfile

    ffmpeg = ".".join(map(str, av.library_versions["libavcodec"]))
    found = (
        f"libsndfile {soundfile.__libsndfile_version__}, FFmpeg (PyAV {av.__version__}, libavcodec {ffmpeg})"
    )
    yield MachineCheck(item="sound", status="ok", found=found)


def _cache(cache: Path) -> Iterator[MachineCheck]:
    if not cache.is_dir():
        yield MachineCheck(item="cache", status="note", found=f"{cache} does not exist yet: embed creates it")
        return
    info = describe_cache(cache)
    clips = sum(store.clips for store in info.stores)
    nbytes = format_bytes(sum(store.nbytes for store in info.stores) + info.remembered)
    found = f"{cache}: {format_count(len(info.stores), 'store')}, {format_count(clips, 'clip')}, {nbytes}"
    yield MachineCheck(
        item="cache", status="ok", found=found, do="`cache verify` reads every byte" if info.stores else ""
    )
    for fault in info.faults:
        what, _, do = fault.rpartition("; ")
        yield MachineCheck(item="cache", status="fault", found=what or do, do=do if what else "")
    if not os.access(cache, os.W_OK):
        do = "embed into another folder with --cache, or ask its owner for permission"
        yield MachineCheck(item="cache", status="note", found=f"{cache} may not be written", do=do)


def _disk(cache: Path) -> Iterator[MachineCheck]:
    copies = remote_url(cache) is not None  # of a cache on object storage
    used = {"of local copies": mirrors_root()} if copies else {"of the cache": cache}
    folders = {**used, "of temporary files": Path(tempfile.gettempdir())}
    for what, folder in folders.items():
        while not folder.exists():
            folder = folder.absolute().parent
        free, found = free_bytes(folder), f"{what} ({folder.absolute()})"
        few = free < DISK_SPACE
        yield MachineCheck(
            item="disk",
            status="note" if few else "ok",
            found=f"{format_bytes(free)} free, {found}",
            do="free some, or choose another disk with --cache or TMPDIR" if few else "",
        )
    if fault := shared_memory_fault():
        do = "fine-tuning then decodes in its own process; a container needs --shm-size"
        yield MachineCheck(item="shared memory", status="note", found=fault, do=do)


def _hub(_: Path) -> Iterator[MachineCheck]:
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE)
    models = len(list(folder.glob("models--*"))) if folder.is_dir() else 0
    mode = (
        "offline (HF_HUB_OFFLINE): nothing is downloaded" if constants.HF_HUB_OFFLINE else constants.ENDPOINT
    )
    found = f"{mode}; {format_count(models, 'model')} in {folder}"
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if os.access(existing, os.W_OK):
        yield MachineCheck(item="hub", status="ok", found=found)
    else:
        do = "to download models, set HF_HOME to a folder of your own"
        yield MachineCheck(item="hub", status="note", found=f"{folder} may not be written", do=do)


# Item of the line that is printed if the check itself fails → check.
CHECKS: dict[str, Callable[[Path], Iterator[MachineCheck]]] = {
    "packages": _versions,
    "torch": _devices,
    "memory": _memory,
    "sound": _sound,
    "cache": _cache,
    "disk": _disk,
    "hub": _hub,
}
