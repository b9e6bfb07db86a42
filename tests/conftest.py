"""Settings that every test shares."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # as many processes as cores do the rest
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
