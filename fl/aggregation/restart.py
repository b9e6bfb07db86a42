"""The pair that a client starts from where it is not simply the one merged."""

from __future__ import annotations

from fl.aggregation.components import LayerComponents, Pair, weighted_mean


def restarted(layer: LayerComponents) -> Pair:
    """Return B = 0 and the averaged A, so that the product is zero and trainable."""
    import torch

    lora_b, lora_a = zip(*layer.padded(), strict=True)
    return Pair(torch.zeros_like(lora_b[0]), weighted_mean(lora_a, layer.weights))


def at_rank(pair: Pair, rank: int, own: Pair) -> Pair:
    """Return a client's prefix of a pair, or its own rows of A below a shorter one.

    There B is zero, so that the product is the pair's and the ranks can be trained.
    ``own`` is what the client of this rank had before.
    """
    import torch

    width = min(rank, pair.lora_a.shape[0])
    lora_b = torch.zeros_like(own.lora_b)
    lora_b[:, :width] = pair.lora_b[:, :width]
    return Pair(lora_b, torch.cat([pair.lora_a[:width], own.lora_a[width:]]))
