"""The AltUp update as modules: beside a layer (AltUpUpdate), around a layer (AltUp), around a stack of layers (AltUpStack).

Parameters have the names, shapes, type and initial values of the C++ modules (altup/modules/altup.h), and AltUpStack lays
them out as the C++ encoder and decoder do (`layers.0.…`, `altup.0.prediction_coefs`), so that checkpoints share their names.

Mixed precision: under torch.autocast the operator lowers nothing. The state keeps the type that it enters with, and the
coefficients stay fp32, in which all sums are done. Calling `.bfloat16()` on a model rounds its coefficients along with all
else: the operator takes them as they are, but small updates of theirs are then lost. Prefer autocast, with or without a
bf16 state.
"""
from collections.abc import Callable, Iterable

import torch
from torch import nn


def update(
    x: torch.Tensor,
    x_tilde: torch.Tensor,
    prediction_coefs: torch.Tensor,
    correction_coefs: torch.Tensor,
    active_block: int,
) -> torch.Tensor:
    """Predict and correct in one pass over the state: x̂^i = Σ_j p_ij x^j, y^i = x̂^i + g_i (x̃ − x̂^a).

    x [K, B, T, d], x_tilde [B, T, d], prediction_coefs [K, K], correction_coefs [K] -> [K, B, T, d] of the wider type of
    x and x_tilde.
    """
    return torch.ops.altup.update(x, x_tilde, prediction_coefs, correction_coefs, active_block)


class AltUpUpdate(nn.Module):
    """The coefficients of one layer, and the update of all K blocks by what the layer made of the active one.

    init: "identity", p = I and g = 1, so that equal blocks stay equal and the model starts as the dense one; or "active",
    p = I and g = 1 for the active block only, so that the blocks differ from the first layer on.
    """

    def __init__(self, num_blocks: int = 2, active_block: int = 0, init: str = "identity"):
        super().__init__()
        if num_blocks < 1:
            raise ValueError(f"num_blocks is {num_blocks}; expected at least 1")
        if not 0 <= active_block < num_blocks:
            raise ValueError(f"active_block is {active_block}; expected 0 … {num_blocks - 1}")
        if init not in ("identity", "active"):
            raise ValueError(f'init is "{init}"; expected "identity" or "active"')
        self.num_blocks, self.active_block, self.init = num_blocks, active_block, init
        # fp32 whatever torch.set_default_dtype says
        self.prediction_coefs = nn.Parameter(torch.empty(num_blocks, num_blocks, dtype=torch.float32))
        self.correction_coefs = nn.Parameter(torch.empty(num_blocks, dtype=torch.float32))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        nn.init.eye_(self.prediction_coefs)
        self.correction_coefs.fill_(1.0 if self.init == "identity" else 0.0)
        self.correction_coefs[self.active_block] = 1.0

    def active(self, x: torch.Tensor) -> torch.Tensor:
        """The block that the layer has to compute: a view [B, T, d] of x [K, B, T, d]."""
        return x[self.active_block]

    def forward(self, x: torch.Tensor, x_tilde: torch.Tensor) -> torch.Tensor:
        """x [K, B, T, d] before the layer, x_tilde [B, T, d] from the layer -> [K, B, T, d]."""
        return update(
            x, x_tilde, self.prediction_coefs, self.correction_coefs, self.active_block
        )

    def extra_repr(self) -> str:
        return f"num_blocks={self.num_blocks}, active_block={self.active_block}, init={self.init}"


class AltUp(AltUpUpdate):
    """A layer inside AltUp: predict, compute, correct.

    `layer` is anything that maps [B, T, d] (or [T, B, d]) to the same shape, its residual connection included. What else
    forward is given (masks, caches) goes on to the layer.
    """

    def __init__(
        self,
        layer: Callable[..., torch.Tensor],
        num_blocks: int = 2,
        active_block: int = 0,
        init: str = "identity",
    ):
        super().__init__(num_blocks, active_block, init)
        self.layer = layer

    def forward(self, x: torch.Tensor, *args, **kwargs) -> torch.Tensor:
        """x [K, B, T, d] -> [K, B, T, d]."""
        return super().forward(x, self.layer(self.active(x), *args, **kwargs))


class AltUpStack(nn.Module):
    """Layers with an update beside each; with num_blocks = 1 the layers alone, as the dense model.

    block_selection: "alternating", layer i computes block i mod K; or "same", all compute block 0.
    """

    def __init__(
        self,
        layers: Iterable[nn.Module],
        num_blocks: int = 2,
        block_selection: str = "alternating",
        init: str = "identity",
    ):
        super().__init__()
        if block_selection not in ("alternating", "same"):
            raise ValueError(f'block_selection is "{block_selection}"; expected "alternating" or "same"')
        AltUpUpdate(num_blocks, 0, init)  # which says what is wrong with these
        self.num_blocks = num_blocks
        self.layers = nn.ModuleList(layers)
        self.altup = nn.ModuleList()
        if num_blocks == 1:
            return
        for i in range(len(self.layers)):
            active_block = i % num_blocks if block_selection == "alternating" else 0
            self.altup.append(AltUpUpdate(num_blocks, active_block, init))

    def forward(self, x: torch.Tensor, *args, **kwargs) -> torch.Tensor:
        """x [K, B, T, d] -> [K, B, T, d]; every layer is given the other arguments."""
        if x.size(0) != self.num_blocks:
            raise ValueError(f"expected a state of {self.num_blocks} blocks [K, B, T, d], got {list(x.shape)}")
        if self.num_blocks == 1:
            dense = x[0]
            for layer in self.layers:
                dense = layer(dense, *args, **kwargs)
            return dense.unsqueeze(0)
        for layer, altup in zip(self.layers, self.altup):
            x = altup(x, layer(altup.active(x), *args, **kwargs))
        return x
