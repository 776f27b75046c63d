"""A model source → a `Backbone` that gives every layer's states of a batch, one layer at a time."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pickle import UnpicklingError
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from torch import nn
from torch.nn.utils import parametrize

from layerprobe.cache.common.errors import ModelError
from layerprobe.embed.config import RATE
from layerprobe.embed.models.exact_batching import ExactBatch
from layerprobe.embed.models.layers import CNN, FINAL, frame_count, hop, layer_width, receptive_field
from layerprobe.embed.models.sources import ModelSource

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# (layer, states (B, F, D), frames (B,)); states of frames beyond a clip's own are undefined
Visit = Callable[[str, torch.Tensor, torch.Tensor], None]


class Backbone(Protocol):
    """What extraction needs of a model. `layers` and `widths` (D of each) are those it was asked for."""

    layers: tuple[str, ...]
    widths: tuple[int, ...]
    normalise: bool
    frame_rate: float
    receptive_field: float
    device: torch.device

    def frames(self, samples: int) -> int:
        """Frames of a clip of so many samples."""
        ...

    def run(self, waves: torch.Tensor, lengths: torch.Tensor, visit: Visit) -> None:
        """One forward pass of waves (B, T), zero beyond lengths (B,); `visit` is called for each layer."""
        ...


class _StopForward(Exception):  # noqa: N818 — control flow, not an error
    """Raised by a hook once the last layer asked for is there: no further block is computed."""


class TransformerBackbone:
    """A frozen model of the wav2vec2 family whose batches equal their clips (see `embed.models.exact_batching`)."""

    def __init__(
        self,
        source: ModelSource,
        *,
        layers: Sequence[str],
        device: torch.device,
        precision: str = "fp32",
        seed: int = 0,
    ) -> None:
        """Load the model, or for `random:` build it with weights drawn from `seed` on the CPU.

        Raises ModelError if the weights cannot be read or do not fit the configuration.
        """
        config = dict(source.config)
        self.layers = tuple(layers)
        self.widths = tuple(layer_width(config, layer) for layer in layers)
        self.normalise = source.normalise
        self.frame_rate = RATE / hop(config)
        self.receptive_field = receptive_field(config) / RATE
        self.device, self.precision = device, precision
        self.frames = partial(frame_count, config)
        self.model = load_model(source, seed=seed)
        # Before the folding, whose sums come out a last bit different with another number of threads.
        self.weights = weights_hash(self.model) if source.folder is None else None
        _fold_weight_norm(self.model)
        self.model.to(device)
        self._exact = ExactBatch(self.model)
        self._visit: Callable[[str, torch.Tensor], None] | None = None
        self._place_hooks()

    def run(self, waves: torch.Tensor, lengths: torch.Tensor, visit: Visit) -> None:
        counts = [self.frames(int(n)) for n in lengths.tolist()]
        frames = torch.tensor(counts, device=self.device)
        lengths = lengths.to(self.device)
        padded = bool((lengths < waves.shape[1]).any())
        mask = torch.arange(waves.shape[1], device=self.device) < lengths[:, None] if padded else None

        def hand_over(layer: str, states: torch.Tensor) -> None:
            visit(layer, states, frames)

        self._visit = hand_over
        exact = self._exact.clips(lengths, frames) if padded else self._exact.clips(None, None)
        try:
            with torch.inference_mode(), self._autocast(), exact:
                self.model(waves, attention_mask=mask)
        except _StopForward:
            pass
        finally:
            self._visit = None

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=PRECISIONS[self.precision])

    def _place_hooks(self) -> None:
        """Hooks rather than `output_hidden_states`: its last entry moved between transformers 4 and 5."""
        blocks = self.model.encoder.layers
        deepest = max((int(name) for name in self.layers if name.isdigit()), default=0)
        if FINAL in self.layers:
            self.model.encoder.layer_norm.register_forward_hook(self._after(FINAL))
        else:
            del blocks[max(deepest, 1) :]  # never computed, so not held either
        if CNN in self.layers:
            self.model.feature_extractor.register_forward_hook(self._after(CNN))
        if "0" in self.layers:
            blocks[0].register_forward_pre_hook(self._before_first, with_kwargs=True)
        for k, block in enumerate(blocks, start=1):
            if str(k) in self.layers:
                block.register_forward_hook(self._after(str(k)))

    def _before_first(self, _block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._give("0", args[0] if args else kwargs["hidden_states"])

    def _after(self, layer: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            states = output[0] if isinstance(output, tuple) else output
            self._give(layer, states.transpose(1, 2) if layer == CNN else states)

        return hook

    def _give(self, layer: str, states: torch.Tensor) -> None:
        if self._visit is None:
            raise RuntimeError("the model was called around Backbone.run")
        self._visit(layer, states)
        if layer == self.layers[-1]:
            raise _StopForward


def weights_hash(model: nn.Module) -> str:
    """SHA-256 over a model's tensors, by name: the identity of weights that came from no file."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def random_model(source: ModelSource, *, seed: int) -> Any:
    """The source's architecture with freshly initialised weights, the same for the same seed."""
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.for_model(**dict(source.config))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModel.from_config(config)


def load_model(source: ModelSource, *, seed: int) -> Any:
    """transformers' base model in fp32 and evaluation mode. Raises ModelError where weights do not fit."""
    from transformers import AutoModel
    from transformers.utils import logging

    logging.set_verbosity_error()  # a CTC checkpoint's unused head is not news
    logging.disable_progress_bar()
    # WavLM hands torch a boolean padding mask beside its additive position bias; torch treats them rightly.
    warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")
    if source.folder is None:
        model = random_model(source, seed=seed)
    else:
        safe = source.weight_files()[0].suffix == ".safetensors"
        try:
            model, told = AutoModel.from_pretrained(
                source.folder, dtype=torch.float32, use_safetensors=safe, output_loading_info=True
            )
        except (OSError, RuntimeError, ValueError, KeyError, SafetensorError, UnpicklingError) as error:
            why = str(error).strip().splitlines()[0][:200]
            raise ModelError(f"cannot load the weights ({why})", where=str(source.folder)) from error
        # masked_spec_embed only serves SpecAugment in training, and many checkpoints leave it out.
        missing = sorted(name for name in told["missing_keys"] if not name.endswith("masked_spec_embed"))
        if missing:
            raise ModelError(
                f"{len(missing)} tensors are missing from the weights, such as {missing[0]}",
                where=str(source.folder),
                do="the file belongs to another configuration, or its download is incomplete",
            )
    return model.eval().requires_grad_(False)


def _fold_weight_norm(model: Any) -> None:
    """Compute the positional convolution's normed weight once and not in every pass; it stays the same."""
    for module in model.encoder.pos_conv_embed.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")
