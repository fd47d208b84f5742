"""How a server of each wire format writes an answer: what `ScriptedServer` scripts are made of beyond OpenAI's own.

    dress = DRESSES["ollama"]
    [head(200, dress.headers), chunk(dress.pieces(request)[0]), …]

The bytes follow the servers' documentation and sources, as the streams of tests/golden/wire do; what they must mean is
stated there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from support.scripted_server import Request

JSON_TYPE = "application/json"
SSE_TYPE = "text/event-stream"
Json = Any


def compact(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def sse(payload: bytes) -> bytes:
    return b"data: " + payload + b"\n\n"


def line(payload: bytes) -> bytes:
    return payload + b"\n"


def nul(payload: bytes) -> bytes:
    return payload + b"\0"


def bare(payload: bytes) -> bytes:
    return payload


@dataclass(frozen=True)
class Dress:
    """One wire format. Answers of four texts, a token each, are what everything here is about."""

    document: Callable[[Request, str], Json]
    """The whole answer in one piece, with its counts where the format has them."""
    piece: Callable[[Request, str, str, int], Json] | None = None
    """An event: of this new text, the text so far and the tokens so far. None: the format is never streamed."""
    end: Callable[[str], Sequence[Json]] = lambda text: ()
    """What follows the last text, which was this in all: finish reason and counts."""
    frame: Callable[[bytes], bytes] = sse
    type: str | None = SSE_TYPE
    terminal: bytes = b""
    """An event that is not JSON and ends the stream, framed."""
    at_end_of_body: bool = False
    """Nothing but the end of the body ends a stream."""
    counts: bool = True
    """Whether the server tells how many tokens there were."""
    error: Json = None
    """What the server sends when it fails in the middle of an answer; None: {"error": {"message": …}}."""

    @property
    def streams(self) -> bool:
        return self.piece is not None

    @property
    def headers(self) -> dict[str, str]:
        """Of a stream, in chunks."""
        named = {"Content-Type": self.type} if self.type else {}
        return {**named, "Transfer-Encoding": "chunked"}

    def event(self, value: Json) -> bytes:
        return self.frame(compact(value))

    def pieces(self, request: Request, texts: Sequence[str]) -> list[bytes]:
        """Each text as the server sends it, framed."""
        assert self.piece is not None
        return [
            self.event(self.piece(request, text, "".join(texts[: i + 1]), i + 1))
            for i, text in enumerate(texts)
        ]

    def ending(self, texts: Sequence[str]) -> bytes:
        """Finish reason, counts and terminal event, framed."""
        return b"".join(self.event(value) for value in self.end("".join(texts))) + self.terminal

    def failure(self, message: str) -> Json:
        return self.error if self.error is not None else {"error": {"message": message}}


COUNT = 4
"""Of the tokens of every answer: the counts below are for as many."""


def openai_choice(text: str, finish: str | None = None, **more: Json) -> Json:
    return {
        "object": "text_completion",
        "choices": [{"index": 0, "text": text, "finish_reason": finish}],
        **more,
    }


def chat_choice(delta: Json, finish: str | None = None, **more: Json) -> Json:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"object": "chat.completion.chunk", "choices": [choice], **more}


OPENAI_USAGE = {"usage": {"prompt_tokens": 1, "completion_tokens": COUNT, "total_tokens": 1 + COUNT}}
RESPONSES_USAGE = {"usage": {"input_tokens": 1, "output_tokens": COUNT}}


def responses_output(text: str) -> Json:
    return [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}]


def prompt_of(request: Request) -> str:
    return str(request.json["prompt"])


def tgi_event(text: str, whole: str | None = None, details: Json = None) -> Json:
    return {"token": {"id": 3, "text": text, "special": False}, "generated_text": whole, "details": details}


TGI_DETAILS = {"finish_reason": "length", "generated_tokens": COUNT, "seed": None}


def sglang(text: str, tokens: int, finish: Json = None) -> Json:
    return {
        "text": text,
        "meta_info": {"finish_reason": finish, "prompt_tokens": 1, "completion_tokens": tokens},
    }


SGLANG_END = {"type": "length", "length": COUNT}


def llamacpp(text: str, tokens: int, **more: Json) -> Json:
    return {
        "content": text,
        "tokens": [3],
        "stop": False,
        "tokens_predicted": tokens,
        "tokens_evaluated": 1,
        **more,
    }


LLAMACPP_END = {"stop": True, "stop_type": "limit"}
OLLAMA_END = {"done": True, "done_reason": "length", "prompt_eval_count": 1, "eval_count": COUNT}


def samples(text: str, ids: Sequence[int]) -> Json:
    return {"streamContent": {"samples": [{"text": text, "tokenIds": list(ids)}]}}


DONE = sse(b"[DONE]")
DRESSES: dict[str, Dress] = {
    "openai-completions": Dress(
        piece=lambda request, text, so_far, tokens: openai_choice(text),
        end=lambda text: (openai_choice("", "length"), {"choices": [], **OPENAI_USAGE}),
        terminal=DONE,
        document=lambda request, text: openai_choice(text, "length", **OPENAI_USAGE),
    ),
    "openai-chat": Dress(
        piece=lambda request, text, so_far, tokens: chat_choice({"content": text}),
        end=lambda text: (chat_choice({}, "length"), {"choices": [], **OPENAI_USAGE}),
        terminal=DONE,
        document=lambda request, text: {
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "length"}
            ],
            **OPENAI_USAGE,
        },
    ),
    "openai-responses": Dress(
        piece=lambda request, text, so_far, tokens: {"type": "response.output_text.delta", "delta": text},
        end=lambda text: (
            {"type": "response.output_text.done", "text": text},
            {
                "type": "response.completed",
                "response": {"status": "completed", "output": responses_output(text), **RESPONSES_USAGE},
            },
        ),
        document=lambda request, text: {
            "object": "response",
            "status": "completed",
            "error": None,
            "output": responses_output(text),
            **RESPONSES_USAGE,
        },
        error={"type": "error", "code": "server_error", "message": "it broke"},
    ),
    "anthropic-messages": Dress(
        piece=lambda request, text, so_far, tokens: {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": text},
        },
        end=lambda text: (
            {
                "type": "message_delta",
                "delta": {"stop_reason": "max_tokens"},
                "usage": {"output_tokens": COUNT},
            },
            {"type": "message_stop"},
        ),
        document=lambda request, text: {
            "type": "message",
            "content": [{"type": "text", "text": text}],
            "stop_reason": "max_tokens",
            "usage": {"input_tokens": 1, "output_tokens": COUNT},
        },
        error={"type": "error", "error": {"type": "api_error", "message": "it broke"}},
    ),
    "vllm-generate": Dress(
        piece=lambda request, text, so_far, tokens: {"text": [prompt_of(request) + so_far]},
        frame=nul,
        type=None,
        at_end_of_body=True,
        document=lambda request, text: {"text": [prompt_of(request) + text]},
        counts=False,
    ),
    "tgi": Dress(
        piece=lambda request, text, so_far, tokens: (
            tgi_event(text, so_far, TGI_DETAILS) if tokens == COUNT else tgi_event(text)
        ),
        document=lambda request, text: {"generated_text": text, "details": TGI_DETAILS},
        error={"error": "it broke", "error_type": "generation"},
    ),
    "triton": Dress(
        piece=lambda request, text, so_far, tokens: {"model_name": "m", "text_output": text},
        at_end_of_body=True,
        document=lambda request, text: {"model_name": "m", "text_output": text},
        counts=False,
        error={"error": "it broke"},
    ),
    "sglang": Dress(
        piece=lambda request, text, so_far, tokens: sglang(so_far, tokens),
        end=lambda text: (sglang(text, COUNT, SGLANG_END),),
        terminal=DONE,
        document=lambda request, text: sglang(text, COUNT, SGLANG_END),
    ),
    "llamacpp": Dress(
        piece=lambda request, text, so_far, tokens: llamacpp(text, tokens),
        end=lambda text: (llamacpp("", COUNT, **LLAMACPP_END),),
        document=lambda request, text: llamacpp(text, COUNT, **LLAMACPP_END),
    ),
    "ollama": Dress(
        piece=lambda request, text, so_far, tokens: {"response": text, "done": False},
        end=lambda text: ({"response": "", **OLLAMA_END},),
        frame=line,
        type="application/x-ndjson",
        document=lambda request, text: {"response": text, **OLLAMA_END},
        error={"error": "it broke"},
    ),
    "ollama-chat": Dress(
        piece=lambda request, text, so_far, tokens: {"message": {"content": text}, "done": False},
        end=lambda text: ({"message": {"content": ""}, **OLLAMA_END},),
        frame=line,
        type="application/x-ndjson",
        document=lambda request, text: {"message": {"content": text}, **OLLAMA_END},
        error={"error": "it broke"},
    ),
    "mii-generate": Dress(
        piece=lambda request, text, so_far, tokens: {"text": [text]},
        terminal=DONE,
        document=lambda request, text: {"text": [text]},
        counts=False,
    ),
    "jetstream": Dress(
        piece=lambda request, text, so_far, tokens: {"text": text},
        frame=bare,
        at_end_of_body=True,
        document=lambda request, text: {"response": text},
        counts=False,
    ),
    "jetstream-v1": Dress(
        piece=lambda request, text, so_far, tokens: samples(text, [tokens]),
        frame=bare,
        at_end_of_body=True,
        document=lambda request, text: samples(text, range(COUNT)),
    ),
    "fastgen-rest": Dress(
        document=lambda request, text: [
            {"generated_text": text, "finish_reason": "length", "generated_length": COUNT, "prompt_length": 1}
        ],
    ),
    "aml": Dress(document=lambda request, text: [{"0": text}], counts=False),
    "transformers": Dress(
        document=lambda request, text: {
            "predictions": [[{"generated_text": f"Prompt:\nx\nOutput:\n{text}"}]]
        },
        counts=False,
    ),
    "sax": Dress(document=lambda request, text: {"choices": [{"text": text}]}, counts=False),
    "azure-content-safety": Dress(
        document=lambda request, text: {
            "blocklistsMatch": [],
            "categoriesAnalysis": [{"category": "Hate", "severity": 0}],
        },
        counts=False,
    ),
}
"""By wire format. gRPC's speaks HTTP/2, which `ScriptedServer` does not."""


def models_answer(pointer: str, name: str) -> Json:
    """A model list with one name, where `Backend.models_at` says that names are."""
    value: Json = name
    for key in reversed(pointer.split("/")[1:]):
        value = [value] if key == "-" else {key: value}
    return value
