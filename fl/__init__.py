"""Federated LoRA learning: weights, data and rounds, without a clock."""
