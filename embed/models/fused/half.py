"""Half-precision copies of frozen modules, rounded once instead of by autocast in every pass."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from itertools import chain
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def half_copy(model: M, dtype: torch.dtype, *, exact: Iterable[nn.Module]) -> M:
    """A copy of the model with its weights in that type.

    exact: modules whose weights stay as they are, shared with the original.
    """
    stay = {id(tensor) for module in exact for tensor in _tensors(module)}
    copies: dict[int, torch.Tensor] = {}
    for tensor in _tensors(model):
        if id(tensor) in stay or not tensor.is_floating_point():
            copies[id(tensor)] = tensor
        elif isinstance(tensor, nn.Parameter):
            copies[id(tensor)] = nn.Parameter(tensor.detach().to(dtype), requires_grad=False)
        else:
            copies[id(tensor)] = tensor.to(dtype)
    return copy.deepcopy(model, copies)


def _tensors(module: nn.Module) -> Iterable[torch.Tensor]:
    return chain(module.parameters(), module.buffers())
