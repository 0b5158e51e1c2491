"""Activation checkpointing: a layer's activations are computed again in the reverse pass instead of kept.

torch.func.functional_call puts trainable tensors into the module only while it runs. The reverse pass runs later, when
the module holds its own (NaN) tensors again, and a recomputation that read those would go wrong. So each layer takes
along the tensors that it was called with, and is computed again with these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, is_grad_enabled, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint


class _Call(nn.Module):
    """A layer's forward without its hooks, which stay around the whole of it: what they keep is kept once."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.run = layer, layer.forward

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(*args, **kwargs)


def install_recomputation(layers: Iterable[nn.Module]) -> None:
    """Makes every layer recompute. Dropout repeats by itself: its masks are functions of keys."""
    for layer in layers:
        layer.forward = _recomputed(_Call(layer), [name for name, _ in _adapters(layer)])


def _recomputed(call: _Call, names: list[str]) -> Callable[..., Any]:
    def forward(*args: Any, **kwargs: Any) -> Any:
        if not is_grad_enabled():
            return call(*args, **kwargs)
        adapters = dict(_adapters(call.layer))

        def run(*args: Any) -> Any:
            return functional_call(
                call, {f"layer.{name}": adapters[name] for name in names}, args, kwargs, tie_weights=False
            )

        return checkpoint(run, *args, use_reentrant=False, preserve_rng_state=False)

    return forward


def _adapters(layer: nn.Module) -> list[tuple[str, Tensor]]:
    """What comes in with every call: adapter weights, row bounds, dropout keys, and how the rows lie."""
    # Row bounds and keys are one tensor for many linears: each name counts.
    tensors = (*layer.named_parameters(remove_duplicate=False), *layer.named_buffers(remove_duplicate=False))
    return [(name, value) for name, value in tensors if ".lora_" in name or name.startswith("placement.")]
