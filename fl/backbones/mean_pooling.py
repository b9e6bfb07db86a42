"""A classifier of the mean of a text's token vectors, for sentence encoders.

A run's adapter folder is written for the encoder alone, and its model card pools: who
loads it needs no class of ours.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class MeanPooledClassifier(PreTrainedModel):
    """A linear head on the mean of an encoder's last hidden states over the tokens.

    Reimers and Gurevych, "Sentence-BERT" (arXiv 1908.10084): sentence encoders are
    trained with this mean, not with the first token.
    """

    base_model_prefix = "body"
    _supports_sdpa = True
    _supports_flash_attn = True

    def __init__(self, config: PretrainedConfig) -> None:
        """Initialise the model of a configuration."""
        super().__init__(config)
        assert config.num_labels is not None
        self.num_labels = config.num_labels
        self.body = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
        self.classifier = nn.Linear(config.hidden_size, self.num_labels)
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        **options: Any,
    ) -> SequenceClassifierOutput:
        """Return the logits [texts, labels], and the loss where labels are given."""
        body = self.body(input_ids, attention_mask=attention_mask, **options)
        states = body.last_hidden_state  # [texts, tokens, width]
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        mask = attention_mask.unsqueeze(-1).to(states.dtype)
        logits = self.classifier((states * mask).sum(1) / mask.sum(1))
        loss = None
        if labels is not None:
            loss = nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)
