"""The operations that a batch would launch on a GPU, counted on a machine that has none.

Tensors are torch's fakes: they have a device, a type and a shape, and no content, so a large model needs
neither memory nor time. What is counted is what torch's dispatcher sees below autograd and autocast, without
views and allocations. Fused attention counts as one operation. A real GPU may run a few more kernels for some
of them (a convolution's bias), never fewer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from layerprobe.cache.identity.extraction import Extraction
from layerprobe.embed.config import RATE, EmbedConfig
from layerprobe.embed.extract.batching import Window, padded_length
from layerprobe.embed.extract.forward import ForwardPass
from layerprobe.embed.extract.prefetch import Batch
from layerprobe.embed.models import backbones
from layerprobe.embed.models.backbones import open_backbone
from layerprobe.embed.models.interface import Backbone

GPU = torch.device("cuda", 0)
_ATEN = torch.ops.aten
_WAITING = (_ATEN._local_scalar_dense, _ATEN.nonzero, _ATEN.is_nonzero, _ATEN.masked_select, _ATEN.equal)
_INDEXING = (_ATEN.index, _ATEN.index_put, _ATEN.index_put_, _ATEN._index_put_impl_)
_ATOMIC = (_ATEN.scaled_dot_product_attention,)
_ALLOCATING = ("empty", "new_empty", "detach", "lift_fresh", "is_pinned", "sym_")


class Operations(TorchDispatchMode):
    """Counts operations on the GPU.

    launched: by name. waiting: those for which the host would wait until the GPU has done all its work.
    """

    def __init__(self) -> None:
        super().__init__()
        self.launched: Counter[str] = Counter()
        self.waiting: list[str] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        if func.namespace == "prim":  # where is this tensor?
            return func(*args, **options)
        packet = func.overloadpacket
        if packet in (_ATEN.pin_memory, _ATEN._pin_memory):
            self._pinned.append(args[0])  # held, so that its identity is not given to another
            return args[0]
        pinned = options.pop("pin_memory", None)
        if packet not in _ATOMIC and func._can_decompose():
            with self:
                result = func.decompose(*args, **options)
            if result is not NotImplemented:
                return result
        inputs = [value for value in tree_leaves((args, options)) if isinstance(value, torch.Tensor)]
        if self._asks(packet, inputs):  # before it is run: a fake has no content to tell
            self.waiting.append(str(func))
        result = func(*args, **options)
        if pinned:
            self._pinned.append(result)
        if packet is _ATEN.lift_fresh and type(args[0]) is torch.Tensor:
            with no_dispatch():
                result.numbers = args[0].tolist()  # what the host wrote, it may read
        outputs = [value for value in tree_leaves(result) if isinstance(value, torch.Tensor)]
        if any(tensor.device.type == "cuda" for tensor in (*inputs, *outputs)):
            self._count(func, inputs, outputs, options | {"arguments": args})
        return result

    def __enter__(self) -> Operations:
        self._pinned: list[Any] = getattr(self, "_pinned", [])
        super().__enter__()
        return self

    def _count(
        self, func: Any, inputs: Sequence[Any], outputs: Sequence[Any], options: Mapping[str, Any]
    ) -> None:
        name, packet = str(func), func.overloadpacket
        if self._waits_for_copy(packet, inputs, outputs, options):
            self.waiting.append(name)
        returns = func._schema.returns
        is_view = any(value.alias_info is not None and not value.alias_info.is_write for value in returns)
        if not is_view and not packet.__name__.startswith(_ALLOCATING):
            self.launched[name] += 1

    def _asks(self, packet: Any, inputs: Sequence[Any]) -> bool:
        """Whether an operation has to know what is on the GPU."""
        if all(tensor.device.type != "cuda" for tensor in inputs):
            return False
        is_mask = any(tensor.dtype in (torch.bool, torch.uint8) for tensor in inputs[1:])
        return packet in _WAITING or (packet in _INDEXING and is_mask)

    def _waits_for_copy(
        self, packet: Any, inputs: Sequence[Any], outputs: Sequence[Any], options: Mapping[str, Any]
    ) -> bool:
        devices = {tensor.device.type for tensor in (*inputs, *outputs)}
        if devices != {"cpu", "cuda"} or packet not in (_ATEN._to_copy, _ATEN.copy_):
            return False
        host = next(tensor for tensor in (*inputs, *outputs) if tensor.device.type == "cpu")
        storage = host.untyped_storage()._cdata
        is_pinned = any(storage == tensor.untyped_storage()._cdata for tensor in self._pinned)
        return not (is_pinned and (options.get("non_blocking") or options["arguments"][2:] == (True,)))


@contextmanager
def fake_gpu() -> Iterator[None]:
    """Within it, tensors are fakes and `GPU` is a device."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(backbones, "find_device", lambda _name: GPU))
        stack.enter_context(patch.object(backbones, "describe_device", lambda _device: "a GPU"))
        for module in ("wav2vec2", "whisper.backbone"):
            name = f"layerprobe.embed.models.{module}.tensors_hash"
            stack.enter_context(patch(name, lambda _tensors: "none"))
        stack.enter_context(patch("layerprobe.embed.extract.forward.record_event", lambda _device: None))
        stack.enter_context(patch.object(nn.Module, "to", _move))
        stack.enter_context(patch.object(FakeTensor, "tolist", lambda self: self.numbers))
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        yield


def _move(module: nn.Module, device: torch.device) -> nn.Module:
    """`Module.to` for fakes, which torch cannot exchange in place; shared tensors stay shared."""
    moved: dict[int, Any] = {}
    for each in module.modules():
        for tensors in (each._parameters, each._buffers):
            for name, tensor in tensors.items():
                if tensor is None:
                    continue
                if id(tensor) not in moved:
                    there = tensor.detach().to(device)
                    moved[id(tensor)] = nn.Parameter(there, False) if tensors is each._parameters else there
                tensors[name] = moved[id(tensor)]
    return module


def count_batch(
    config: EmbedConfig, lengths: Sequence[int]
) -> tuple[Operations, tuple[Backbone, Extraction]]:
    """The operations of a batch of clips of `lengths` samples, from waves to the copies of their states."""
    with fake_gpu():
        backbone, extraction = open_backbone(config)
        forward = ForwardPass(backbone, extraction, budget=1 << 40)
        windows = [Window(clip=clip, begin=0, stop=samples) for clip, samples in enumerate(lengths)]
        waves = torch.zeros(len(lengths), padded_length(max(lengths)))
        operations = Operations()
        with operations:
            waves = waves.pin_memory()
            batch = Batch(windows=windows, waves=waves, lengths=torch.tensor(list(lengths)), failed={})
            for _ in forward._compute(batch):
                pass
    return operations, (backbone, extraction)


def clips_of(seconds: float, *, total: float) -> list[int]:
    """Samples of the clips of a batch of so many seconds: sorted lengths, as a plan gives them."""
    count = max(1, int(total / seconds))
    return [int(seconds * RATE) - 37 * clip for clip in range(count)]
