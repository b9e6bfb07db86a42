"""Adapters in folders, as peft writes and reads them."""
