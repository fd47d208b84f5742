"""One setting of a sweep's server and of its clients, and the name its result bears:

meta-llama_Llama-2-7b-hf-tp1-bs768-replicas1-prompt2600-gen60-clients8.json
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_STEM = re.compile(
    r"(?P<model>.+)-tp(?P<tp_size>\d+)-bs(?P<max_ragged_batch_size>\d+)-replicas(?P<num_replicas>\d+)"
    r"-prompt(?P<prompt_length>\d+)-gen(?P<gen_length>\d+)-clients(?P<num_clients>\d+)"
)


@dataclass(frozen=True, order=True)
class Combination:
    """One setting of server and clients. Lengths are means, in tokens."""

    model: str
    tp_size: int
    max_ragged_batch_size: int
    num_replicas: int
    prompt_length: int
    gen_length: int
    num_clients: int

    def set_stem(self) -> str:
        """The name without the clients: what one throughput-latency curve is about."""
        return (
            f"{self.model.replace('/', '_')}-tp{self.tp_size}-bs{self.max_ragged_batch_size}"
            f"-replicas{self.num_replicas}-prompt{self.prompt_length}-gen{self.gen_length}"
        )

    def file_stem(self) -> str:
        return f"{self.set_stem()}-clients{self.num_clients}"

    @property
    def file_name(self) -> str:
        return f"{self.file_stem()}.json"

    @classmethod
    def parse(cls, name: str | os.PathLike[str]) -> Combination | None:
        """The combination a file is named after, or None for any other file.

        The name does not tell a `/` of the model from a `_`: the model comes back as it stands in the name.
        """
        name = Path(name).name
        match = _STEM.fullmatch(name.removesuffix(".json"))
        if match is None:
            return None
        fields = match.groupdict()
        return cls(fields.pop("model"), **{key: int(value) for key, value in fields.items()})

    def to_args(self) -> dict[str, Any]:
        """The seven settings under the names the command line and the files give them."""
        return {key: getattr(self, name) for name, key in ARG_NAMES.items()}

    @classmethod
    def from_args(cls, args: Mapping[str, Any], fallback: Combination) -> Combination:
        """The settings in a file's `args`; what is missing or not one value there comes from its name."""
        values = dataclasses.asdict(fallback)
        for name, key in ARG_NAMES.items():
            value = args.get(key)
            if isinstance(value, list) and len(value) == 1:
                value = value[0]
            if name == "model":
                if isinstance(value, str) and value:
                    values[name] = value
            elif isinstance(value, int) and not isinstance(value, bool):
                values[name] = value
        return cls(**values)


ARG_NAMES = {
    "model": "model",
    "tp_size": "tp_size",
    "max_ragged_batch_size": "max_ragged_batch_size",
    "num_replicas": "num_replicas",
    "prompt_length": "mean_prompt_length",
    "gen_length": "mean_max_new_tokens",
    "num_clients": "num_clients",
}
