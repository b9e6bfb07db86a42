"""A model with adapters: tensors, payload, evaluation, checkpoint."""
