"""Texts of random words with given lengths, no two of which begin alike."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from llmbench.token_counts import Lengths, Tokenizer
from llmbench.vocabulary import WORDS

_WIDTH = len(WORDS[0]) + 1
_TABLE = np.frombuffer("".join(f" {word}" for word in WORDS).encode("ascii"), dtype=np.uint8).reshape(
    len(WORDS), _WIDTH
)
_HEAD = 4
"""Words at the start of a prompt that number it."""


def random_texts(lengths: Lengths, seed: int, prefix_len: int = 0) -> Iterator[str]:
    """Texts of `lengths` words. The first words of each (after the shared prefix) count in base 256,
    scattered by an odd factor, so that no two are alike; the rest is random."""
    chance = np.random.default_rng([0x74657874, seed])
    prefix = np.frombuffer(chance.bytes(max(prefix_len, 1)), dtype=np.uint8)[:prefix_len]
    first, factor = (int(value) for value in chance.integers(0, 1 << 32, 2))
    factor |= 1
    numbers = (np.arange(len(lengths), dtype=np.uint64) * np.uint64(factor) + np.uint64(first)) & np.uint64(
        0xFFFFFFFF
    )
    heads = numbers.astype("<u4").view(np.uint8).reshape(-1, _HEAD)
    # A block at a time: the words of ten thousand long prompts at once would be needless memory.
    for begin in range(0, len(lengths), 512):
        block = lengths[begin : begin + 512]
        offsets = np.concatenate(([0], np.cumsum(block)))
        words = np.frombuffer(chance.bytes(int(offsets[-1])), dtype=np.uint8).copy()
        shared = np.minimum(prefix_len, block)
        if prefix_len:
            for start, length in zip(offsets[:-1].tolist(), shared.tolist(), strict=True):
                words[start : start + length] = prefix[:length]
        own = offsets[:-1] + shared
        for place in range(_HEAD):
            reaches = own + place < offsets[1:]
            words[own[reaches] + place] = heads[begin : begin + len(block), place][reaches]
        text = _TABLE[words].tobytes().decode("ascii")
        places = (offsets * _WIDTH).tolist()
        for start, stop in itertools.pairwise(places):
            yield text[start + 1 : stop]


def exact_texts(
    counter: Tokenizer, lengths: Lengths, seed: int, prefix_len: int
) -> tuple[list[str], Lengths]:
    """Texts that the tokenizer counts as `lengths` tokens: words are taken from or added to the end until
    it does."""
    special = counter.num_special_tokens_to_add(is_pair=False)
    words = np.maximum(lengths - special, 1)
    texts = list(random_texts(words, seed, prefix_len))
    counts = np.zeros(len(texts), dtype=np.int64)
    pending = np.arange(len(texts))
    filler = np.random.default_rng([0x66696C6C, seed])
    for attempt in range(16):
        counts[pending] = [
            len(encoding.ids) for encoding in counter.encode_batch([texts[i] for i in pending.tolist()])
        ]
        pending = pending[counts[pending] != np.maximum(lengths[pending], special + 1)]
        if not pending.size or attempt == 15:
            break
        for i in pending.tolist():
            missing = int(lengths[i] - counts[i])
            if missing > 0:
                more = filler.integers(0, len(WORDS), missing).tolist()
                texts[i] = " ".join([texts[i], *(WORDS[word] for word in more)])
            else:
                # Dropping `missing` words drops at least that many tokens; what is too many comes back
                # next time.
                texts[i] = texts[i].rsplit(" ", min(-missing, texts[i].count(" ")))[0]
    return texts, counts
