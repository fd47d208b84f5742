"""How many tokens prompts have: by a tokenizer, or estimated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from llmbench.backends import Prompt
from llmbench.errors import ConfigError, MissingExtraError

Lengths = npt.NDArray[np.int64]
Tokenizer: TypeAlias = Any
"""What `tokenizer` may be: a `tokenizers.Tokenizer`, or a path to a tokenizer.json or its directory."""
TokenizerLike: TypeAlias = "str | PathLike[str] | Tokenizer | None"


def load_tokenizer(tokenizer: TokenizerLike) -> Tokenizer | None:
    """The tokenizer itself, from wherever it is. Raises ConfigError."""
    if tokenizer is None or not isinstance(tokenizer, str | PathLike):
        return tokenizer
    path = Path(tokenizer)
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise ConfigError(
            f"no tokenizer at {path}: give a directory with a tokenizer.json, or that file "
            "(a run needs no tokenizer: the server's own counts are used)"
        )
    try:
        from tokenizers import Tokenizer as FastTokenizer
    except ImportError:
        raise MissingExtraError("tokenizers", "a tokenizer") from None
    try:
        loaded: Tokenizer = FastTokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exception
        raise ConfigError(f"cannot read the tokenizer {file}: {error}") from None
    return loaded


def tokenizer_name(tokenizer: TokenizerLike) -> str | None:
    if tokenizer is None:
        return None
    return str(tokenizer) if isinstance(tokenizer, str | PathLike) else type(tokenizer).__name__


def count_tokens(counter: Tokenizer | None, prompts: Sequence[Prompt]) -> Lengths:
    """Tokens of each prompt; without a tokenizer a quarter of its bytes, which is what English text comes
    to."""
    counts = np.empty(len(prompts), dtype=np.int64)
    texts: list[tuple[int, str]] = []
    for i, prompt in enumerate(prompts):
        if not isinstance(prompt, str) and all(isinstance(part, int) for part in prompt):
            counts[i] = len(prompt)
        else:
            texts.append((i, prompt if isinstance(prompt, str) else _message_text(prompt)))
    if counter is None:
        for i, text in texts:
            counts[i] = max(1, round(len(text.encode("utf-8", "surrogatepass")) / 4))
    elif texts:
        for (i, _), encoding in zip(texts, counter.encode_batch([text for _, text in texts]), strict=True):
            counts[i] = len(encoding.ids)
    return counts


def _message_text(messages: Iterable[Any]) -> str:
    parts: list[str] = []
    for message in messages:
        content = message.get("content") if isinstance(message, Mapping) else None
        if isinstance(content, str):
            parts.append(content)
        elif isinstance(content, list):
            parts += [
                piece["text"]
                for piece in content
                if isinstance(piece, Mapping) and isinstance(piece.get("text"), str)
            ]
    return "\n".join(parts)
