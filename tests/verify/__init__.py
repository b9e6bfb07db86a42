"""The trace: written, joined, asked and audited."""
