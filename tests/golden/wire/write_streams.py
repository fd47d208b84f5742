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


def main() -> None:
    for name, (data, expected) in streams.items():
        (HERE / f"{name}.http").write_bytes(data)
        (HERE / f"{name}.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
