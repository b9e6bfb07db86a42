"""Tokenizers: of a pre-trained model, or trained on a task's texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from fl.backbones.families import first_line
from fl.memory import recipe
from fl.memory.code import code_digest
from fl.memory.files import kept
from fl.tasks import Source
from fl.tasks.data_files import file_digest

if TYPE_CHECKING:
    import tokenizers
    from transformers import PreTrainedTokenizerBase

TOKENIZER_FILES = ("token*", "vocab*", "merges*", "special_tokens*", "*.model")
SETTINGS_FILES = ("*.json", "*.txt", "*.jinja", "*_chat_templates/*")
PAD, FIRST, LAST, END = "[PAD]", "[CLS]", "[SEP]", "<|end|>"


@dataclass(frozen=True)
class LoadedTokenizer:
    """A transformers tokenizer that is loaded on first use."""

    digest: str
    load: Callable[[], PreTrainedTokenizerBase]

    @property
    def pad_id(self) -> int:
        return int(self.loaded.pad_token_id)

    @property
    def end_id(self) -> int:
        found = self.loaded.eos_token_id
        return int(self.loaded.sep_token_id if found is None else found)

    def encode(
        self, texts: Sequence[str], *, max_length: int, special: bool = True
    ) -> list[list[int]]:
        encoded = self.loaded(
            list(texts),
            add_special_tokens=special,
            truncation=True,
            max_length=max_length,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        rows: list[list[int]] = encoded["input_ids"]
        return rows

    def decode(self, numbers: Sequence[int]) -> str:
        return str(self.loaded.decode(list(numbers), skip_special_tokens=True))

    def as_chat(self, prompt: str) -> str:
        if self.loaded.chat_template is None:
            raise ValueError(
                "task.chat must be false: the model's tokenizer has no chat template"
            )
        turn = [{"role": "user", "content": prompt}]
        return str(
            self.loaded.apply_chat_template(
                turn, tokenize=False, add_generation_prompt=True
            )
        )

    def save(self, folder: Path, *, max_length: int) -> None:
        """Write it for ``AutoTokenizer``, which cuts texts to ``max_length`` and gives
        what the model was trained on."""
        tokenizer = self.load()
        tokenizer.model_max_length = max_length
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
        tokenizer.init_kwargs["model_input_names"] = tokenizer.model_input_names
        tokenizer.save_pretrained(folder)

    @cached_property
    def loaded(self) -> PreTrainedTokenizerBase:
        """Return the transformers tokenizer."""
        return self.load()


def folder_tokenizer(folder: Path) -> LoadedTokenizer:
    """Return the tokenizer in a model's folder, named by all files that may change a
    token: its vocabulary, templates and settings; raise if there is none."""
    paths = {path for pattern in TOKENIZER_FILES for path in folder.glob(pattern)}
    if not any(path.is_file() for path in paths):
        # transformers would make an empty tokenizer
        raise ValueError(
            f"backbone.path: '{folder}' holds no tokenizer (tokenizer.json, vocab.txt "
            "…); save it there with `tokenizer.save_pretrained(folder)`"
        )
    paths |= {path for pattern in SETTINGS_FILES for path in folder.glob(pattern)}
    files = {
        path.relative_to(folder).as_posix(): file_digest(path)
        for path in paths
        if path.is_file()
    }
    digest = recipe.digest("tokenizer files", {"files": files})
    return LoadedTokenizer(digest, partial(_load_folder, folder))


def bpe_tokenizer(task: Source, vocab_size: int) -> LoadedTokenizer:
    """Return a byte-level BPE tokenizer to be trained on the task's texts."""
    made: dict[str, recipe.Json] = {
        "task": task.digest,
        "num_words": vocab_size,
        "tokenizers": metadata.version("tokenizers"),
    }
    digest = recipe.digest("trained tokenizer 1", made)
    return LoadedTokenizer(digest, partial(_load_trained, digest, task, vocab_size))


def _load_folder(folder: Path) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except MemoryError:
        raise
    except Exception as error:  # whatever a stranger's files make the library do
        raise ValueError(
            f"backbone.path: the tokenizer in '{folder}' cannot be read: "
            f"{first_line(error)}"
        ) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token  # usual for GPT-2 and Llama
    return tokenizer


def _load_trained(
    digest: str, task: Source, vocab_size: int
) -> PreTrainedTokenizerBase:
    from tokenizers import Tokenizer as FastTokenizer
    from transformers import PreTrainedTokenizerFast

    made = recipe.digest(
        "tokenizer", {"recipe": digest, "code": code_digest([__name__], [task])}
    )
    content = kept(
        f"tokenizer-{made}.json", lambda: _train(task, vocab_size).to_str().encode()
    )
    special = {"pad_token": PAD, "eos_token": END}
    if task.objective != "causal":
        special = {"pad_token": PAD, "cls_token": FIRST, "sep_token": LAST}
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=FastTokenizer.from_str(content.decode()), **special
    )


def _train(task: Source, vocab_size: int) -> tokenizers.Tokenizer:
    """Return a byte-level BPE tokenizer that splits numbers into digits.

    WordPiece is no choice: its trainer numbers tokens in an order that differs between
    processes. For classification, texts are lower-cased and get BERT's special tokens.
    """
    from tokenizers import Tokenizer as FastTokenizer
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors
    from tokenizers.trainers import BpeTrainer

    is_framed = task.objective != "causal"
    special = [PAD, FIRST, LAST] if is_framed else [PAD, END]
    tokenizer = FastTokenizer(models.BPE())
    bytewise = pre_tokenizers.ByteLevel(add_prefix_space=is_framed)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), bytewise]
    )
    tokenizer.decoder = decoders.ByteLevel()
    if is_framed:
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        first, last = ((name, special.index(name)) for name in (FIRST, LAST))
        tokenizer.post_processor = processors.BertProcessing(last, first)
    trainer = BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(task.corpus(), trainer)
    return tokenizer
