#include "llmbench/wire/named_formats.h"

namespace llmbench::wire {
namespace {

using Decoding = WireFormat::Decoding;

// docs/wire-formats.md says where each comes from.
constexpr NamedFormat kFormats[] = {
    {"openai-completions", Decoding::kOpenAiCompletions, R"({
       "framing": "sse", "done": "[DONE]"
     })",
     "/choices/0/text | /object=text_completion"},

    {"openai-chat", Decoding::kOpenAiChat, R"({
       "framing": "sse", "done": "[DONE]"
     })",
     "/choices/0/delta | /choices/0/message | /object=chat.completion.chunk | /object=chat.completion"},

    {"openai-responses", Decoding::kRules, R"({
       "framing": "sse",
       "text": {"pointer": "/delta", "when": {"/type": [
         "response.output_text.delta", "response.refusal.delta"]}},
       "reasoning": {"pointer": "/delta", "when": {"/type": [
         "response.reasoning_text.delta", "response.reasoning_summary_text.delta"]}},
       "tool": [
         {"pointer": "/delta", "when": {"/type": [
           "response.function_call_arguments.delta", "response.mcp_call_arguments.delta",
           "response.custom_tool_call_input.delta"]}},
         {"pointer": "/item/name", "when": {"/type": "response.output_item.added"}}],
       "finish_reason": [
         "/response/incomplete_details/reason",
         {"pointer": "/response/status", "when": {"/type": ["response.completed", "response.incomplete"]}}],
       "error": ["/response/error", "/error", {"pointer": "/message", "when": {"/type": "error"}},
         {"pointer": "/response/status", "when": {"/response/status": "failed"}}],
       "prompt_tokens": "/response/usage/input_tokens",
       "cached_tokens": "/response/usage/input_tokens_details/cached_tokens",
       "output_tokens": "/response/usage/output_tokens",
       "reasoning_tokens": "/response/usage/output_tokens_details/reasoning_tokens",
       "done": {"/type": ["response.completed", "response.incomplete"]},
       "expect": "/type",
       "document": {
         "text": [
           {"pointer": "/output/-/content/-/text", "when": {"/output/-/content/-/type": "output_text"}},
           "/output/-/content/-/refusal"],
         "reasoning": [
           {"pointer": "/output/-/content/-/text", "when": {"/output/-/content/-/type": "reasoning_text"}},
           "/output/-/summary/-/text"],
         "tool": ["/output/-/name", "/output/-/arguments"],
         "finish_reason": ["/incomplete_details/reason", "/status"],
         "error": ["/error", {"pointer": "/status", "when": {"/status": "failed"}}],
         "prompt_tokens": "/usage/input_tokens",
         "cached_tokens": "/usage/input_tokens_details/cached_tokens",
         "output_tokens": "/usage/output_tokens",
         "reasoning_tokens": "/usage/output_tokens_details/reasoning_tokens",
         "expect": "/output"}
     })",
     "/type /sequence_number | /response/object=response | /object=response | "
     "/type=response.output_text.delta"},

    {"anthropic-messages", Decoding::kRules, R"({
       "framing": "sse",
       "text": {"pointer": "/delta/text", "when": {"/delta/type": "text_delta"}},
       "reasoning": {"pointer": "/delta/thinking", "when": {"/delta/type": "thinking_delta"}},
       "tool": [
         {"pointer": "/delta/partial_json", "when": {"/delta/type": "input_json_delta"}},
         {"pointer": "/content_block/name", "when": {"/type": "content_block_start"}}],
       "finish_reason": "/delta/stop_reason",
       "prompt_tokens": ["/message/usage/input_tokens", "/usage/input_tokens"],
       "prompt_tokens_more": [
         "/message/usage/cache_read_input_tokens", "/message/usage/cache_creation_input_tokens",
         "/usage/cache_read_input_tokens", "/usage/cache_creation_input_tokens"],
       "cached_tokens": ["/message/usage/cache_read_input_tokens", "/usage/cache_read_input_tokens"],
       "output_tokens": "/usage/output_tokens",
       "done": {"/type": "message_stop"},
       "expect": "/type",
       "document": {
         "text": "/content/-/text",
         "reasoning": "/content/-/thinking",
         "tool": "/content/-/name",
         "finish_reason": "/stop_reason",
         "prompt_tokens": "/usage/input_tokens",
         "prompt_tokens_more": ["/usage/cache_read_input_tokens", "/usage/cache_creation_input_tokens"],
         "cached_tokens": "/usage/cache_read_input_tokens",
         "expect": "/content"}
     })",
     "/type=message_start | /type=content_block_start | /type=content_block_delta | /type=content_block_stop "
     "| "
     "/type=message_delta | /type=message_stop | /type=ping | /type=message /content/0"},

    {"vllm-generate", Decoding::kRules, R"({
       "framing": "nul",
       "text": ["/text/-", "/text"], "text_mode": "cumulative", "strip_prompt": true,
       "done": "eof"
     })",
     "/text/0 !/meta_info"},

    {"tgi", Decoding::kRules, R"({
       "framing": "sse",
       "text": "/token/text", "skip_if": {"/token/special": true},
       "token_ids": "/token/id",
       "finish_reason": "/details/finish_reason",
       "prompt_tokens": "/details/input_length",
       "output_tokens": "/details/generated_tokens",
       "done": "/generated_text",
       "expect": "/token",
       "document": {
         "text": ["/generated_text", "/-/generated_text"],
         "token_ids": null,
         "finish_reason": ["/details/finish_reason", "/-/details/finish_reason"],
         "prompt_tokens": ["/details/input_length", "/-/details/input_length"],
         "output_tokens": ["/details/generated_tokens", "/-/details/generated_tokens"]}
     })",
     "/token/text | /generated_text | /0/generated_text !/0/generated_length | /error_type"},

    {"triton", Decoding::kRules, R"({
       "framing": "sse",
       "text": ["/text_output", "/text_output/-"],
       "done": "eof",
       "document": {"token_ids": "/output_log_probs"}
     })",
     "/text_output"},

    {"sglang", Decoding::kRules, R"({
       "framing": "sse",
       "text": "/text", "text_mode": "cumulative",
       "index": "/index",
       "finish_reason": ["/meta_info/finish_reason/type", "/meta_info/finish_reason"],
       "error": ["/error", {"pointer": "/message", "when": {"/object": "error"}},
         {"pointer": "/meta_info/finish_reason", "when": {"/meta_info/finish_reason/type": "abort"}}],
       "prompt_tokens": "/meta_info/prompt_tokens",
       "cached_tokens": "/meta_info/cached_tokens",
       "output_tokens": "/meta_info/completion_tokens", "count_mode": "cumulative",
       "done": "[DONE]",
       "expect": "/meta_info",
       "document": {
         "text": ["/text", "/-/text"],
         "finish_reason": ["/meta_info/finish_reason/type", "/-/meta_info/finish_reason/type",
           "/meta_info/finish_reason"],
         "error": ["/error", {"pointer": "/message", "when": {"/object": "error"}},
           {"pointer": "/meta_info/finish_reason", "when": {"/meta_info/finish_reason/type": "abort"}},
           {"pointer": "/-/meta_info/finish_reason", "when": {"/-/meta_info/finish_reason/type": "abort"}}],
         "prompt_tokens": ["/meta_info/prompt_tokens", "/-/meta_info/prompt_tokens"],
         "cached_tokens": ["/meta_info/cached_tokens", "/-/meta_info/cached_tokens"],
         "output_tokens": ["/meta_info/completion_tokens", "/-/meta_info/completion_tokens"],
         "expect": ["/meta_info", "/-/meta_info"]}
     })",
     "/meta_info | /0/meta_info"},

    {"llamacpp", Decoding::kRules, R"({
       "framing": "sse",
       "text": "/content", "skip_if": "/prompt_progress",
       "index": "/index",
       "finish_reason": {"pointer": "/stop_type", "when": {"/stop": true}},
       "prompt_tokens": "/tokens_evaluated",
       "cached_tokens": "/timings/cache_n",
       "output_tokens": "/tokens_predicted", "count_mode": "cumulative",
       "done": {"/stop": true},
       "expect": ["/content", "/prompt_progress"],
       "document": {
         "text": ["/content", "/-/content"],
         "finish_reason": ["/stop_type", "/-/stop_type"],
         "prompt_tokens": ["/tokens_evaluated", "/-/tokens_evaluated"],
         "cached_tokens": ["/timings/cache_n", "/-/timings/cache_n"],
         "output_tokens": ["/tokens_predicted", "/-/tokens_predicted"]}
     })",
     "/content /stop | /content /tokens_predicted | /prompt_progress"},

    {"ollama", Decoding::kRules, R"({
       "framing": "ndjson",
       "text": "/response",
       "reasoning": "/thinking",
       "finish_reason": "/done_reason",
       "prompt_tokens": "/prompt_eval_count",
       "output_tokens": "/eval_count",
       "done": {"/done": true},
       "expect": ["/response", "/thinking"],
       "document": {"expect": "/response"}
     })",
     "/response /done"},

    {"ollama-chat", Decoding::kRules, R"({
       "framing": "ndjson",
       "text": "/message/content",
       "reasoning": "/message/thinking",
       "tool": "/message/tool_calls/-/function/name",
       "finish_reason": "/done_reason",
       "prompt_tokens": "/prompt_eval_count",
       "output_tokens": "/eval_count",
       "done": {"/done": true},
       "expect": "/message",
       "document": {"expect": "/message"}
     })",
     "/message /done"},

    {"mii-generate", Decoding::kRules, R"({
       "framing": "sse",
       "text": ["/text/-", "/text"],
       "done": "[DONE]"
     })",
     "/text/0 !/meta_info"},

    {"jetstream", Decoding::kRules, R"({
       "framing": "json-documents",
       "text": ["/text", "/response"],
       "error": ["/error", "/detail"],
       "done": "eof"
     })",
     "/response !/done !/type | /text !/text/0 !/meta_info"},

    {"jetstream-v1", Decoding::kRules, R"({
       "framing": "json-documents", "always_streams": true,
       "text": "/streamContent/samples/-/text",
       "token_ids": "/streamContent/samples/-/tokenIds",
       "error": ["/error", "/detail"],
       "done": "eof",
       "expect": ["/streamContent", "/initialContent"]
     })",
     "/streamContent | /initialContent"},

    {"fastgen-grpc", Decoding::kFastGenGrpc, "", ""},  // protobuf: no rules

    {"fastgen-rest", Decoding::kRules, R"({
       "framing": "none",
       "text": ["/-/generated_text", "/generated_text"],
       "finish_reason": ["/-/finish_reason", "/finish_reason"],
       "prompt_tokens": ["/-/prompt_length", "/prompt_length"],
       "output_tokens": ["/-/generated_length", "/generated_length"]
     })",
     "/0/generated_length | /generated_length"},

    {"aml", Decoding::kRules, R"({
       "framing": "none",
       "text": ["/-/0", "/-/generated_text", "/-/output", "/-", "/output", "/output/-", "/generated_text",
         "/predictions/-/0", "/predictions/-/generated_text", "/predictions/-"]
     })",
     "/0/0 | /output !/object"},

    {"transformers", Decoding::kRules, R"({
       "framing": "none",
       "text": ["/predictions/-/-/generated_text", "/predictions/-/generated_text", "/predictions/-",
         "/-/generated_text", "/generated_text"],
       "strip_prompt": true, "strip_until": "\nOutput:\n"
     })",
     "/predictions/0/0/generated_text | /predictions/0/generated_text | /predictions/0 !/predictions/0/0"},

    {"sax", Decoding::kRules, R"({
       "framing": "none",
       "text": ["/choices/-/text", "/predictions/-/0/0", "/predictions/-/0", "/predictions/-/text",
         "/predictions/-", "/response", "/text", "/output"],
       "finish_reason": "/choices/-/finish_reason",
       "prompt_tokens": "/usage/prompt_tokens",
       "output_tokens": "/usage/completion_tokens"
     })",
     "/predictions/0/0/0 | /predictions/0/text"},

    {"azure-content-safety", Decoding::kRules, R"({
       "framing": "none",
       "expect": null,
       "document": {"expect": ["/categoriesAnalysis", "/blocklistsMatch"]}
     })",
     "/categoriesAnalysis | /blocklistsMatch"},
};

}  // namespace

std::span<const NamedFormat> NamedFormats() { return kFormats; }

const NamedFormat* FindNamedFormat(std::string_view name) {
  for (const NamedFormat& format : kFormats) {
    if (format.name == name) return &format;
  }
  return nullptr;
}

}  // namespace llmbench::wire
