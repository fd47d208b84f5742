"""The presets: which path a server is asked at, how a request's body looks, and which decoder reads the
answer."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from typing import Any, TypeAlias

from llmbench.errors import ConfigError

Prompt: TypeAlias = str | Sequence[int] | Sequence[Mapping[str, Any]]
"""A text, a list of token ids, or a conversation as a list of messages."""

_MARK = "\x00the prompt goes here\x00"


@dataclass(frozen=True)
class Backend:
    """One way to talk to a server. Presets are in `BACKENDS`; `dataclasses.replace` makes a variant of
    one."""

    name: str
    path: str
    wire_format: str
    """The decoder in the core: openai-completions or openai-chat."""
    chat: bool = False
    models_path: str | None = "/v1/models"
    """Asked before a run for the model names; None when the server has no such list."""
    health_path: str | None = None
    """Asked before a run when there is no model list."""
    max_tokens_field: str = "max_tokens"
    description: str = ""
    reports: str = "usage"
    """Where exact output token counts come from."""
    default_port: int = 8000

    def render(
        self,
        prompt: Prompt,
        max_tokens: int | None,
        *,
        model: str | None,
        stream: bool = True,
        ignore_eos: bool = False,
        sampling: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
    ) -> bytes:
        """One request's body, byte for byte.

        `sampling` holds temperature, top_p, top_k, min_p and the like; the temperature is 0 unless given,
        and None leaves a field out. `extra_body` goes over all else, its objects merged one level deep;
        null removes a field.
        """
        body: dict[str, Any] = {"model": model} if model is not None else {}
        body.update(self._input(prompt))
        if max_tokens is not None:
            body[self.max_tokens_field] = int(max_tokens)
        body["temperature"] = 0.0
        for key, value in (sampling or {}).items():
            if value is None:
                body.pop(key, None)
            else:
                body[key] = value
        if ignore_eos:
            body["ignore_eos"] = True
        body["stream"] = stream
        if stream:
            body["stream_options"] = {"include_usage": True}
        for key, value in (extra_body or {}).items():
            if value is None:
                body.pop(key, None)
            elif isinstance(value, Mapping) and isinstance(body.get(key), dict):
                body[key] = {**body[key], **value}
            else:
                body[key] = value
        return json.dumps(body, separators=(",", ":")).encode("ascii")

    def renderer(self, **fields: Any) -> Callable[[Prompt, int | None], bytes]:
        """`render` for many requests with the same `fields`: what they share is rendered once per length."""
        pieces: dict[int | None, list[bytes]] = {}

        def render(prompt: Prompt, max_tokens: int | None) -> bytes:
            if not isinstance(prompt, str):
                return self.render(prompt, max_tokens, **fields)
            around = pieces.get(max_tokens)
            if around is None:
                around = self.render(_MARK, max_tokens, **fields).split(json.dumps(_MARK).encode("ascii"))
                pieces[max_tokens] = around
            if len(around) != 2:  # extra_body replaced the prompt
                return self.render(prompt, max_tokens, **fields)
            return around[0] + encode_basestring_ascii(prompt).encode("ascii") + around[1]

        return render

    def _input(self, prompt: Prompt) -> dict[str, Any]:
        conversation = not isinstance(prompt, str) and len(prompt) > 0 and isinstance(prompt[0], Mapping)
        if self.chat:
            if conversation:
                return {"messages": list(prompt)}
            if isinstance(prompt, str):
                return {"messages": [{"role": "user", "content": prompt}]}
            raise ConfigError(
                f"the backend {self.name} takes texts or messages, not token ids: use openai or vllm"
            )
        if conversation:
            raise ConfigError(f"the backend {self.name} takes prompts, not messages: use {self.name}-chat")
        return {"prompt": prompt if isinstance(prompt, str) else list(prompt)}


_COMPLETIONS = Backend(
    "openai", "/v1/completions", "openai-completions", description="OpenAI completions, streamed"
)
_CHAT = Backend(
    "openai-chat",
    "/v1/chat/completions",
    "openai-chat",
    chat=True,
    max_tokens_field="max_completion_tokens",
    description="OpenAI chat completions, streamed",
)


def _named(base: Backend, name: str, description: str) -> Backend:
    import dataclasses

    return dataclasses.replace(base, name=name, description=description)


BACKENDS: dict[str, Backend] = {
    "openai": _COMPLETIONS,
    "openai-completions": _named(_COMPLETIONS, "openai-completions", "the same as openai"),
    "openai-chat": _CHAT,
    "vllm": _named(_COMPLETIONS, "vllm", "vLLM's completions"),
    "vllm-chat": _named(_CHAT, "vllm-chat", "vLLM's chat completions"),
    "sim": _named(_COMPLETIONS, "sim", "the simulated server, llmbench sim"),
}
"""Every preset by name."""


def get(name: str | Backend) -> Backend:
    """The preset of that name. Errors name the nearest one."""
    if isinstance(name, Backend):
        return name
    try:
        return BACKENDS[name]
    except KeyError:
        near = difflib.get_close_matches(name, BACKENDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(BACKENDS)}"
        raise ConfigError(f"unknown backend {name!r}: {hint}") from None
