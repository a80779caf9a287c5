"""Alternating Updates (Baykal et al., NeurIPS 2023) around any PyTorch layer.

A token has K blocks of width d, the state is [K, B, T, d]; a layer of width d computes one block, and one fused operator
predicts and corrects all of them:

    state = altup.enter_blocks(embedded, num_blocks=2)          # [B, T, d]    -> [K, B, T, d]
    state = altup.AltUpStack(layers, num_blocks=2)(state)       # [K, B, T, d] -> [K, B, T, d]
    output = altup.leave_blocks(state)                          # [K, B, T, d] -> [B, T, d]

Importing the package loads the operators, torch.ops.altup.update and update_backward.
"""
from altup import _library
from altup.blocks import enter_blocks, leave_blocks
from altup.modules import AltUp, AltUpStack, AltUpUpdate, update

__all__ = ["AltUp", "AltUpStack", "AltUpUpdate", "enter_blocks", "leave_blocks", "update"]

_library.load()
