"""Linear layers on a CPU by oneDNN, with weights packed once.

torch's own fp32 products are MKL's, which uses AVX-512 on Intel's processors only: on others, oneDNN's
take half the time. Those of bf16 are oneDNN's anyway. It also computes the activation while a result is
still in the processor's cache, and before it is rounded.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn


class PackedLinear(nn.Module):
    """A frozen linear layer in fp32 or bf16, followed by an exact GELU or nothing."""

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, linear: nn.Linear, *, gelu: bool = False) -> None:
        super().__init__()
        packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), None)
        self.register_buffer("weight", packed, persistent=False)
        self.register_buffer("bias", linear.bias.detach(), persistent=False)
        self._after: tuple[str, list[Any], str] = ("gelu", [], "none") if gelu else ("none", [], "")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, D) → (…, E)."""
        out: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, *self._after)
        return out


@cache
def packing_helps(dtype: torch.dtype = torch.float32) -> bool:
    """Whether oneDNN multiplies numbers of this type faster than torch does by itself on this processor.

    In fp32, where there is AVX-512 that MKL does not use; in bf16, where there are instructions for it.
    """
    if platform.machine() != "x86_64" or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    if not (torch.backends.mkldnn.is_available() and _has_operators()):
        return False
    if dtype is torch.bfloat16:
        return has_bf16_instructions()
    info = Path("/proc/cpuinfo")
    return dtype is torch.float32 and info.is_file() and "GenuineIntel" not in info.read_text()


def has_bf16_instructions() -> bool:
    """Whether this processor multiplies bf16 itself (AVX512-BF16 or AMX); elsewhere it is emulated."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _has_operators() -> bool:
    """Whether this version of torch has the operators, which are made for its compiler."""
    operators: Any = torch.ops.mkldnn
    return hasattr(operators, "_linear_pointwise") and hasattr(operators, "_reorder_linear_weight")
