"""A meter for work on a device of torch: which GPU to ask for its energy, and what it held at most."""

from __future__ import annotations

import torch

from layerprobe.cache.common.metering import Cost, Meter


class DeviceMeter:
    """Measures work on a device. began: `time.perf_counter()` of its start, if that is before now."""

    def __init__(self, device: torch.device, *, began: float | None = None) -> None:
        self._cuda = device if device.type == "cuda" else None
        name, gpu = device.type, None
        if self._cuda is not None:
            torch.cuda.reset_peak_memory_stats(self._cuda)
            known = torch.cuda.get_device_properties(self._cuda)
            name, gpu = known.name, f"GPU-{known.uuid}"
        self._meter = Meter(device=name, gpu=gpu, began=began)

    def read(self) -> Cost:
        """What the work took so far."""
        held = None if self._cuda is None else torch.cuda.max_memory_reserved(self._cuda)
        return self._meter.read(peak_device_bytes=held)
