"""The model and its adapters: tensors, payload, evaluation, checkpoint."""
