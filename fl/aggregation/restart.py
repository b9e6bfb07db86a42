"""The pair that a client starts from where it is not the merged pair itself."""

from __future__ import annotations

from fl.aggregation.components import LayerComponents, Pair, weighted_mean


def restarted(layer: LayerComponents) -> Pair:
    """Return B = 0 and the averaged A: the product is zero, and can be trained."""
    import torch

    lora_b, lora_a = zip(*layer.padded(), strict=True)
    return Pair(torch.zeros_like(lora_b[0]), weighted_mean(lora_a, layer.weights))


def at_rank(pair: Pair, rank: int, own: Pair) -> Pair:
    """Return the pair cut or padded to a client's rank.

    Padding takes the client's own rows of A, and B = 0: the product stays the same and
    all ranks can be trained. ``own`` is the client's pair so far.
    """
    import torch

    width = min(rank, pair.lora_a.shape[0])
    lora_b = torch.zeros_like(own.lora_b)
    lora_b[:, :width] = pair.lora_b[:, :width]
    return Pair(lora_b, torch.cat([pair.lora_a[:width], own.lora_a[width:]]))
