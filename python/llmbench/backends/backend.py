"""What a preset is: where a request goes, how its body looks, how the answer is read, and what it can tell."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from json.encoder import encode_basestring_ascii
from typing import Any, TypeAlias
from urllib.parse import quote

from llmbench.backends.body import SAMPLING, fill, merge, placeholders, substitute
from llmbench.backends.template import preset_fields
from llmbench.errors import ConfigError

Prompt: TypeAlias = str | Sequence[int] | Sequence[Mapping[str, Any]]
"""A text, a list of token ids, or a conversation as a list of messages."""
Render: TypeAlias = Callable[..., bytes]
"""`(prompt, max_tokens, prompt_tokens=None) -> bytes`."""

UNCOUNTED = ("tokenizer", "none")
"""The values of `Backend.reports` that are no count of the server's."""

_BLOCK = 512
_CHARACTERS_PER_TOKEN = 4
"""For a limit on prompt and output together, where nobody counted the prompt's tokens."""


@dataclass(frozen=True)
class Backend:
    """One way to talk to a server. Presets are in `BACKENDS`; `dataclasses.replace` makes a variant of
    one, `Backend.from_template` a new one."""

    name: str
    path: str
    """Of streamed requests; `${model}` and `${deployment}` are filled in."""
    wire_format: str
    """The decoder in the core, one of `_core.wire_formats()`."""
    body: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """JSON with placeholders, see `body.py`: `${prompt}`, `${messages}`, `${input}` (either), `${token_ids}`,
    `${model}`, `${deployment}`, `${max_tokens}`, `${max_length}` (of prompt and output), `${stream}`, `${streamed}`
    (true or missing), `${stream_options}`, `${ignore_eos}`, `${request_id}`, every sampling field by our name for
    it, and `${sampling}`, an object of those that have no place of their own."""
    takes: tuple[str, ...] = ("text",)
    """Which prompts: text, token ids, messages."""
    whole_path: str | None = None
    """Of requests that are not streamed, where it is another."""
    method: str = "POST"
    streams: bool = True
    """False: the server can answer in one piece only, so there is no TTFT."""
    whole: bool = True
    """False: the server can only stream."""
    values: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    """What the server's own rules make of the values, such as a temperature of 0 that must be left out."""
    encode: Callable[[Mapping[str, Any]], bytes] | None = None
    """Makes the bytes of a body that is not JSON."""
    rules: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Laid over the rules of the wire format; docs/wire-formats.md has them."""
    repeats_prompt: bool = False
    """The answer begins with the prompt, which the decoder has to know to take it off."""
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Besides HTTP's own; `${env:NAME}` takes a secret from the environment."""
    key_header: str = "Authorization"
    """Which header carries the key: "Bearer KEY" in Authorization, the bare key in any other."""
    key_env: str | None = "OPENAI_API_KEY"
    """Which environment variable holds the key unless another is named."""
    deployment_header: str | None = None
    """Which header names the deployment, where there are several."""
    models_path: str | None = None
    """Asked before a run for the model names; None when the server has no such list."""
    models_at: str = "/data/-/id"
    """Where the names are in that answer."""
    context_at: str | None = None
    """Where the context length is in that answer."""
    health_path: str | None = None
    """Asked before a run when there is no model list."""
    health_status: int = 200
    metrics_path: str | None = None
    metrics_port: int | None = None
    """Where it is not the server's own."""
    metrics_names: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Of a template: what stands for running, waiting and so on in the server's metrics."""
    seeded: bool = False
    """Whether `${seed}` is the run's seed when sampling names none."""
    max_tokens_field: str = "max_tokens"
    """What `${max_tokens_field}` in the body stands for: hosted reasoning models and older servers differ."""
    default_port: int = 8000
    default_model: str | None = None
    """Asked for when no model is named and the server lists none."""
    default_url: str | None = None
    """The server that a template names."""
    description: str = ""
    reports: str = "usage"
    """Where exact output token counts come from: a field of the server's, or `tokenizer`, or `none`."""
    finish_reasons: bool = True
    cached_tokens: bool = False
    """Whether the server can tell how much of a prompt it had in its cache."""
    messages_preset: str | None = None
    """The preset of the same server that takes messages."""
    forces_length: str = ""
    """How the server is told not to stop before the asked length; "" when it cannot be."""
    quirks: tuple[str, ...] = ()
    """What a user should know, a sentence each."""
    start: str = ""
    """A command that starts such a server."""

    @property
    def chat(self) -> bool:
        """Whether conversations are taken."""
        return "messages" in self.takes

    @property
    def counts(self) -> bool:
        """Whether the server tells exact output token counts."""
        return self.reports not in UNCOUNTED

    @property
    def names_model(self) -> bool:
        """Whether a request says which model it is for."""
        return "model" in self._places or "${model}" in self.path

    def path_of(self, stream: bool) -> str:
        """The path of requests, names not yet in place."""
        return self.path if (stream and self.streams) or self.whole_path is None else self.whole_path

    def with_names(self, path: str, *, model: str | None = None, deployment: str | None = None) -> str:
        """`path` with its `${model}` and `${deployment}`, %-encoded."""
        names = {"model": model or self.default_model, "deployment": deployment or model}

        def value_of(name: str) -> str:
            value = names.get(name)
            if value is None:
                raise ConfigError(
                    f"the backend {self.name} has the {name}'s name in its path: give --{name} NAME"
                )
            return quote(value, safe="")

        return substitute(path, value_of)

    def render(
        self,
        prompt: Prompt,
        max_tokens: int | None,
        prompt_tokens: int | None = None,
        *,
        model: str | None,
        stream: bool = True,
        ignore_eos: bool = False,
        sampling: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        seed: int | None = None,
        deployment: str | None = None,
    ) -> bytes:
        """One request's body, byte for byte.

        `sampling` holds temperature, top_p, top_k, min_p and the like; the temperature is 0 unless given,
        and None leaves a field out. `extra_body` goes over all else, its objects merged one level deep;
        null removes a field. `prompt_tokens` matters only to servers that limit prompt and output together;
        `seed` only to templates that have a place for it.
        """
        given = {name: value for name, value in (sampling or {}).items() if value is not None}
        self._check_sampling(given)
        if ignore_eos and not self.forces_length:
            raise ConfigError(
                f"the backend {self.name} has no way to ignore EOS: leave --ignore-eos out, answers then end "
                "where the model ends them"
            )
        stream = stream and self.streams
        values: dict[str, Any] = {"stream": stream, "max_tokens_field": self.max_tokens_field}
        if (sampling or {}).get("temperature", 0) is not None:
            values["temperature"] = 0
        values.update(given)
        values.update(self._input(prompt))
        values["input"] = values.get("prompt", values.get("messages"))
        optional = {
            "model": model or self.default_model,
            "max_tokens": None if max_tokens is None else int(max_tokens),
            "max_length": self._max_length(prompt, max_tokens, prompt_tokens),
            "streamed": stream or None,
            "stream_options": {"include_usage": True} if stream else None,
            "ignore_eos": ignore_eos or None,
            "deployment": deployment,
            "request_id": secrets.token_hex(8) if "request_id" in self._places else None,
            "seed": given.get("seed", seed if self.seeded else None),
            "sampling": {name: value for name, value in given.items() if name not in self._places} or None,
        }
        values.update({name: value for name, value in optional.items() if value is not None})
        if self.values is not None:
            values = self.values(values)
        body: dict[str, Any] = fill(self.body, values) or {}
        merge(body, extra_body or {})
        if self.encode is not None:
            return self.encode(body)
        return json.dumps(body, separators=(",", ":")).encode("ascii")

    def renderer(self, **fields: Any) -> Render:
        """`render` for many requests with the same `fields`: what they share is rendered once per length."""
        pieces: dict[tuple[int | None, int | None], list[bytes]] = {}
        measures = "max_length" in self._places

        def render(prompt: Prompt, max_tokens: int | None, prompt_tokens: int | None = None) -> bytes:
            if measures and (prompt_tokens is None or prompt_tokens < 0):
                prompt_tokens = _estimated(prompt)
            if not self._differ_in_prompts or not isinstance(prompt, str):
                return self.render(prompt, max_tokens, prompt_tokens, **fields)
            key = (max_tokens, prompt_tokens if measures else None)
            around = pieces.get(key)
            if around is None:
                around = pieces[key] = self._around(max_tokens, prompt_tokens, fields)
            return encode_basestring_ascii(prompt)[1:-1].encode("ascii").join(around)

        return render

    def bodies(
        self,
        prompts: Sequence[Prompt],
        max_tokens: Sequence[int | None],
        prompt_tokens: Sequence[int | None],
        **fields: Any,
    ) -> list[bytes]:
        """`render` of each request, all with the same `fields`."""
        texts = all(kind is str for kind in set(map(type, prompts)))
        if not texts or not self._differ_in_prompts or "max_length" in self._places:
            render = self.renderer(**fields)
            return [render(*each) for each in zip(prompts, max_tokens, prompt_tokens, strict=True)]
        pieces = {asked: self._around(asked, None, fields) for asked in set(max_tokens)}
        found: list[bytes] = []
        # A block at a time: all long prompts once more would be needless memory.
        for begin in range(0, len(prompts), _BLOCK):
            # No line ends within a JSON string.
            lines = json.dumps(list(prompts[begin : begin + _BLOCK]), separators=("\n", ":"))
            escaped = lines[2:-2].encode("ascii").split(b'"\n"')
            asked = max_tokens[begin : begin + _BLOCK]
            found += [text.join(pieces[each]) for text, each in zip(escaped, asked, strict=True)]
        return found

    def _around(
        self, max_tokens: int | None, prompt_tokens: int | None, fields: Mapping[str, Any]
    ) -> list[bytes]:
        """The pieces of a body between which its prompt stands."""
        mark = f"\0{secrets.token_hex(16)}\0"
        body = self.render(mark, max_tokens, prompt_tokens, **fields)
        return body.split(json.dumps(mark)[1:-1].encode("ascii"))

    @cached_property
    def _differ_in_prompts(self) -> bool:
        """Whether bodies for texts of one length differ in nothing else."""
        return self.encode is None and "request_id" not in self._places

    @classmethod
    def from_template(cls, template: Mapping[str, Any] | str, **changes: Any) -> Backend:
        """A preset made from a description of the server: an object, or the name of a JSON file that holds
        it. docs/backends.md has its keys."""
        return cls(**{**preset_fields(template), **changes})

    @cached_property
    def _places(self) -> frozenset[str]:
        return frozenset(placeholders(self.body))

    def _check_sampling(self, given: Mapping[str, Any]) -> None:
        if "sampling" in self._places:
            return
        for name in given:
            if name not in self._places:
                known = ", ".join(each for each in SAMPLING if each in self._places) or "nothing"
                raise ConfigError(
                    f"the backend {self.name} has no {name}, of sampling it takes {known}: leave it out, or name "
                    "the server's own field in --extra-body"
                )

    def _max_length(self, prompt: Prompt, max_tokens: int | None, prompt_tokens: int | None) -> int | None:
        if "max_length" not in self._places or max_tokens is None:
            return None
        known = prompt_tokens is not None and prompt_tokens >= 0
        return (prompt_tokens if known else _estimated(prompt)) + max_tokens  # type: ignore[operator]

    def _input(self, prompt: Prompt) -> dict[str, Any]:
        if isinstance(prompt, str):
            return (
                {"prompt": prompt}
                if "text" in self.takes
                else {"messages": [{"role": "user", "content": prompt}]}
            )
        if len(prompt) > 0 and isinstance(prompt[0], Mapping):
            if "messages" not in self.takes:
                instead = f": use {self.messages_preset}" if self.messages_preset else ""
                raise ConfigError(f"the backend {self.name} takes prompts, not messages{instead}")
            return {"messages": list(prompt)}
        if "token ids" not in self.takes:
            kinds = " or ".join({"text": "texts"}.get(kind, kind) for kind in self.takes)
            raise ConfigError(f"the backend {self.name} takes {kinds}, not token ids: use openai or vllm")
        return {"token_ids" if "token_ids" in self._places else "prompt": list(prompt)}


def _estimated(prompt: Prompt) -> int:
    """About as many tokens as the prompt has."""
    if isinstance(prompt, str):
        return max(1, len(prompt) // _CHARACTERS_PER_TOKEN)
    return sum(
        _estimated(str(each.get("content", ""))) if isinstance(each, Mapping) else 1 for each in prompt
    )
