"""Where a token's K blocks begin and end: the counterpart of altup/models/block_ends.h."""
import torch


def enter_blocks(embedded: torch.Tensor, num_blocks: int, how: str = "copy") -> torch.Tensor:
    """An embedding becomes the state [K, B, T, d] of a stack.

    "copy"   [B, T, d]: the same K times, as a view (Recycled-AltUp; the embedding stays as small as the dense one)
    "split"  [B, T, K·d]: cut into its K blocks (AltUp)
    """
    if embedded.dim() != 3:
        raise ValueError(f"expected an embedding [B, T, width], got {list(embedded.shape)}")
    if num_blocks < 1:
        raise ValueError(f"num_blocks is {num_blocks}; expected at least 1")
    if how == "copy":
        return embedded.unsqueeze(0).expand(num_blocks, -1, -1, -1)
    if how == "split":
        if embedded.size(-1) % num_blocks != 0:
            raise ValueError(f"a width of {embedded.size(-1)} does not split into {num_blocks} blocks")
        return embedded.unflatten(-1, (num_blocks, -1)).permute(2, 0, 1, 3).contiguous()
    raise ValueError(f'how is "{how}"; expected "copy" or "split"')


def leave_blocks(state: torch.Tensor, how: str = "mean") -> torch.Tensor:
    """The state [K, B, T, d] becomes one vector a token again.

    "mean"    [B, T, d]: what our models do for Recycled-AltUp; equal blocks give that block, exactly
    "sum"     [B, T, d]: as the paper has it; the same but for a factor K, which a norm behind it removes
    "concat"  [B, T, K·d]: the blocks side by side (AltUp)
    """
    if state.dim() != 4:
        raise ValueError(f"expected a state [K, B, T, d], got {list(state.shape)}")
    if how == "mean":
        return state[0] + (state - state[0]).mean(0)  # K times a number over K may not be that number
    if how == "sum":
        return state.sum(0)
    if how == "concat":
        return state.permute(1, 2, 0, 3).flatten(2)
    raise ValueError(f'how is "{how}"; expected "mean", "sum" or "concat"')
