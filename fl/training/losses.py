"""The loss of each client of a batch.

Classification: logits [b, labels] and labels [b]. Causal language model: logits
[b, tokens, vocabulary] and labels [b, tokens]; each position predicts the next token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fl.tasks.tokens import IGNORED

if TYPE_CHECKING:
    from torch import Tensor


def targets(labels: Tensor) -> Tensor:
    """Return the target of each row of logits: for texts, labels shifted by one."""
    import torch

    if labels.dim() == 1:
        return labels
    return torch.nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED)


def num_items(labels: Tensor) -> int:
    """Return the number of predictions in a client's loss."""
    return int((targets(labels) != IGNORED).sum())


def client_losses(logits: Tensor, labels: Tensor, num_items: Tensor) -> Tensor:
    """Return each client's sum of cross entropies, divided by ``num_items`` [clients].

    Samples are ordered by client, the same number for each.
    """
    import torch

    if logits.dim() != labels.dim() + 1:
        raise ValueError(
            f"no loss for logits of shape {tuple(logits.shape)} and labels of shape "
            f"{tuple(labels.shape)}: only classification and causal language models"
        )
    if logits.dtype in (torch.bfloat16, torch.float16):
        logits = logits.float()
    entropies = torch.nn.functional.cross_entropy(
        logits.flatten(0, -2),
        targets(labels).flatten(),
        reduction="none",
        ignore_index=IGNORED,
    )
    return entropies.view(len(num_items), -1).sum(1) / num_items
