"""Writes the scripted streams of this folder: NAME.http, the bytes of a response, and NAME.json, what they mean.

Run it after a change: `python tests/golden/wire/write_streams.py`. README.md describes both files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

UVICORN = (
    "HTTP/1.1 200 OK\r\ndate: Sun, 23 Nov 2025 17:00:00 GMT\r\nserver: uvicorn\r\n"
    "content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
)
LLAMA_CPP = (
    "HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nAccess-Control-Allow-Origin: \r\nKeep-Alive: timeout=5, max=100\r\n"
    "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
JSON_HEADER = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
CLOSING = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"

ANSWER = {"kind": "answer"}
REASONING = {"kind": "reasoning"}
TOOL = {"kind": "tool"}


def counted(kind: str, tokens: int) -> dict[str, Any]:
    return {"kind": kind, "tokens": tokens}


def chunk(body: str | bytes, extension: str = "") -> bytes:
    data = body.encode() if isinstance(body, str) else body
    return f"{len(data):x}{extension}\r\n".encode() + data + b"\r\n"


def event(document: Any, prefix: str = "data: ") -> str:
    return f"{prefix}{document if isinstance(document, str) else json.dumps(document, separators=(',', ':'))}\n\n"


def chunked(header: str, bodies: list[str], end: bytes = b"0\r\n\r\n") -> bytes:
    return header.encode() + b"".join(chunk(body) for body in bodies) + end


def with_length(header: str, body: str) -> bytes:
    return header.format(length=len(body.encode())).encode() + body.encode()


def vllm_chat(delta: dict[str, Any], finish: str | None = None, **more: Any) -> str:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish, **more.pop("choice", {})}
    return event(
        {
            "id": "chatcmpl-7",
            "object": "chat.completion.chunk",
            "created": 1763917200,
            "model": "tiny",
            "choices": [choice],
            **more,
        }
    )


def vllm_text(text: str, finish: str | None = None, index: int = 0, **more: Any) -> str:
    choice = {
        "index": index,
        "text": text,
        "logprobs": None,
        "finish_reason": finish,
        **more.pop("choice", {}),
    }
    return event(
        {
            "id": "cmpl-6",
            "object": "text_completion",
            "created": 1763917200,
            "model": "tiny",
            "choices": [choice],
            **more,
        }
    )


def usage(prompt: int, completion: int, **details: Any) -> dict[str, Any]:
    counts = {"prompt_tokens": prompt, "total_tokens": prompt + completion, "completion_tokens": completion}
    return {"usage": {**counts, **details}}


def usage_only(prompt: int, completion: int, **details: Any) -> str:
    head = {
        "id": "c-7",
        "object": "chat.completion.chunk",
        "created": 1763917200,
        "model": "tiny",
        "choices": [],
    }
    return event({**head, **usage(prompt, completion, **details)})


DONE = event("[DONE]")
ROLE = vllm_chat({"role": "assistant", "content": ""})

streams: dict[str, tuple[bytes, dict[str, Any]]] = {}


def add(name: str, data: bytes, wire_format: str, events: list[dict[str, Any]], /, **expected: Any) -> None:
    assert name not in streams
    streams[name] = (data, {"format": wire_format, **expected, "events": events})


# --- vLLM --------------------------------------------------------------------------------------------------------

add(
    "vllm_chat",
    chunked(
        UVICORN,
        [
            ROLE,
            vllm_chat({"content": "Pressure"}),
            vllm_chat({"content": " melts"}),
            vllm_chat({"content": " ice."}, "length", choice={"stop_reason": None}),
            usage_only(14, 3),
            DONE,
        ],
    ),
    "openai-chat",
    [ANSWER] * 3,
    answer={
        "text": "Pressure melts ice.",
        "finish_reason": "length",
        "prompt_tokens": 14,
        "output_tokens": 3,
        "done": True,
    },
)
add(
    "vllm_chat_continuous_usage",
    chunked(
        UVICORN,
        [
            vllm_chat({"role": "assistant", "content": ""}, **usage(9, 0)),
            vllm_chat({"content": "One"}, **usage(9, 1)),
            vllm_chat({"content": " and two"}, **usage(9, 4)),
            vllm_chat({"content": ""}, **usage(9, 5)),  # half a character is held back
            vllm_chat({"content": " é"}, **usage(9, 6)),
            vllm_chat({"content": ""}, "stop", **usage(9, 7)),  # the end-of-sequence token
            usage_only(9, 7),
            DONE,
        ],
    ),
    "openai-chat",
    [counted("answer", 1), counted("answer", 3), counted("none", 1), counted("answer", 1)],
    answer={
        "text": "One and two é",
        "finish_reason": "stop",
        "prompt_tokens": 9,
        "output_tokens": 7,
        "done": True,
    },
)
add(
    "vllm_chat_reasoning",
    chunked(
        UVICORN,
        [
            ROLE,
            vllm_chat({"reasoning": "Let me"}),
            vllm_chat({"reasoning": " think."}),
            vllm_chat({"reasoning": " So", "content": "It"}),
            vllm_chat({"content": " is."}),
            vllm_chat({}, "stop"),
            usage_only(
                20,
                6,
                prompt_tokens_details={"cached_tokens": 16},
                completion_tokens_details={"reasoning_tokens": 3},
            ),
            DONE,
        ],
    ),
    "openai-chat",
    [REASONING, REASONING, ANSWER, ANSWER],
    answer={
        "text": "It is.",
        "finish_reason": "stop",
        "prompt_tokens": 20,
        "cached_tokens": 16,
        "output_tokens": 6,
        "reasoning_tokens": 3,
        "done": True,
    },
)
add(
    "chat_reasoning_content",
    chunked(
        UVICORN,
        [
            vllm_chat({"role": "assistant", "reasoning_content": "", "content": None}),
            vllm_chat({"reasoning_content": "Hm", "content": None}),
            vllm_chat({"reasoning_content": None, "content": "Yes"}),
            vllm_chat({"content": ""}, "stop", **usage(5, 2, prompt_tokens_details=None)),
            DONE,
        ],
    ),
    "openai-chat",
    [REASONING, ANSWER],
    answer={"text": "Yes", "finish_reason": "stop", "prompt_tokens": 5, "output_tokens": 2, "done": True},
)
add(
    "vllm_chat_tools",
    chunked(
        UVICORN,
        [
            ROLE,
            vllm_chat(
                {
                    "tool_calls": [
                        {
                            "id": "t1",
                            "type": "function",
                            "index": 0,
                            "function": {"name": "weather", "arguments": ""},
                        }
                    ]
                }
            ),
            vllm_chat(
                {"content": None, "tool_calls": [{"index": 0, "function": {"arguments": '{"city": '}}]}
            ),
            vllm_chat({"tool_calls": [{"index": 0, "function": {"arguments": '"Bonn"}'}}]}),
            vllm_chat({"tool_calls": [{"index": 0, "function": {"arguments": ""}}]}),
            vllm_chat({"tool_calls": []}, "tool_calls"),
            usage_only(90, 17),
            DONE,
        ],
    ),
    "openai-chat",
    [TOOL] * 3,
    answer={
        "text": "",
        "finish_reason": "tool_calls",
        "prompt_tokens": 90,
        "output_tokens": 17,
        "done": True,
    },
)
add(
    "vllm_completions_token_ids",
    chunked(
        UVICORN,
        [
            vllm_text(" The", choice={"token_ids": [450], "prompt_token_ids": [1, 2, 3]}),
            vllm_text(" river bends", choice={"token_ids": [7, 8]}),
            vllm_text("", choice={"token_ids": [9]}),
            vllm_text("", "stop", choice={"token_ids": [2], "stop_reason": 2}),
            DONE,
        ],
    ),
    "openai-completions",
    [counted("answer", 1), counted("answer", 2), counted("none", 1)],
    answer={"text": " The river bends", "finish_reason": "stop", "token_ids": 5, "done": True},
)
add(
    "vllm_completions_two_indices",
    chunked(
        UVICORN,
        [
            vllm_text("a", index=0),
            vllm_text("b", index=1),
            vllm_text("c", "length", index=1),
            vllm_text("d", "length", index=0),
            event({"object": "text_completion", "choices": [], **usage(3, 4)}),
            DONE,
        ],
    ),
    "openai-completions",
    [ANSWER] * 4,
    answer={"text": "abcd", "finish_reason": "length", "prompt_tokens": 3, "output_tokens": 4, "done": True},
)
add(
    "vllm_error_in_stream",
    chunked(
        UVICORN,
        [
            vllm_text(" so"),
            event(
                {
                    "error": {
                        "message": "EngineCore died",
                        "type": "InternalServerError",
                        "param": None,
                        "code": 500,
                    }
                }
            ),
            DONE,
        ],
    ),
    "openai-completions",
    [ANSWER],
    answer={
        "text": " so",
        "error": "server_error_event",
        "error_text": "EngineCore died (code 500, type InternalServerError)",
    },
)
add(
    "vllm_flat_error",
    chunked(
        UVICORN,
        [
            event(
                {
                    "object": "error",
                    "message": "out of blocks",
                    "type": "BadRequestError",
                    "param": None,
                    "code": 400,
                }
            ),
            DONE,
        ],
    ),
    "openai-chat",
    [],
    answer={"error": "server_error_event", "error_text": "out of blocks (code 400, type BadRequestError)"},
)

# --- llama.cpp -----------------------------------------------------------------------------------------------------

TIMINGS = {"timings": {"prompt_n": 11, "prompt_ms": 41.5, "predicted_n": 2, "predicted_per_second": 1e2}}
add(
    "llamacpp_chat",
    chunked(
        LLAMA_CPP,
        [
            vllm_chat({"role": "assistant", "content": None}),
            vllm_chat({"content": "Ice"}),
            ":\n\n",
            vllm_chat({"content": " is"}),
            vllm_chat({}, "length"),
            # The last two events came in one chunk.
            usage_only(11, 2, prompt_tokens_details={"cached_tokens": 0}).replace(
                "}}\n", "}," + json.dumps(TIMINGS)[1:] + "\n"
            )
            + DONE,
        ],
    ),
    "openai-chat",
    [ANSWER] * 2,
    answer={
        "text": "Ice is",
        "finish_reason": "length",
        "prompt_tokens": 11,
        "cached_tokens": 0,
        "output_tokens": 2,
        "done": True,
    },
)
add(
    "llamacpp_2025_completions",
    chunked(
        LLAMA_CPP,
        [
            event(
                {
                    "choices": [{"text": " flows", "index": 0, "logprobs": None, "finish_reason": None}],
                    "created": 1,
                }
            ),
            event(
                {"choices": [{"text": "", "index": 0, "finish_reason": "length"}], **usage(4, 1), **TIMINGS}
            ),
            DONE,
        ],
    ),
    "openai-completions",
    [ANSWER],
    answer={
        "text": " flows",
        "finish_reason": "length",
        "prompt_tokens": 4,
        "output_tokens": 1,
        "done": True,
    },
)
add(
    "llamacpp_2025_error_line",
    chunked(
        LLAMA_CPP,
        [
            vllm_chat({"content": "Ice"}),
            event({"code": 500, "message": "context shift is disabled", "type": "server_error"}, "error: "),
        ],
    ),
    "openai-chat",
    [ANSWER],
    answer={
        "text": "Ice",
        "error": "server_error_event",
        "error_text": "context shift is disabled (code 500, type server_error)",
    },
)

# --- others --------------------------------------------------------------------------------------------------------

add(
    "tgi_chat",
    chunked(
        UVICORN,
        [
            event(
                {
                    "object": "chat.completion.chunk",
                    "choices": [
                        {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": finish}
                    ],
                    "usage": count,
                },
                "data:",
            )
            if text is not None
            else ":\n\n"
            for text, finish, count in (
                (" Deep", None, None),
                (None, None, None),
                (" learning", "", None),
                ("</s>", "eos_token", {"prompt_tokens": 8, "completion_tokens": 3, "total_tokens": 11}),
            )
        ]
        + ["data: [DONE]\n\n"],
    ),
    "openai-chat",
    [ANSWER] * 3,
    answer={
        "text": " Deep learning</s>",
        "finish_reason": "eos_token",
        "prompt_tokens": 8,
        "output_tokens": 3,
        "done": True,
    },
)
FILTERED = {"hate": {"filtered": False, "severity": "safe"}}
add(
    "azure_chat",
    chunked(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
        "x-ratelimit-remaining-tokens: 90000\r\n\r\n",
        [
            event(
                {
                    "choices": [],
                    "created": 0,
                    "id": "",
                    "model": "",
                    "object": "",
                    "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": FILTERED}],
                }
            ),
            vllm_chat(
                {"content": "", "refusal": None, "role": "assistant"}, choice={"content_filter_results": {}}
            ),
            vllm_chat({"content": "Hi"}, choice={"content_filter_results": FILTERED}, obfuscation="p4d"),
            vllm_chat({}, "stop", choice={"content_filter_results": {}}),
            event({"choices": None, **usage(7, 1)}),
            DONE,
        ],
    ),
    "openai-chat",
    [ANSWER],
    answer={"text": "Hi", "finish_reason": "stop", "prompt_tokens": 7, "output_tokens": 1, "done": True},
)
add(
    "openai_refusal_legacy_function",
    chunked(
        UVICORN,
        [
            vllm_chat({"refusal": "I"}, obfuscation="xQ"),
            vllm_chat({"function_call": {"name": "f"}}),
            vllm_chat({"function_call": {"arguments": "{}"}}),
            vllm_chat({"refusal": " can't."}, "content_filter"),
            event(usage(1, 2)),
            DONE,
        ],
    ),
    "openai-chat",
    [ANSWER, TOOL, TOOL, ANSWER],
    answer={
        "text": "I can't.",
        "finish_reason": "content_filter",
        "prompt_tokens": 1,
        "output_tokens": 2,
        "done": True,
    },
)
add(
    "transformers_chat",
    chunked(
        UVICORN,
        [
            vllm_chat({"role": "assistant"}),
            vllm_chat({"content": "a"})
            + vllm_chat({"content": "b"})
            + vllm_chat({}, "length", **usage(2, 2)),
        ],
    ),
    "openai-chat",
    [ANSWER] * 2,
    answer={"text": "ab", "finish_reason": "length", "prompt_tokens": 2, "output_tokens": 2},
)
add(
    "transformers_unescaped_error",
    chunked(UVICORN, ['data: {"error": "failed at "step 3": CUDA"}\n\n']),
    "openai-chat",
    [],
    answer={"error": "server_error_event", "error_text": '{"error": "failed at "step 3": CUDA"}'},
)

# --- framing ---------------------------------------------------------------------------------------------------------

DRESSED = (
    "\ufeff: hello\r\nevent: message\r\nid: 7\r\nretry: 100\r\n"
    'data: {"choices":[{"text":"a\u2028b\u0085c",\r\ndata:"index":0,"finish_reason":null}]}\r\n\r\n'
    ": ping - 2025\r\n\r\n\r\n"
    "unknown: field\r\ndata\r\n\r\n"  # an event without any payload
    'event: x\r\ndata:{"choices":[{"text":"","finish_reason":"stop"}]}\r\n: inside\r\n\r\n'
    "data:[DONE]\r\n\r\n"
)
add(
    "sse_crlf_bom_comments",
    with_length(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {length}\r\n\r\n", DRESSED
    ),
    "openai-completions",
    [ANSWER],
    answer={"text": "a\u2028b\u0085c", "finish_reason": "stop", "done": True},
)
CR_ONLY = (vllm_text("x") + vllm_text("y", "stop") + DONE).replace("\n", "\r")
add(
    "sse_cr_only",
    with_length(
        "HTTP/1.1 200 OK\r\ncontent-type:text/event-stream\r\ncontent-length:{length}\r\n\r\n", CR_ONLY
    ),
    "openai-completions",
    [ANSWER] * 2,
    answer={"text": "xy", "finish_reason": "stop", "done": True},
)
add(
    "http10_read_to_close",
    b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + (vllm_text("x", "stop") + DONE).encode(),
    "openai-completions",
    [ANSWER],
    close="fin",
    keep_alive=False,
    http10=True,
    answer={"text": "x", "finish_reason": "stop", "done": True},
)
add(
    "cut_before_finish_reason",
    CLOSING.encode() + (vllm_text("x") + vllm_text("y")).encode(),
    "openai-completions",
    [ANSWER] * 2,
    close="fin",
    keep_alive=False,
    answer={"text": "xy", "error": "truncated_no_done"},
)
add(
    "cut_in_chunk",
    chunked(UVICORN, [vllm_text("x"), vllm_text("y", "stop")], end=b"1a\r\ndata: "),
    "openai-completions",
    [ANSWER] * 2,
    close="fin",
    complete=False,
    keep_alive=False,
    answer={"text": "xy", "finish_reason": "stop", "error": "truncated"},
)
add(
    "reset_in_chunk",
    chunked(UVICORN, [vllm_text("x")], end=b"5"),
    "openai-completions",
    [ANSWER],
    close="rst",
    complete=False,
    keep_alive=False,
    answer={"text": "x", "error": "reset_mid_stream"},
)
add(
    "unterminated_event",
    chunked(UVICORN, [vllm_text("x"), vllm_text("y", "stop").rstrip("\n")]),
    "openai-completions",
    [ANSWER] * 2,
    answer={"text": "xy", "finish_reason": "stop", "unterminated": True},
)
add(
    "unterminated_half_event",
    chunked(UVICORN, [vllm_text("x", "stop"), vllm_text("y")[:40]]),
    "openai-completions",
    [ANSWER],
    answer={"text": "x", "finish_reason": "stop"},
)
add(
    "data_after_done",
    chunked(UVICORN, [vllm_text("x", "stop"), DONE, vllm_text("y"), DONE]),
    "openai-completions",
    [ANSWER],
    answer={"text": "x", "finish_reason": "stop", "done": True, "done_order": True},
)
add(
    "done_before_data",
    chunked(UVICORN, [DONE, vllm_text("x", "stop")]),
    "openai-completions",
    [],
    answer={"done": True, "done_order": True, "error": "empty_stream"},
)
add(
    "three_times_continue",
    b"HTTP/1.1 100 Continue\r\n\r\n" * 2
    + b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    + chunked(UVICORN, [vllm_text("x", "stop"), DONE]),
    "openai-completions",
    [ANSWER],
    answer={"text": "x", "finish_reason": "stop", "done": True},
)
add(
    "chunk_extensions_and_trailers",
    UVICORN.encode()
    + chunk(vllm_text("x"), ';name=value;quoted="a;b"')
    + chunk(vllm_text("y", "stop")[:30], ";e")
    + chunk(vllm_text("y", "stop")[30:])
    + chunk(DONE)
    + b"000;last\r\nX-Inference-Error: none of note\r\nX-Other: 1\r\n\r\n",
    "openai-completions",
    [ANSWER] * 2,
    answer={
        "text": "xy",
        "finish_reason": "stop",
        "done": True,
        "error_text": "X-Inference-Error: none of note",
    },
)
add(
    "bytes_behind_the_answer",
    chunked(UVICORN, [vllm_text("x", "stop"), DONE]) + b"HTTP/1.1 408 Request Timeout\r\n\r\n",
    "openai-completions",
    [ANSWER],
    keep_alive=False,
    answer={"text": "x", "finish_reason": "stop", "done": True},
)

# --- encodings -------------------------------------------------------------------------------------------------------

add(
    "escapes",
    chunked(
        UVICORN,
        [
            event(
                '{"choices":[{"text":"\\ud83d\\ude00\\u00e9\\n\\t\\"\\\\\\/\\u0000.","index":0}],'
                '"created":9007199254740993}'
            ),
            event(
                '{"choices":[{"text":"😀\u0085","index":0,"x":1e-7,"finish_reason":null}],"choices_":[1,[2,{"a":[]}]]}'
            ),
            event('{"choices":[{"text":"\\ud83d!","text_":"\\ude00","index":0}]}'),
            event(
                '{"choices":[{"text":"\\ude00\\ud83d","index":0,"finish_reason":"stop"}],"a":{"choices":null,"error":1}}'
            ),
            DONE,
        ],
    ),
    "openai-completions",
    [ANSWER] * 4,
    answer={
        "text": '😀é\n\t"\\/\0.😀\u0085\ufffd!\ufffd\ufffd',
        "finish_reason": "stop",
        "done": True,
        "lone_surrogate": True,
    },
)

# --- documents -------------------------------------------------------------------------------------------------------

CHAT_DOCUMENT = {
    "id": "c-8",
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Pressure.", "reasoning": None, "tool_calls": []},
            "finish_reason": "stop",
        }
    ],
    **usage(14, 3, completion_tokens_details={"reasoning_tokens": 0}),
}
for name, streamed in (("chat_document", False), ("chat_document_instead_of_stream", True)):
    add(
        name,
        with_length(JSON_HEADER, json.dumps(CHAT_DOCUMENT)),
        "openai-chat",
        [],
        streamed=streamed,
        answer={
            "text": "Pressure.",
            "finish_reason": "stop",
            "prompt_tokens": 14,
            "output_tokens": 3,
            "reasoning_tokens": 0,
            "not_streamed": True,
        },
    )
add(
    "completions_document_chunked",
    chunked(
        UVICORN.replace("text/event-stream", "application/json"),
        [
            "\n {",
            json.dumps({"choices": [{"text": "a b", "finish_reason": "length"}], **usage(1, 2)}, indent=1)[
                1:
            ],
        ],
    ),
    "openai-completions",
    [],
    streamed=False,
    answer={
        "text": "a b",
        "finish_reason": "length",
        "prompt_tokens": 1,
        "output_tokens": 2,
        "not_streamed": True,
    },
)
add(
    "empty_document",
    with_length(JSON_HEADER, "{}"),
    "openai-chat",
    [],
    answer={"not_streamed": True, "error": "schema", "error_text": 'choices: missing: "{}"'},
)
add(
    "error_document_with_200",
    with_length(JSON_HEADER, '{"error":"Unauthorized"}'),
    "openai-chat",
    [],
    answer={"not_streamed": True, "error": "server_error_event", "error_text": "Unauthorized"},
)

# --- status ----------------------------------------------------------------------------------------------------------


def failed(name: str, status: str, header: str, body: str, text: str, **expected: Any) -> None:
    add(
        name,
        with_length(f"HTTP/1.1 {status}\r\n{header}content-length: {{length}}\r\n\r\n", body),
        "openai-chat",
        [],
        status=int(status[:3]),
        **expected,
        answer={"error": "http_status", "error_text": text},
    )


failed(
    "status_400",
    "400 Bad Request",
    "content-type: application/json\r\n",
    '{"error":{"message":"max_tokens is too large","type":"BadRequestError","param":null,"code":400}}',
    "max_tokens is too large (code 400, type BadRequestError)",
)
failed("status_401", "401 Unauthorized", "", '{"error":"Unauthorized"}', "Unauthorized")
failed(
    "status_422",
    "422 Unprocessable Entity",
    "content-type: application/json\r\n",
    '{"detail":[{"type":"missing","loc":["body","messages"],"msg":"Field required"},'
    '{"loc":["body","n",0],"msg":"bad"}]}',
    "body.messages: Field required; body.n.0: bad",
)
failed(
    "status_429",
    "429 Too Many Requests",
    "retry-after: Sun, 23 Nov 2025 17:00:30 GMT\r\ndate: Sun, 23 Nov 2025 17:00:00 GMT\r\n",
    '{"error":{"message":"slow down","code":"rate_limit_exceeded"}}',
    "slow down (code rate_limit_exceeded)",
    retry_after_s=30,
)
failed("status_500", "500 Internal Server Error", "", '{"detail":"it broke"}', "it broke")
failed(
    "status_502",
    "502 Bad Gateway",
    "content-type: text/html\r\nconnection: close\r\n",
    "<html>\r\n<h1>502 Bad Gateway</h1>\r\n</html>\r\n",
    "<html>  <h1>502 Bad Gateway</h1>  </html>",
    keep_alive=False,
)
failed("status_503", "503 Service Unavailable", "retry-after: 7\r\n", "", "", retry_after_s=7)
failed("status_999", "999 Odd", "", "no", "no")
add(
    "redirect",
    b"HTTP/1.1 307 Temporary Redirect\r\nlocation: /v1/chat/completions/\r\ncontent-length: 0\r\n\r\n",
    "openai-chat",
    [],
    status=307,
    answer={"error": "redirect", "error_text": "status 307, Location /v1/chat/completions/"},
)
add(
    "no_content",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    "openai-chat",
    [],
    status=204,
    answer={"error": "empty_stream", "error_text": "status 204 with an empty body"},
)
add(
    "html_with_200",
    with_length(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n",
        "<!doctype html><p>Hello",
    ),
    "openai-chat",
    [],
    answer={"error": "content_type"},
)
add(
    "gzip",
    with_length("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n", "\x1f\x0b"),
    "openai-chat",
    [],
    answer={"error": "content_encoding"},
)

# --- OpenAI responses ------------------------------------------------------------------------------------------------


def told(text: str, finish: str = "", **more: Any) -> dict[str, Any]:
    """The `answer` key of a good or a failed answer."""
    return {"text": text, **({"finish_reason": finish} if finish else {}), **more}


def named_event(kind: str, **fields: Any) -> str:
    """An event of the two protocols whose events have a name and repeat it in their payload."""
    return f"event: {kind}\n" + event({"type": kind, **fields})


def response(status: str, **fields: Any) -> dict[str, Any]:
    """The object that opens and closes a stream of responses. Most of its fields say nothing yet when it opens it."""
    empty = {"error": None, "incomplete_details": None, "output": [], "usage": None}
    return {
        "response": {"id": "resp_1", "object": "response", "status": status, "model": "m", **empty, **fields}
    }


def response_usage(prompt: int, output: int, cached: int = 0, reasoning: int = 0) -> dict[str, Any]:
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": prompt + output,
    }


def output_text(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
    return {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [part]}


OPENED = [
    named_event("response.created", sequence_number=0, **response("in_progress")),
    named_event("response.in_progress", sequence_number=1, **response("in_progress")),
]
ITEM = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
MESSAGE_OPENED = [
    named_event(
        "response.output_item.added",
        output_index=0,
        item={"id": "msg_1", "type": "message", "status": "in_progress", "role": "assistant", "content": []},
    ),
    named_event(
        "response.content_part.added", **ITEM, part={"type": "output_text", "annotations": [], "text": ""}
    ),
]


def text_delta(text: str) -> str:
    return named_event("response.output_text.delta", **ITEM, delta=text, logprobs=[], obfuscation="kXw4")


def message_closed(text: str) -> list[str]:
    """The whole text, three times over."""
    item = output_text(text)
    return [
        named_event("response.output_text.done", **ITEM, text=text, logprobs=[]),
        named_event("response.content_part.done", **ITEM, part=item["content"][0]),
        named_event("response.output_item.done", output_index=0, item=item),
    ]


add(
    "responses",
    chunked(
        UVICORN,
        [
            *OPENED,
            *MESSAGE_OPENED,
            text_delta("Pressure"),
            text_delta(" melts"),
            text_delta(""),
            text_delta(" ice."),
            *message_closed("Pressure melts ice."),
            named_event(
                "response.completed",
                **response(
                    "completed",
                    output=[output_text("Pressure melts ice.")],
                    usage=response_usage(14, 4, cached=8),
                ),
            ),
        ],
    ),
    "openai-responses",
    [ANSWER] * 3,
    answer=told(
        "Pressure melts ice.",
        "completed",
        prompt_tokens=14,
        cached_tokens=8,
        output_tokens=4,
        reasoning_tokens=0,
        done=True,
    ),
)
add(
    "responses_incomplete",
    chunked(
        UVICORN,
        [
            *OPENED,
            *MESSAGE_OPENED,
            text_delta("Pres"),
            *message_closed("Pres"),
            named_event(
                "response.incomplete",
                **response(
                    "incomplete",
                    incomplete_details={"reason": "max_output_tokens"},
                    output=[output_text("Pres")],
                    usage=response_usage(14, 16, reasoning=15),
                ),
            ),
        ],
    ),
    "openai-responses",
    [ANSWER],
    answer=told(
        "Pres",
        "max_output_tokens",
        prompt_tokens=14,
        cached_tokens=0,
        output_tokens=16,
        reasoning_tokens=15,
        done=True,
    ),
)
CALL = {"id": "fc_1", "type": "function_call", "call_id": "c1", "name": "weather"}
add(
    "responses_reasoning_refusal_tool",
    chunked(
        UVICORN,
        [
            *OPENED,
            named_event(
                "response.output_item.added",
                output_index=0,
                item={"id": "rs_1", "type": "reasoning", "summary": [], "status": "in_progress"},
            ),
            named_event("response.reasoning_summary_text.delta", **ITEM, summary_index=0, delta="Let me"),
            named_event("response.reasoning_summary_text.done", **ITEM, summary_index=0, text="Let me"),
            named_event("response.reasoning_text.delta", **ITEM, delta=" think."),
            named_event("response.reasoning_text.done", **ITEM, text="Let me think."),
            named_event("response.refusal.delta", **ITEM, delta="I can't, but"),
            named_event("response.refusal.done", **ITEM, refusal="I can't, but"),
            named_event(
                "response.output_item.added",
                output_index=2,
                item={**CALL, "arguments": "", "status": "in_progress"},
            ),
            named_event(
                "response.function_call_arguments.delta", item_id="fc_1", output_index=2, delta='{"city":'
            ),
            named_event(
                "response.function_call_arguments.delta", item_id="fc_1", output_index=2, delta='"Bonn"}'
            ),
            named_event("response.function_call_arguments.done", item_id="fc_1", arguments='{"city":"Bonn"}'),
            named_event(
                "response.output_item.done",
                output_index=2,
                item={**CALL, "arguments": '{"city":"Bonn"}', "status": "completed"},
            ),
            named_event(
                "response.completed", **response("completed", usage=response_usage(9, 30, reasoning=6))
            ),
        ],
    ),
    "openai-responses",
    [REASONING, REASONING, ANSWER, TOOL, TOOL, TOOL],
    answer=told(
        "I can't, but",
        "completed",
        prompt_tokens=9,
        cached_tokens=0,
        output_tokens=30,
        reasoning_tokens=6,
        done=True,
    ),
)
add(
    "responses_failed",
    chunked(
        UVICORN,
        [
            *OPENED,
            *MESSAGE_OPENED,
            text_delta("Pres"),
            named_event(
                "response.failed",
                **response("failed", error={"code": "server_error", "message": "The model failed."}),
            ),
        ],
    ),
    "openai-responses",
    [ANSWER],
    answer=told("Pres", error="server_error_event", error_text="The model failed. (code server_error)"),
)
add(
    "responses_error_event",
    chunked(
        UVICORN,
        [
            *OPENED,
            named_event(
                "error", sequence_number=2, code="rate_limit_exceeded", message="Too many tokens.", param=None
            ),
        ],
    ),
    "openai-responses",
    [],
    answer=told("", error="server_error_event"),
)
add(
    "responses_cut",
    chunked(UVICORN, [*OPENED, *MESSAGE_OPENED, text_delta("Pres"), *message_closed("Pres")]),
    "openai-responses",
    [ANSWER],
    answer=told("Pres", error="truncated_no_done"),
)
RESPONSE_DOCUMENT = response(
    "completed",
    output=[
        {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Think."}]},
        output_text("Pressure."),
    ],
    usage=response_usage(14, 9, cached=2, reasoning=6),
)["response"]
for name, streamed in (("responses_document", False), ("responses_document_instead_of_stream", True)):
    add(
        name,
        with_length(JSON_HEADER, json.dumps(RESPONSE_DOCUMENT)),
        "openai-responses",
        [],
        streamed=streamed,
        answer=told(
            "Pressure.",
            "completed",
            prompt_tokens=14,
            cached_tokens=2,
            output_tokens=9,
            reasoning_tokens=6,
            not_streamed=True,
        ),
    )
add(
    "responses_failed_document",
    with_length(
        JSON_HEADER,
        json.dumps(response("failed", error={"code": "server_error", "message": "It broke."})["response"]),
    ),
    "openai-responses",
    [],
    streamed=False,
    answer=told(
        "", error="server_error_event", error_text="It broke. (code server_error)", not_streamed=True
    ),
)

# --- Anthropic messages ----------------------------------------------------------------------------------------------


def message_start(**counts: int) -> str:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": []}
    return named_event(
        "message_start", message={**message, "stop_reason": None, "stop_sequence": None, "usage": counts}
    )


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[str]:
    return [
        named_event("content_block_start", index=index, content_block=start),
        *(named_event("content_block_delta", index=index, delta=delta) for delta in deltas),
        named_event("content_block_stop", index=index),
    ]


def text_block(*texts: str, index: int = 0) -> list[str]:
    deltas = [{"type": "text_delta", "text": text} for text in texts]
    return block(index, {"type": "text", "text": ""}, *deltas)


def message_end(reason: str, output: int) -> list[str]:
    return [
        named_event(
            "message_delta",
            delta={"stop_reason": reason, "stop_sequence": None},
            usage={"output_tokens": output},
        ),
        named_event("message_stop"),
    ]


PING = named_event("ping")
add(
    "anthropic",
    chunked(
        UVICORN,
        [
            message_start(
                input_tokens=10, cache_creation_input_tokens=3, cache_read_input_tokens=4, output_tokens=1
            ),
            text_block("")[0],
            PING,
            *text_block("Pressure", " melts", "", " ice.")[1:],
            *message_end("end_turn", 12),
        ],
    ),
    "anthropic-messages",
    [ANSWER] * 3,
    # The prompt is what was read, what was written to the cache and what came from it.
    answer=told(
        "Pressure melts ice.", "end_turn", prompt_tokens=17, cached_tokens=4, output_tokens=12, done=True
    ),
)
add(
    "anthropic_thinking_tool",
    chunked(
        UVICORN,
        [
            message_start(input_tokens=10, output_tokens=2),
            *block(
                0,
                {"type": "thinking", "thinking": "", "signature": ""},
                {"type": "thinking_delta", "thinking": "Let me"},
                {"type": "thinking_delta", "thinking": " think."},
                {"type": "signature_delta", "signature": "EqQBCgIYAhIM"},
            ),
            *text_block("Here:", index=1),
            *block(
                2,
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
                {"type": "input_json_delta", "partial_json": ""},
                {"type": "input_json_delta", "partial_json": '{"city": '},
                {"type": "input_json_delta", "partial_json": '"Bonn"}'},
            ),
            *message_end("tool_use", 40),
        ],
    ),
    "anthropic-messages",
    [REASONING, REASONING, ANSWER, TOOL, TOOL, TOOL],
    answer=told("Here:", "tool_use", prompt_tokens=10, output_tokens=40, done=True),
)
OVERLOADED = {"error": {"type": "overloaded_error", "message": "Overloaded"}}
add(
    "anthropic_error_after_text",
    chunked(
        UVICORN,
        [message_start(input_tokens=10), *text_block("Pres")[:-1], named_event("error", **OVERLOADED)],
    ),
    "anthropic-messages",
    [ANSWER],
    answer=told(
        "Pres",
        prompt_tokens=10,
        error="server_error_event",
        error_text="Overloaded (type overloaded_error)",
    ),
)
add(
    "anthropic_error_first",
    chunked(UVICORN, [named_event("error", **OVERLOADED)]),
    "anthropic-messages",
    [],
    answer=told("", error="server_error_event", error_text="Overloaded (type overloaded_error)"),
)
add(
    "anthropic_cut",
    chunked(UVICORN, [message_start(input_tokens=10), *text_block("Pres", "sure")]),
    "anthropic-messages",
    [ANSWER] * 2,
    answer=told("Pressure", prompt_tokens=10, error="truncated_no_done"),
)
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [
        {"type": "thinking", "thinking": "Hm.", "signature": "Eq"},
        {"type": "text", "text": "Pressure."},
    ],
    "stop_reason": "max_tokens",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 10,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 4,
        "output_tokens": 9,
    },
}
for name, streamed in (("anthropic_document", False), ("anthropic_document_instead_of_stream", True)):
    add(
        name,
        with_length(JSON_HEADER, json.dumps(MESSAGE)),
        "anthropic-messages",
        [],
        streamed=streamed,
        answer=told(
            "Pressure.", "max_tokens", prompt_tokens=14, cached_tokens=4, output_tokens=9, not_streamed=True
        ),
    )


def refused(
    name: str, wire_format: str, status: str, body: str, text: str, header: str = "", **expected: Any
) -> None:
    """An answer whose status is no success."""
    add(
        name,
        with_length(f"HTTP/1.1 {status}\r\n{header}content-length: {{length}}\r\n\r\n", body),
        wire_format,
        [],
        status=int(status[:3]),
        **expected,
        answer={"error": "http_status", "error_text": text},
    )


JSON_TYPE = "content-type: application/json\r\n"
HTML_TYPE = "content-type: text/html; charset=utf-8\r\n"
refused(
    "anthropic_529",
    "anthropic-messages",
    "529 Overloaded",
    json.dumps({"type": "error", **OVERLOADED, "request_id": "req_1"}),
    "Overloaded (type overloaded_error)",
    JSON_TYPE + "retry-after: 2\r\n",
    retry_after_s=2,
)

# --- vLLM's demo server ----------------------------------------------------------------------------------------------

# It names no content type.
PLAIN_UVICORN = (
    "HTTP/1.1 200 OK\r\ndate: Sun, 23 Nov 2025 17:00:00 GMT\r\nserver: uvicorn\r\n"
    "transfer-encoding: chunked\r\n\r\n"
)


def texts(*cumulative: str, end: str = "\0", ascii_only: bool = True) -> list[str]:
    return [json.dumps({"text": [text]}, ensure_ascii=ascii_only) + end for text in cumulative]


RIVER = "The river"
for name, end in (("vllm_generate_nul", "\0"), ("vllm_generate_lf", "\n"), ("vllm_generate_crlf", "\r\n")):
    add(
        name,
        chunked(PLAIN_UVICORN, texts(RIVER + " bends", RIVER + " bends to", RIVER + " bends to", end=end)),
        "vllm-generate",
        [ANSWER] * 2,
        prompt=RIVER,
        answer=told(" bends to", done=True),
    )
add(
    "vllm_generate_prompt_alone_first",
    chunked(PLAIN_UVICORN, texts(RIVER, RIVER + " bends", RIVER + " bends,")),
    "vllm-generate",
    [ANSWER] * 2,
    prompt=RIVER,
    answer=told(" bends,", done=True),
)
add(
    "vllm_generate_prompt_not_repeated",
    chunked(PLAIN_UVICORN, texts(" bends", " bends to")),
    "vllm-generate",
    [ANSWER] * 2,
    prompt=RIVER,
    answer=told(" bends to", done=True),
)
add(
    "vllm_generate_prompt_again_in_the_text",
    chunked(PLAIN_UVICORN, texts("aaa", "aaaa", "aaaaaaa")),
    "vllm-generate",
    [ANSWER] * 2,
    prompt="aaa",
    answer=told("aaaa", done=True),
)
add(
    "vllm_generate_prompt_unknown",
    chunked(PLAIN_UVICORN, texts(RIVER, RIVER + " bends")),
    "vllm-generate",
    [ANSWER] * 2,
    answer=told(RIVER + " bends", done=True),
)
# A character that is not whole yet is sent as U+FFFD and replaced; a second one takes two more documents.
GROWING = (
    "Grüße \ufffd",
    "Grüße 😀",
    "Grüße 😀 \ufffd",
    "Grüße 😀 \ufffd\ufffd",
    "Grüße 😀 é\u2028",
    "Grüße 😀 é\u2028.",
)
for name, ascii_only in (("vllm_generate_tail_changes", True), ("vllm_generate_tail_changes_utf8", False)):
    add(
        name,
        chunked(PLAIN_UVICORN, texts(*GROWING, ascii_only=ascii_only)),
        "vllm-generate",
        [ANSWER] * 6,
        prompt="Grüße",
        answer=told(GROWING[-1].removeprefix("Grüße"), done=True),
    )
add(
    "vllm_generate_tail_vanishes",
    chunked(PLAIN_UVICORN, texts("ab", "abc\ufffd", "abc", "abcd")),
    "vllm-generate",
    [ANSWER] * 3,
    prompt="a",
    answer=told("bcd", done=True),
)
ESCAPED = 'say "\\hi\\" \n\0\ttwice: '
add(
    "vllm_generate_escapes",
    chunked(PLAIN_UVICORN, texts(ESCAPED + '"\0', ESCAPED + '"\0\\n\ud83d\ude00')),
    "vllm-generate",
    [ANSWER] * 2,
    prompt=ESCAPED,
    answer=told('"\0\\n😀', done=True),
)
add(
    "vllm_generate_both_ends_and_none",
    chunked(
        PLAIN_UVICORN,
        ["\0\n", *texts("ab", end="\0\n"), *texts("abc", end="\n\0\0"), "\r\n", *texts("abcd", end="")],
    ),
    "vllm-generate",
    [ANSWER] * 3,
    prompt="a",
    answer=told("bcd", done=True),
)
add(
    "vllm_generate_event_stream_type",
    chunked(UVICORN, texts("ab", "abc")),
    "vllm-generate",
    [ANSWER] * 2,
    prompt="a",
    answer=told("bc", done=True),
)
add(
    "vllm_generate_read_to_close",
    b"HTTP/1.0 200 OK\r\n\r\n" + "".join(texts("ab", "abc")).encode(),
    "vllm-generate",
    [ANSWER] * 2,
    prompt="a",
    close="fin",
    keep_alive=False,
    http10=True,
    answer=told("bc", done=True),
)
add(
    "vllm_generate_cut",
    chunked(PLAIN_UVICORN, texts("ab", "abc"), end=b"20\r\n" + texts("abcd")[0].encode()[:6]),
    "vllm-generate",
    [ANSWER] * 2,
    prompt="a",
    close="fin",
    complete=False,
    keep_alive=False,
    answer=told("bc", error="truncated"),
)
add(
    "vllm_generate_error_after_text",
    chunked(PLAIN_UVICORN, [*texts("ab"), '{"error":"engine is dead"}\0', *texts("abc")]),
    "vllm-generate",
    [ANSWER],
    prompt="a",
    answer=told("b", error="server_error_event", error_text="engine is dead"),
)
add(
    "vllm_generate_broken_document",
    chunked(PLAIN_UVICORN, [*texts("ab"), '{"text":["abc\0', *texts("abcd")]),
    "vllm-generate",
    [ANSWER],
    prompt="a",
    answer=told("b", error="bad_event"),
)
add(
    "vllm_generate_broken_escape_after_a_changed_tail",
    chunked(PLAIN_UVICORN, [*texts("ab", "abc\ufffd"), '{"text":["abd\\d38"]}\0', *texts("abcé")]),
    "vllm-generate",
    [ANSWER] * 2,
    prompt="a",
    answer=told("bc\ufffd", error="bad_event"),
)
add(
    "vllm_generate_document",
    with_length(JSON_HEADER, json.dumps({"text": [RIVER + " bends"]})),
    "vllm-generate",
    [],
    streamed=False,
    prompt=RIVER,
    answer=told(" bends", not_streamed=True),
)
refused(
    "vllm_generate_500",
    "vllm-generate",
    "500 Internal Server Error",
    "Internal Server Error",
    "Internal Server Error",
    "content-type: text/plain; charset=utf-8\r\n",
)

# --- Text Generation Inference ---------------------------------------------------------------------------------------

AXUM = (
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\nx-compute-type: gpu+optimized\r\n"
    "x-accel-buffering: no\r\ntransfer-encoding: chunked\r\ndate: Sun, 23 Nov 2025 17:00:00 GMT\r\n\r\n"
)
TGI_DETAILS = {"finish_reason": "length", "generated_tokens": 3, "seed": None, "input_length": 4}


def tgi(index: int, text: str, whole: str | None = None, special: bool = False, **more: Any) -> str:
    token = {"id": 300 + index, "text": text, "logprob": -0.8, "special": special}
    document = {"index": index, "token": token, "generated_text": whole, "details": None, **more}
    return event(document, "data:")


add(
    "tgi",
    chunked(
        AXUM,
        [
            tgi(1, " Deep"),
            ":\n\n",
            tgi(2, " learn"),
            tgi(3, "ing", " Deep learning", details=TGI_DETAILS, top_tokens=[{"id": 7, "text": "x"}]),
        ],
    ),
    "tgi",
    [counted("answer", 1)] * 3,
    answer=told(" Deep learning", "length", prompt_tokens=4, output_tokens=3, token_ids=3, done=True),
)
add(
    "tgi_end_of_sequence",
    chunked(
        AXUM.replace("\r\n\r\n", "\r\nkeep-alive: timeout=5\r\n\r\n"),
        [
            ": keep-alive\n\n",
            tgi(1, " Deep").replace("data:", "data: "),
            tgi(
                2,
                "</s>",
                " Deep",
                True,
                details={**TGI_DETAILS, "finish_reason": "eos_token", "generated_tokens": 2},
            ),
        ],
    ),
    "tgi",
    [counted("answer", 1)],
    answer=told(" Deep", "eos_token", prompt_tokens=4, output_tokens=2, token_ids=2, done=True),
)
add(
    "tgi_special_and_held_back",
    chunked(
        AXUM,
        [
            tgi(1, "<|tool|>", special=True),
            tgi(2, ""),
            tgi(3, " \U0001f600"),
            tgi(
                4,
                "!",
                " \U0001f600!",
                details={**TGI_DETAILS, "finish_reason": "stop_sequence", "generated_tokens": 4},
            ),
        ],
    ),
    "tgi",
    [counted("none", 1), counted("none", 1), counted("answer", 1), counted("answer", 1)],
    answer=told(" \U0001f600!", "stop_sequence", prompt_tokens=4, output_tokens=4, token_ids=4, done=True),
)
TGI_OVERLOADED = {"error": "Model is overloaded", "error_type": "overloaded"}
add(
    "tgi_overloaded",
    chunked(AXUM, [event(TGI_OVERLOADED, "data:")]),
    "tgi",
    [],
    answer=told("", error="server_error_event", error_text="Model is overloaded (type overloaded)"),
)
add(
    "tgi_error_after_text",
    chunked(
        AXUM,
        [
            tgi(1, " Deep"),
            event({"error": "Request failed during generation: OOM", "error_type": "generation"}, "data:"),
        ],
    ),
    "tgi",
    [counted("answer", 1)],
    answer=told(
        " Deep",
        token_ids=1,
        error="server_error_event",
        error_text="Request failed during generation: OOM (type generation)",
    ),
)
add(
    "tgi_cut",
    chunked(AXUM, [tgi(1, " Deep"), tgi(2, " learn")]),
    "tgi",
    [counted("answer", 1)] * 2,
    answer=told(" Deep learn", token_ids=2, error="truncated_no_done"),
)
add(
    "tgi_reset",
    chunked(AXUM, [tgi(1, " Deep")], end=b"1f"),
    "tgi",
    [counted("answer", 1)],
    close="rst",
    complete=False,
    keep_alive=False,
    answer=told(" Deep", token_ids=1, error="reset_mid_stream"),
)
TGI_DOCUMENT = {
    "generated_text": " Deep learning",
    "details": {**TGI_DETAILS, "prefill": [{"id": 1, "text": "x", "logprob": None}], "tokens": []},
}
for name, body, streamed in (
    ("tgi_document", TGI_DOCUMENT, False),
    ("tgi_document_in_array", [TGI_DOCUMENT], False),
    ("tgi_document_instead_of_stream", TGI_DOCUMENT, True),
):
    add(
        name,
        with_length(JSON_HEADER, json.dumps(body)),
        "tgi",
        [],
        streamed=streamed,
        answer=told(" Deep learning", "length", prompt_tokens=4, output_tokens=3, not_streamed=True),
    )
add(
    "tgi_document_without_details",
    with_length(JSON_HEADER, json.dumps({"generated_text": " Deep"})),
    "tgi",
    [],
    streamed=False,
    answer=told(" Deep", not_streamed=True),
)
refused(
    "tgi_429",
    "tgi",
    "429 Too Many Requests",
    json.dumps(TGI_OVERLOADED),
    "Model is overloaded (type overloaded)",
    JSON_TYPE,
)
refused(
    "tgi_422",
    "tgi",
    "422 Unprocessable Entity",
    '{"error":"Input validation error: `top_p` must be > 0.0 and < 1.0","error_type":"validation"}',
    "Input validation error: `top_p` must be > 0.0 and < 1.0 (type validation)",
    JSON_TYPE,
)
refused("tgi_401", "tgi", "401 Unauthorized", "", "")

# --- Triton with TensorRT-LLM ----------------------------------------------------------------------------------------

TRITON = (
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def triton(text: str | list[str], **more: Any) -> dict[str, Any]:
    return {
        "batch_index": 0,
        "model_name": "ensemble",
        "model_version": "1",
        "sequence_end": False,
        "sequence_id": 0,
        "text_output": text,
        **more,
    }


add(
    "triton",
    chunked(
        TRITON, [event(triton(" Deep")), event(triton(" learn")), event(triton("ing")), event(triton(""))]
    ),
    "triton",
    [ANSWER] * 3,
    answer=told(" Deep learning", done=True),
)
add(
    "triton_array_of_one",
    chunked(TRITON, [event(triton([" Deep"])), event(triton(["er"]))]),
    "triton",
    [ANSWER] * 2,
    answer=told(" Deeper", done=True),
)
add(
    "triton_log_probs",
    chunked(
        TRITON,
        [
            event(triton(" Deep", output_log_probs=-0.5, cum_log_probs=-0.5, context_logits=0.0)),
            event(triton(" learning", output_log_probs=[-0.25, -1.5], cum_log_probs=-2.25)),
        ],
    ),
    "triton",
    [counted("answer", 1), counted("answer", 2)],
    # Whether each event has its own or all so far depends on the version: counting them must be asked for.
    rules={"token_ids": "/output_log_probs"},
    answer=told(" Deep learning", token_ids=3, done=True),
)
add(
    "triton_log_probs_document",
    with_length(JSON_HEADER, json.dumps(triton(" Deep learning", output_log_probs=[-0.5, -0.25, -1.5]))),
    "triton",
    [],
    streamed=False,
    answer=told(" Deep learning", token_ids=3, not_streamed=True),
)
add(
    "triton_accumulated_with_prompt",
    chunked(
        TRITON,
        [event(triton(RIVER + rest)) for rest in ("", " bends", " bends \ufffd", " bends à", " bends à")],
    ),
    "triton",
    [ANSWER] * 3,
    rules={"text_mode": "cumulative", "strip_prompt": True},
    prompt=RIVER,
    answer=told(" bends à", done=True),
)
add(
    "triton_delta_with_prompt",
    chunked(TRITON, [event(triton(RIVER + " bends")), event(triton(" to")), event(triton(RIVER))]),
    "triton",
    [ANSWER] * 3,
    rules={"strip_prompt": True},
    prompt=RIVER,
    answer=told(" bends toThe river", done=True),
)
add(
    "triton_error_first",
    chunked(TRITON, [event({"error": "in ensemble 'ensemble', [request id: 1] Cannot process new request"})]),
    "triton",
    [],
    answer=told(
        "",
        error="server_error_event",
        error_text="in ensemble 'ensemble', [request id: 1] Cannot process new request",
    ),
)
add(
    "triton_error_after_text",
    chunked(TRITON, [event(triton(" Deep")), event({"error": "executor stopped"})]),
    "triton",
    [ANSWER],
    answer=told(" Deep", error="server_error_event", error_text="executor stopped"),
)
add(
    "triton_cut",
    chunked(TRITON, [event(triton(" Deep"))], end=b""),
    "triton",
    [ANSWER],
    close="fin",
    complete=False,
    keep_alive=False,
    answer=told(" Deep", error="truncated"),
)
add(
    "triton_empty",
    chunked(TRITON, []),
    "triton",
    [],
    answer={"error": "empty_stream"},
)
add(
    "triton_document",
    with_length(JSON_HEADER, json.dumps(triton(" Deep learning"))),
    "triton",
    [],
    streamed=False,
    answer=told(" Deep learning", not_streamed=True),
)
add(
    "triton_error_document",
    with_length(
        JSON_HEADER, '{"error":"generate expects model to produce exactly 1 response, use generate stream"}'
    ),
    "triton",
    [],
    streamed=False,
    answer=told(
        "",
        error="server_error_event",
        error_text="generate expects model to produce exactly 1 response, use generate stream",
        not_streamed=True,
    ),
)
refused(
    "triton_400",
    "triton",
    "400 Bad Request",
    '{"error":"Unable to parse \'max_token\': attribute not in model config"}',
    "Unable to parse 'max_token': attribute not in model config",
    JSON_TYPE,
)

# --- SGLang ----------------------------------------------------------------------------------------------------------


def sglang(text: str, tokens: int, finish: Any = None, **more: Any) -> dict[str, Any]:
    meta = {
        "id": "r1",
        "finish_reason": finish,
        "prompt_tokens": 3,
        "completion_tokens": tokens,
        "cached_tokens": 2,
    }
    return {"text": text, "output_ids": [3941], "meta_info": {**meta, **more}}


LENGTH = {"type": "length", "length": 4}
STOP = {"type": "stop", "matched": 2}
add(
    "sglang",
    chunked(
        UVICORN,
        [
            event(sglang(" flows", 1)),
            event(sglang(" flows on and", 3)),
            event(sglang(" flows on and down", 4, LENGTH, e2e_latency=0.41)),
            DONE,
        ],
    ),
    "sglang",
    [counted("answer", 1), counted("answer", 2), counted("answer", 1)],
    answer=told(" flows on and down", "length", prompt_tokens=3, cached_tokens=2, output_tokens=4, done=True),
)
add(
    "sglang_tail_changes",
    chunked(
        UVICORN,
        [
            event(sglang("", 1)),
            event(sglang(" \ufffd", 2)),
            event(sglang(" \ufffd", 3)),
            event(sglang(" 😀", 4)),
            event(sglang(" 😀", 5, STOP)),
            DONE,
        ],
    ),
    "sglang",
    [counted("none", 1), counted("answer", 1), counted("none", 1), counted("answer", 1)],
    answer=told(" 😀", "stop", prompt_tokens=3, cached_tokens=2, output_tokens=5, done=True),
)
add(
    "sglang_incremental",
    chunked(
        UVICORN,
        [
            event(sglang("ha", 1)),
            event(sglang("ha", 2)),
            event(sglang("haha", 4)),
            event(sglang("", 5, STOP)),
            DONE,
        ],
    ),
    "sglang",
    [counted("answer", 1), counted("answer", 1), counted("answer", 2)],
    rules={"text_mode": "delta"},
    answer=told("hahahaha", "stop", prompt_tokens=3, cached_tokens=2, output_tokens=5, done=True),
)
for name, pieces, whole in (
    ("sglang_auto_cumulative", ("One", "One two", "One two three"), "One two three"),
    ("sglang_auto_incremental", ("One", " two", " three"), "One two three"),
):
    add(
        name,
        chunked(
            UVICORN,
            [
                *(event(sglang(piece, i + 1, LENGTH if i == 2 else None)) for i, piece in enumerate(pieces)),
                DONE,
            ],
        ),
        "sglang",
        [counted("answer", 1)] * 3,
        rules={"text_mode": "auto"},
        answer=told(whole, "length", prompt_tokens=3, cached_tokens=2, output_tokens=3, done=True),
    )
add(
    "sglang_no_done",
    chunked(UVICORN, [event(sglang(" a", 1)), event(sglang(" a b", 2, LENGTH))]),
    "sglang",
    [counted("answer", 1)] * 2,
    answer=told(" a b", "length", prompt_tokens=3, cached_tokens=2, output_tokens=2),
)
add(
    "sglang_cut",
    chunked(UVICORN, [event(sglang(" a", 1)), event(sglang(" a b c", 3))]),
    "sglang",
    [counted("answer", 1), counted("answer", 2)],
    answer=told(" a b c", prompt_tokens=3, cached_tokens=2, output_tokens=3, error="truncated_no_done"),
)
ABORT = {"type": "abort", "message": "The request queue is full.", "status_code": 503}
add(
    "sglang_abort",
    chunked(UVICORN, [event(sglang(" a", 1)), event(sglang(" a", 1, ABORT)), DONE]),
    "sglang",
    [counted("answer", 1)],
    answer=told(" a", prompt_tokens=3, cached_tokens=2, output_tokens=1, error="server_error_event"),
)
add(
    "sglang_error_in_stream",
    chunked(UVICORN, [event(sglang(" a", 1)), event({"error": {"message": "Input is too long"}}), DONE]),
    "sglang",
    [counted("answer", 1)],
    answer=told(
        " a",
        prompt_tokens=3,
        cached_tokens=2,
        output_tokens=1,
        error="server_error_event",
        error_text="Input is too long",
    ),
)
add(
    "sglang_error_first",
    chunked(UVICORN, [event({"error": {"message": "Input is too long"}}), DONE]),
    "sglang",
    [],
    answer=told("", error="server_error_event", error_text="Input is too long"),
)
for name, body in (
    ("sglang_document", sglang(" flows on", 2, LENGTH)),
    ("sglang_document_in_array", [sglang(" flows on", 2, LENGTH)]),
):
    add(
        name,
        with_length(JSON_HEADER, json.dumps(body)),
        "sglang",
        [],
        streamed=False,
        answer=told(
            " flows on", "length", prompt_tokens=3, cached_tokens=2, output_tokens=2, not_streamed=True
        ),
    )
add(
    "sglang_abort_document",
    with_length(JSON_HEADER, json.dumps(sglang("", 0, ABORT))),
    "sglang",
    [],
    streamed=False,
    answer=told(
        "",
        error="server_error_event",
        error_text="The request queue is full. (status_code 503, type abort)",
        not_streamed=True,
    ),
)
refused(
    "sglang_400",
    "sglang",
    "400 Bad Request",
    '{"error":{"message":"max_new_tokens must be at least 0"}}',
    "max_new_tokens must be at least 0",
    JSON_TYPE,
)
refused(
    "sglang_503",
    "sglang",
    "503 Service Unavailable",
    '{"object":"error","message":"The request queue is full.","type":"ServiceUnavailable","code":503}',
    "The request queue is full. (code 503, type ServiceUnavailable)",
    JSON_TYPE,
)

# --- llama.cpp's own completions -------------------------------------------------------------------------------------


def llamacpp(text: str, predicted: int, ids: list[int] | None = None) -> str:
    """One event; `tokens` holds only the last id where several made the text."""
    head = {"index": 0, "content": text, "tokens": ids if ids is not None else [298]}
    return event({**head, "stop": False, "id_slot": -1, "tokens_predicted": predicted, "tokens_evaluated": 4})


def llamacpp_end(predicted: int, kind: str = "limit", text: str = "", **more: Any) -> dict[str, Any]:
    return {
        "index": 0,
        "content": text,
        "tokens": [],
        "stop": True,
        "stop_type": kind,
        "tokens_predicted": predicted,
        "tokens_evaluated": 4,
        "tokens_cached": 67,  # in the slot, not of the prompt
        "truncated": False,
        "stopping_word": "",
        "timings": {"prompt_n": 4, "prompt_ms": 1.9, "predicted_n": predicted, "predicted_ms": 40.2},
        **more,
    }


add(
    "llamacpp_completion",
    chunked(LLAMA_CPP, [llamacpp(" flows", 1), ":\n\n", llamacpp(" on", 2), event(llamacpp_end(2))]),
    "llamacpp",
    [counted("answer", 1)] * 2,
    answer=told(" flows on", "limit", prompt_tokens=4, output_tokens=2, done=True),
)
add(
    "llamacpp_completion_held_back",
    chunked(
        LLAMA_CPP,
        [
            llamacpp("", 1, [227]),
            llamacpp("", 2, [229]),
            llamacpp("🎉", 3, [230]),
            llamacpp("!?", 6, [9]),
            llamacpp("", 7, [2]),
            event(llamacpp_end(7, "eos")),
        ],
    ),
    "llamacpp",
    [
        counted("none", 1),
        counted("none", 1),
        counted("answer", 1),
        counted("answer", 3),
        counted("none", 1),
    ],
    answer=told("🎉!?", "eos", prompt_tokens=4, output_tokens=7, done=True),
)
PROGRESS = {"prompt_progress": {"total": 4, "cache": 0, "processed": 2, "time_ms": 9}}
add(
    "llamacpp_completion_progress",
    chunked(
        LLAMA_CPP,
        [
            llamacpp("", 0, [0]).replace("}\n\n", "," + json.dumps(PROGRESS)[1:] + "\n\n"),
            llamacpp(" flows", 1),
            event(llamacpp_end(3, "word", " on.", stopping_word="!", timings={"cache_n": 3, "prompt_n": 1})),
        ],
    ),
    "llamacpp",
    [counted("answer", 1), counted("answer", 2)],
    answer=told(" flows on.", "word", prompt_tokens=4, cached_tokens=3, output_tokens=3, done=True),
)
for name, last in (
    (
        "llamacpp_completion_error_line",
        event({"code": 500, "message": "no more slots", "type": "server_error"}, "error: "),
    ),
    (
        "llamacpp_completion_error_event",
        event({"error": {"code": 500, "message": "no more slots", "type": "server_error"}}),
    ),
):
    add(
        name,
        chunked(LLAMA_CPP, [llamacpp(" flows", 1), last]),
        "llamacpp",
        [counted("answer", 1)],
        answer=told(
            " flows",
            prompt_tokens=4,
            output_tokens=1,
            error="server_error_event",
            error_text="no more slots (code 500, type server_error)",
        ),
    )
add(
    "llamacpp_completion_cut",
    chunked(LLAMA_CPP, [llamacpp(" flows", 1), llamacpp(" on", 2)]),
    "llamacpp",
    [counted("answer", 1)] * 2,
    answer=told(" flows on", prompt_tokens=4, output_tokens=2, error="truncated_no_done"),
)
add(
    "llamacpp_completion_data_after_the_end",
    chunked(LLAMA_CPP, [llamacpp(" flows", 1), event(llamacpp_end(1)), llamacpp(" on", 2)]),
    "llamacpp",
    [counted("answer", 1)],
    answer=told(" flows", "limit", prompt_tokens=4, output_tokens=1, done=True, done_order=True),
)
add(
    "llamacpp_completion_document",
    with_length(JSON_HEADER, json.dumps(llamacpp_end(2, "eos", " flows on"))),
    "llamacpp",
    [],
    streamed=False,
    answer=told(" flows on", "eos", prompt_tokens=4, output_tokens=2, not_streamed=True),
)
refused(
    "llamacpp_503",
    "llamacpp",
    "503 Service Unavailable",
    '{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}',
    "Loading model (code 503, type unavailable_error)",
    JSON_TYPE + "Connection: close\r\n",
    keep_alive=False,
)

# --- Ollama ----------------------------------------------------------------------------------------------------------

OLLAMA = (
    "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nDate: Sun, 23 Nov 2025 17:00:00 GMT\r\n"
    "Transfer-Encoding: chunked\r\n\r\n"
)
OLLAMA_COUNTS = {
    "total_duration": 910000000,
    "load_duration": 31000000,
    "prompt_eval_count": 3,
    "prompt_eval_duration": 90000000,
    "eval_count": 5,
    "eval_duration": 780000000,
}


def line(document: dict[str, Any], end: str = "\n") -> str:
    head = {"model": "tiny", "created_at": "2026-05-01T10:00:00.1Z"}
    return json.dumps({**head, **document}, separators=(",", ":"), ensure_ascii=False) + end


def ollama(text: str, end: str = "\n", **more: Any) -> str:
    return line({"response": text, "done": False, **more}, end)


def ollama_end(reason: str = "length", counts: dict[str, int] = OLLAMA_COUNTS, end: str = "\n") -> str:
    return line({"response": "", "done": True, "done_reason": reason, **counts}, end)


def ollama_chat(end: str = "\n", done: bool = False, **message: Any) -> str:
    more = {"done_reason": "stop", **OLLAMA_COUNTS} if done else {}
    return line({"message": {"role": "assistant", "content": "", **message}, "done": done, **more}, end)


add(
    "ollama",
    chunked(OLLAMA, [ollama(" flows"), ollama(" on"), ollama(""), ollama(" é\u2028"), ollama_end()]),
    "ollama",
    [ANSWER] * 3,
    answer=told(" flows on é\u2028", "length", prompt_tokens=3, output_tokens=5, done=True),
)
add(
    "ollama_thinking",
    chunked(
        OLLAMA, [ollama("", thinking="Let"), ollama("", thinking=" me"), ollama("So"), ollama_end("stop")]
    ),
    "ollama",
    [REASONING, REASONING, ANSWER],
    answer=told("So", "stop", prompt_tokens=3, output_tokens=5, done=True),
)
add(
    "ollama_crlf_and_empty_lines",
    chunked(
        OLLAMA.replace("x-ndjson", "json"),
        ["\r\n", ollama(" a", "\r\n"), "\r\n\n", ollama(" b", "\n\n"), ollama_end(end="")],
    ),
    "ollama",
    [ANSWER] * 2,
    answer=told(" a b", "length", prompt_tokens=3, output_tokens=5, done=True),
)
add(
    "ollama_zero_counts_omitted",
    chunked(OLLAMA, [ollama_end("stop", {"total_duration": 9})]),
    "ollama",
    [],
    answer=told("", "stop", done=True),
)
add(
    "ollama_cached_prompt",
    chunked(OLLAMA, [ollama(" a"), ollama_end("stop", {"total_duration": 9, "eval_count": 1})]),
    "ollama",
    [ANSWER],
    answer=told(" a", "stop", output_tokens=1, done=True),
)
add(
    "ollama_error_in_stream",
    chunked(OLLAMA, [ollama(" a"), '{"error":"an error was encountered while running the model"}\n']),
    "ollama",
    [ANSWER],
    answer=told(
        " a", error="server_error_event", error_text="an error was encountered while running the model"
    ),
)
add(
    "ollama_cut",
    chunked(OLLAMA, [ollama(" a"), ollama(" b")]),
    "ollama",
    [ANSWER] * 2,
    answer=told(" a b", error="truncated_no_done"),
)
add(
    "ollama_cut_in_a_line",
    chunked(OLLAMA, [ollama(" a"), ollama(" b")[:30]]),
    "ollama",
    [ANSWER],
    answer=told(" a", error="truncated_no_done"),
)
add(
    "ollama_broken_line",
    chunked(OLLAMA, [ollama(" a"), '{"response":" b"\n', ollama_end()]),
    "ollama",
    [ANSWER],
    answer=told(" a", error="bad_event"),
)
add(
    "ollama_invalid_utf8",
    OLLAMA.encode() + chunk(ollama(" a")) + chunk(b'{"response":"\xff","done":false}\n') + b"0\r\n\r\n",
    "ollama",
    [ANSWER],
    answer=told(" a", error="sse_json_invalid"),
)
add(
    "ollama_after_the_end",
    chunked(OLLAMA, [ollama(" a"), ollama_end(), ollama(" b")]),
    "ollama",
    [ANSWER],
    answer=told(" a", "length", prompt_tokens=3, output_tokens=5, done=True, done_order=True),
)
add(
    "ollama_document",
    with_length(
        JSON_HEADER.replace("json", "json; charset=utf-8"),
        line({"response": " flows on", "done": True, "done_reason": "stop", **OLLAMA_COUNTS}, ""),
    ),
    "ollama",
    [],
    streamed=False,
    answer=told(" flows on", "stop", prompt_tokens=3, output_tokens=5, not_streamed=True),
)
refused(
    "ollama_404",
    "ollama",
    "404 Not Found",
    '{"error":"model \'tiny\' not found"}',
    "model 'tiny' not found",
    JSON_TYPE,
)
add(
    "ollama_chat",
    chunked(
        OLLAMA,
        [
            ollama_chat(thinking="Hm"),
            ollama_chat(content="Pressure"),
            ollama_chat(content=" melts"),
            ollama_chat(done=True),
        ],
    ),
    "ollama-chat",
    [REASONING, ANSWER, ANSWER],
    answer=told("Pressure melts", "stop", prompt_tokens=3, output_tokens=5, done=True),
)
add(
    "ollama_chat_tool",
    chunked(
        OLLAMA,
        [
            ollama_chat(tool_calls=[{"function": {"name": "weather", "arguments": {"city": "Bonn"}}}]),
            ollama_chat(done=True),
        ],
    ),
    "ollama-chat",
    [TOOL],
    answer=told("", "stop", prompt_tokens=3, output_tokens=5, done=True),
)
add(
    "ollama_chat_error_first",
    chunked(OLLAMA, ['{"error":"server busy, please try again.  maximum pending requests exceeded"}\n']),
    "ollama-chat",
    [],
    answer=told(
        "",
        error="server_error_event",
        error_text="server busy, please try again.  maximum pending requests exceeded",
    ),
)
add(
    "ollama_chat_document",
    with_length(JSON_HEADER, ollama_chat("", True, content="Pressure.")),
    "ollama-chat",
    [],
    streamed=False,
    answer=told("Pressure.", "stop", prompt_tokens=3, output_tokens=5, not_streamed=True),
)

# --- DeepSpeed-MII ---------------------------------------------------------------------------------------------------

add(
    "mii_generate",
    chunked(UVICORN, [*(event({"text": [text]}) for text in (" flows", "", " on", " 😀")), DONE]),
    "mii-generate",
    [ANSWER] * 3,
    answer=told(" flows on 😀", done=True),
)
add(
    "mii_generate_cut",
    chunked(UVICORN, [event({"text": [" flows"]})]),
    "mii-generate",
    [ANSWER],
    answer=told(" flows", error="truncated_no_done"),
)
add(
    "mii_generate_error",
    chunked(UVICORN, [event({"text": [" flows"]}), event({"error": "replica died"}), DONE]),
    "mii-generate",
    [ANSWER],
    answer=told(" flows", error="server_error_event", error_text="replica died"),
)
add(
    "mii_generate_document",
    with_length(JSON_HEADER, '{"text":[" flows on"]}'),
    "mii-generate",
    [],
    streamed=False,
    answer=told(" flows on", not_streamed=True),
)
refused(
    "mii_401",
    "mii-generate",
    "401 Unauthorized",
    '{"detail":{"error":{"message":"","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}}',
    '{"error":{"message":"","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}',
    JSON_TYPE,
)
FLASK = (
    "HTTP/1.1 200 OK\r\nServer: Werkzeug/3.0.1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"
    "Connection: close\r\n\r\n"
)
add(
    "fastgen_rest",
    with_length(
        FLASK,
        json.dumps(
            [
                {
                    "finish_reason": "length",
                    "generated_length": 4,
                    "generated_text": " flows on",
                    "prompt_length": 3,
                }
            ]
        )
        + "\n",
    ),
    "fastgen-rest",
    [],
    streamed=False,
    close="fin",
    keep_alive=False,
    answer=told(" flows on", "length", prompt_tokens=3, output_tokens=4, not_streamed=True),
)
refused(
    "fastgen_rest_415",
    "fastgen-rest",
    "415 UNSUPPORTED MEDIA TYPE",
    "<!doctype html>\n<title>415 Unsupported Media Type</title>",
    "<!doctype html> <title>415 Unsupported Media Type</title>",
    HTML_TYPE + "Connection: close\r\n",
    keep_alive=False,
)

# --- servers that answer with one document ---------------------------------------------------------------------------


def documents(wire_format: str, cases: dict[str, Any], text: str = " flows on", **expected: Any) -> None:
    """Bodies that all mean the same."""
    for name, body in cases.items():
        add(
            name,
            with_length(JSON_HEADER, body if isinstance(body, str) else json.dumps(body)),
            wire_format,
            [],
            streamed=False,
            **expected,
            answer=told(text, not_streamed=True),
        )


documents(
    "aml",
    {
        "aml_numbered": [{"0": " flows on"}],
        "aml_list": [" flows on"],
        "aml_output": {"output": " flows on"},
        "aml_generated_text": [{"generated_text": " flows on"}],
        "aml_predictions": {"predictions": [" flows on"]},
    },
)
refused(
    "aml_424",
    "aml",
    "424 Failed Dependency",
    "Internal Server Error. Run: TraceBack (most recent call last)",
    "Internal Server Error. Run: TraceBack (most recent call last)",
    "content-type: text/plain\r\nms-azureml-model-error-statuscode: 500\r\n",
)
refused("aml_408", "aml", "408 Request Timeout", "", "")
ECHOED = "Prompt:\nThe river\nOutput:\n flows on"
documents(
    "transformers",
    {
        "transformers_nested": {"predictions": [[{"generated_text": ECHOED}]]},
        "transformers_flat": {"predictions": [{"generated_text": ECHOED}]},
        "transformers_string": {"predictions": [ECHOED]},
        "transformers_two_markers": {"predictions": ["Prompt:\na\nOutput:\nb\nOutput:\n flows on"]},
        "transformers_prompt_repeated": {"predictions": [[{"generated_text": "The river flows on"}]]},
        "transformers_text_alone": {"predictions": [[{"generated_text": " flows on"}]]},
    },
    prompt=RIVER,
)
refused(
    "transformers_500",
    "transformers",
    "500 INTERNAL SERVER ERROR",
    "<!doctype html>\n<h1>Internal Server Error</h1>",
    "<!doctype html> <h1>Internal Server Error</h1>",
    HTML_TYPE,
)
documents(
    "sax",
    {
        "sax_choices": {"choices": [{"text": " flows on"}]},
        "sax_predictions": {"predictions": [[[" flows on", -1.2]]]},
        "sax_predictions_best_first": {"predictions": [[[" flows on", -1.2], [" stops", -3.5]]]},
    },
)
refused(
    "sax_500",
    "sax",
    "500 Internal Server Error",
    '{"error":"deadline exceeded"}',
    "deadline exceeded",
    JSON_TYPE,
)
for wire_format in ("fastgen-rest", "aml", "transformers", "sax", "jetstream"):
    name = wire_format.replace("-", "_")
    add(
        f"{name}_error_document",
        with_length(JSON_HEADER, '{"error":"it broke"}'),
        wire_format,
        [],
        streamed=False,
        answer=told("", error="server_error_event", error_text="it broke", not_streamed=True),
    )
    add(
        f"{name}_another_shape",
        with_length(JSON_HEADER, '{"status":"fine"}'),
        wire_format,
        [],
        streamed=False,
        answer=told("", error="schema", not_streamed=True),
    )
documents(
    "azure-content-safety",
    {
        "azure_content_safety": {
            "blocklistsMatch": [],
            "categoriesAnalysis": [
                {"category": "Hate", "severity": 0},
                {"category": "Violence", "severity": 2},
            ],
        },
        "azure_content_safety_nothing_found": {"blocklistsMatch": [], "categoriesAnalysis": []},
    },
    text="",
)
add(
    "azure_content_safety_another_shape",
    with_length(JSON_HEADER, "{}"),
    "azure-content-safety",
    [],
    streamed=False,
    answer=told("", error="schema", not_streamed=True),
)
refused(
    "azure_content_safety_400",
    "azure-content-safety",
    "400 Bad Request",
    '{"error":{"code":"InvalidRequestBody","message":"The text is too long.","details":[]}}',
    "The text is too long. (code InvalidRequestBody)",
    JSON_TYPE + "x-ms-error-code: InvalidRequestBody\r\n",
)
refused(
    "azure_content_safety_429",
    "azure-content-safety",
    "429 Too Many Requests",
    '{"error":{"code":"TooManyRequests","message":"Rate limit is exceeded."}}',
    "Rate limit is exceeded. (code TooManyRequests)",
    JSON_TYPE + "retry-after: 9\r\n",
    retry_after_s=9,
)

# --- JetStream -------------------------------------------------------------------------------------------------------

add(
    "jetstream",
    with_length(JSON_HEADER, '{"response":" flows on"}'),
    "jetstream",
    [],
    streamed=False,
    answer=told(" flows on", not_streamed=True),
)
for name, separator in (("jetstream_documents", ""), ("jetstream_lines", "\n")):
    add(
        name,
        chunked(UVICORN, [f'{{"text":"{text}"}}{separator}' for text in (" {flows", "", " }on\\\\", '\\"')]),
        "jetstream",
        [ANSWER] * 3,
        answer=told(' {flows }on\\"', done=True),
    )
refused(
    "jetstream_500",
    "jetstream",
    "500 Internal Server Error",
    '{"detail":"no free slot"}',
    "no free slot",
    JSON_TYPE,
)


def samples(*pairs: tuple[str, list[Any]], indent: int | None = 2) -> str:
    content = [{"text": text, "tokenIds": ids} for text, ids in pairs]
    return json.dumps({"streamContent": {"samples": content}}, indent=indent)


add(
    "jetstream_v1",
    chunked(
        UVICORN,
        [
            samples((" flows", [311])),
            samples((" on", [9, 14]), indent=None),
            samples(("", ["9007199254740993"])),
            samples((' }{"\\', ["7", "8", "9"])),
            samples(),
        ],
    ),
    "jetstream-v1",
    [counted("answer", 1), counted("answer", 2), counted("none", 1), counted("answer", 3)],
    answer=told(' flows on }{"\\', token_ids=7, done=True),
)
add(
    "jetstream_v1_initial_content",
    chunked(
        UVICORN,
        [
            '{\n  "initialContent": {}\n}',
            samples((" flows", [311])) + samples((" on", [9])) + "\n \r\n" + samples((" down", [10])),
            '{\n  "streamContent": {}\n}',
        ],
    ),
    "jetstream-v1",
    [counted("answer", 1)] * 3,
    answer=told(" flows on down", token_ids=3, done=True),
)
add(
    "jetstream_v1_error_after_text",
    chunked(UVICORN, [samples((" flows", [311])), '{"error": {"code": 13, "message": "engine stopped"}}']),
    "jetstream-v1",
    [counted("answer", 1)],
    answer=told(" flows", token_ids=1, error="server_error_event", error_text="engine stopped (code 13)"),
)
add(
    "jetstream_v1_cut",
    chunked(UVICORN, [samples((" flows", [311]))], end=b"ff\r\n" + samples((" on", [9])).encode()[:40]),
    "jetstream-v1",
    [counted("answer", 1)],
    close="fin",
    complete=False,
    keep_alive=False,
    answer=told(" flows", token_ids=1, error="truncated"),
)
add(
    "jetstream_v1_broken_document",
    chunked(UVICORN, [samples((" flows", [311])), '{"streamContent": {"samples": [}]}}', samples()]),
    "jetstream-v1",
    [counted("answer", 1)],
    answer=told(" flows", token_ids=1, error="bad_event"),
)
refused(
    "jetstream_v1_422",
    "jetstream-v1",
    "422 Unprocessable Entity",
    '{"detail":[{"type":"extra_forbidden","loc":["body","top_p"],"msg":"Extra inputs are not permitted","input":1}]}',
    "body.top_p: Extra inputs are not permitted",
    JSON_TYPE,
)


# --- rules of one's own ----------------------------------------------------------------------------------------------

add(
    "template_sse",
    chunked(
        UVICORN,
        [
            event({"state": "loading", "piece": "not yet"}),
            event({"state": "run", "out": [{"piece": " flows"}, {"piece": " on"}], "count": {"now": 2}}),
            event({"state": "run", "out": [{"thought": "hm"}], "count": {"now": 1}}),
            event({"state": "run", "out": [], "count": {"now": 1}}),
            event({"state": "over", "out": [{"piece": "."}], "why~/": "enough", "count": {"now": 1}}),
        ],
    ),
    "template",
    [counted("answer", 2), counted("reasoning", 1), counted("none", 1), counted("answer", 1)],
    rules={
        "framing": "sse",
        "text": ["/out/-/piece", "/piece"],
        "reasoning": "/out/-/thought",
        "finish_reason": "/why~0~1",
        "output_tokens": "/count/now",
        "count_mode": "per_chunk",
        "skip_if": {"/state": "loading"},
        "done": {"/state": ["over", "failed"]},
    },
    answer=told(" flows on.", "enough", output_tokens=5, done=True),
)
add(
    "template_sse_payload_ends_it",
    chunked(UVICORN, [event({"t": "a"}), event("<END>"), event({"t": "b"})]),
    "template",
    [ANSWER],
    rules={"framing": "sse", "text": "/t", "done": "<END>"},
    answer=told("a", done=True, done_order=True),
)
add(
    "template_ndjson_cumulative",
    chunked(
        PLAIN_UVICORN,
        [
            json.dumps({"text": text, "usage": {"in": 3, "out": count, "hit": 1}}) + "\n"
            for text, count in (("River: a", 1), ("River: a\ufffd", 2), ("River: a\u00e9", 3))
        ],
    ),
    "template",
    [counted("answer", 1)] * 3,
    rules={
        "framing": "ndjson",
        "text": "/text",
        "text_mode": "cumulative",
        "strip_prompt": True,
        "prompt_tokens": "/usage/in",
        "output_tokens": ["/usage/nothing", "/usage/out"],
        "cached_tokens": "/usage/hit",
        "count_mode": "cumulative",
        "done": "eof",
    },
    prompt="River: ",
    answer=told("a\u00e9", prompt_tokens=3, cached_tokens=1, output_tokens=3, done=True),
)
add(
    "template_documents_with_ids",
    chunked(
        UVICORN,
        [
            '[{"t":"a","ids":[1,2]},',
            '{"t":"b","ids":[3]}]\n\n[{"t":"","ids":[4]}]{"failure":{"message":"no"}}',
        ],
    ),
    "template",
    [counted("answer", 3), counted("none", 1)],
    rules={
        "framing": "json-documents",
        "text": "/-/t",
        "token_ids": "/-/ids",
        "error": "/failure",
        "done": "eof",
    },
    answer=told("ab", token_ids=4, error="server_error_event"),
)
add(
    "template_document",
    with_length(JSON_HEADER, '{"result":{"a/b":["x",">> flows"]},"n":2,"end":"stop"}'),
    "template",
    [],
    streamed=False,
    rules={
        "framing": "none",
        "text": "/result/a~1b/1",
        "strip_until": ">>",
        "output_tokens": "/n",
        "finish_reason": "/end",
    },
    answer=told(" flows", "stop", output_tokens=2, not_streamed=True),
)

# --- FastGen's gRPC --------------------------------------------------------------------------------------------------

# Bodies of HTTP/2 streams, without its frames; the fields before and behind them are in the JSON.
grpc_bodies: dict[str, tuple[bytes, dict[str, Any]]] = {}


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def length_delimited(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def reply(text: str, generated: int, finish: str = "none", prompt: int = 3, unknown: bytes = b"") -> bytes:
    """A SingleGenerationReply as field 1 of a MultiGenerationReply; zeros are left out, as proto3 does."""
    single = length_delimited(1, text.encode()) if text else b""
    single += length_delimited(2, finish.encode()) if finish else b""
    single += b"\x18" + varint(prompt) if prompt else b""
    single += b"\x20" + varint(generated) if generated else b""
    single += b"\x2d\x00\x00\x80\xbf\x35\x00\x00\x80\xbf"
    return length_delimited(1, single + unknown)


def message(data: bytes, flag: int = 0) -> bytes:
    return bytes([flag]) + len(data).to_bytes(4, "big") + data


GRPC_HEAD = [[":status", "200"], ["content-type", "application/grpc"]]
GRPC_OK = [["grpc-status", "0"]]


def grpc(
    name: str,
    messages: list[bytes],
    events: list[dict[str, Any]],
    *,
    head: list[list[str]] = GRPC_HEAD,
    trailers: list[list[str]] | None = GRPC_OK,
    **expected: Any,
) -> None:
    assert name not in grpc_bodies
    fields = {"format": "fastgen-grpc", "head": head, "trailers": trailers}
    grpc_bodies[name] = (b"".join(messages), {**fields, **expected, "events": events})


grpc(
    "fastgen_grpc",
    [message(reply("hello", 1)), message(reply(" world", 2, "length"))],
    [counted("answer", 1)] * 2,
    answer=told("hello world", "length", prompt_tokens=3, output_tokens=2, done=True),
)
grpc(
    "fastgen_grpc_held_back_and_empty_end",
    [
        message(reply("", 0)),
        message(reply("", 1)),
        message(reply("😀 é", 300)),
        message(reply("", 300, "stop")),
    ],
    [counted("none", 1), counted("answer", 299)],
    answer=told("😀 é", "stop", prompt_tokens=3, output_tokens=300, done=True),
)
grpc(
    "fastgen_grpc_unknown_fields",
    [
        message(
            varint(9 << 3)
            + b"\x05"
            + reply("a", 1, unknown=b"\x39" + b"\0" * 8 + length_delimited(8, b"\x0a\x01b"))
        ),
        message(reply("b", 2, "stop") + b"\x15abcd"),
    ],
    [counted("answer", 1)] * 2,
    answer=told("ab", "stop", prompt_tokens=3, output_tokens=2, done=True),
)
grpc(
    "fastgen_grpc_error_after_text",
    [message(reply("a", 1))],
    [counted("answer", 1)],
    trailers=[["grpc-status", "2"], ["grpc-message", "Exception calling application: 100%25 caf%C3%A9"]],
    answer=told(
        "a",
        prompt_tokens=3,
        output_tokens=1,
        error="server_error_event",
        error_text="grpc-status 2 UNKNOWN: Exception calling application: 100% café",
    ),
)
grpc(
    "fastgen_grpc_trailers_only",
    [],
    [],
    head=[*GRPC_HEAD, ["grpc-status", "14"], ["grpc-message", "no replica"]],
    trailers=None,
    answer=told("", error="server_error_event", error_text="grpc-status 14 UNAVAILABLE: no replica"),
)
grpc(
    "fastgen_grpc_no_status",
    [message(reply("a", 1)), message(reply("b", 2, "stop"))],
    [counted("answer", 1)] * 2,
    trailers=None,
    complete=False,
    answer=told("ab", "stop", prompt_tokens=3, output_tokens=2, error="truncated"),
)
grpc(
    "fastgen_grpc_half_a_message",
    [message(reply("a", 1)), message(reply("b", 2, "stop"))[:9]],
    [counted("answer", 1)],
    answer=told("a", prompt_tokens=3, output_tokens=1, error="truncated_no_done"),
)
grpc(
    "fastgen_grpc_no_finish_reason",
    [message(reply("a", 1))],
    [counted("answer", 1)],
    answer=told("a", prompt_tokens=3, output_tokens=1, done=True),
)
grpc(
    "fastgen_grpc_compressed",
    [message(reply("a", 1)), message(b"\x1f\x8b\x08", 1)],
    [counted("answer", 1)],
    answer=told("a", prompt_tokens=3, output_tokens=1, error="content_encoding"),
)
grpc(
    "fastgen_grpc_garbage",
    [message(reply("a", 1)), message(b"\x0a\x7fab")],
    [counted("answer", 1)],
    answer=told("a", prompt_tokens=3, output_tokens=1, error="bad_event"),
)
grpc(
    "fastgen_grpc_broken_behind_a_reply",
    [message(reply("a", 1)), message(reply("b", 2) + b"\x0a\x7f")],
    [counted("answer", 1)],
    answer=told("a", prompt_tokens=3, output_tokens=2, error="bad_event"),
)
grpc(
    "fastgen_grpc_html",
    [b"<html>It works!</html>"],
    [],
    head=[[":status", "200"], ["content-type", "text/html"]],
    trailers=None,
    complete=False,
    answer={"error": "content_type"},
)
grpc(
    "fastgen_grpc_empty",
    [],
    [],
    answer={"error": "empty_stream"},
)


def main() -> None:
    for name, (data, expected) in streams.items():
        (HERE / f"{name}.http").write_bytes(data)
        (HERE / f"{name}.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")
    for name, (data, expected) in grpc_bodies.items():
        (HERE / f"{name}.grpc").write_bytes(data)
        (HERE / f"{name}.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
