"""Flower apps: their messages, their clients' work, and merges as Flower's strategies.

Only the modules of this room import ``flwr``, the extra ``flower``.
"""
