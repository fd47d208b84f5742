"""Which server answers at an address, from what it tells about itself: a few GETs, never a generation.

Asked only when the server did not answer as its preset's would, to say what it was instead.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llmbench.backends import BACKENDS, Backend

Get = Callable[[str], "tuple[int, bytes] | None"]
"""Status and body of a GET, or None when there was no answer."""

_OPENAI = frozenset({"openai-completions", "openai-chat"})
_MODERN = _OPENAI | {"openai-responses", "anthropic-messages"}


@dataclass(frozen=True)
class Software:
    """A kind of server."""

    name: str
    preset: str
    """The backend to measure it with."""
    formats: frozenset[str]
    """The wire formats it speaks."""

    def speaks(self, backend: Backend) -> bool:
        return backend.wire_format in self.formats or backend.name == "template"


@dataclass(frozen=True)
class Seen:
    """A server that was recognized, and by what."""

    software: Software
    path: str

    def explain(self, backend: Backend) -> str:
        """One line for somebody who asked it as `backend`."""
        return (
            f"this answers like {self.software.name} (GET {self.path}), not like "
            f"{backend.description or backend.name}: did you mean --backend {self.software.preset}?"
        )


_LLAMACPP = Software("llama.cpp", "llamacpp", _MODERN | {"llamacpp"})
_OLLAMA = Software("Ollama", "ollama", _MODERN | {"ollama", "ollama-chat"})
_SGLANG = Software("SGLang", "sglang", _MODERN | {"sglang"})
_TGI = Software("TGI", "tgi", _OPENAI | {"tgi"})
_TRITON = Software("Triton", "tensorrt_llm_triton", _OPENAI | {"triton"})
_VLLM = Software("vLLM", "vllm", _MODERN)
_JETSTREAM = Software("JetStream", "jetstream-v1", frozenset({"jetstream-v1"}))
_SAX = Software("Sax", "sax", frozenset({"sax"}))
_OPENAI_STYLE = Software("an OpenAI-style server", "openai", _MODERN)
_OWNERS = {"vllm": _VLLM, "llamacpp": _LLAMACPP, "sglang": _SGLANG, "library": _OLLAMA}


def recognize(get: Get) -> Seen | None:
    """Asks the paths that only one kind of server has, the telling ones first."""
    for path, judge in _MARKS:
        answer = get(path)
        if answer is None:
            return None  # it does not answer at all, so no other path would be
        status, body = answer
        software = judge(body) if status == 200 else None
        if software is not None:
            return Seen(software, path)
    return None


def _has(software: Software, *keys: str) -> Callable[[bytes], Software | None]:
    def judge(body: bytes) -> Software | None:
        answer = _json(body)
        return software if isinstance(answer, dict) and all(key in answer for key in keys) else None

    return judge


def _owner(body: bytes) -> Software | None:
    answer = _json(body)
    models = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(models, list):
        return None
    owners = [each.get("owned_by") for each in models if isinstance(each, dict)]
    return next((_OWNERS[each] for each in owners if each in _OWNERS), _OPENAI_STYLE)


def _nothing(body: bytes) -> Software | None:
    """Triton says it is ready by an empty answer."""
    return _TRITON if not body.strip() else None


_MARKS: tuple[tuple[str, Callable[[bytes], Software | None]], ...] = (
    ("/info", _has(_TGI, "model_id", "max_total_tokens")),
    ("/get_model_info", _has(_SGLANG, "model_path")),
    ("/props", _has(_LLAMACPP, "default_generation_settings")),
    ("/api/tags", _has(_OLLAMA, "models")),
    ("/v1/health", _has(_JETSTREAM, "is_live")),
    ("/health", _has(_SAX, "model_status")),
    ("/v2/health/ready", _nothing),
    ("/v1/models", _owner),
)


def preset_of_format(wire_format: str) -> str | None:
    """The backend that reads this wire format; the first where several do."""
    return next((name for name, preset in BACKENDS.items() if preset.wire_format == wire_format), None)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
