// Anthropic's POST /v1/messages: named events around blocks of content.
#include <algorithm>

#include "llmbench/sim/dialects/dialects.h"
#include "llmbench/sim/json_text.h"

namespace llmbench::sim {
namespace {

BodyRules MakeRules() {
  BodyRules rules;
  rules.prompt_field = "messages";
  rules.needs_max_tokens = true;
  rules.needs_model = true;
  rules.fields = {{"messages", FieldUse::kMessages},    {"system", FieldUse::kInstructions},
                  {"model", FieldUse::kModel},          {"stream", FieldUse::kStream},
                  {"max_tokens", FieldUse::kMaxTokens}, {"ignore_eos", FieldUse::kIgnoreEos}};
  return rules;
}

const char* TypeOf(int status) {
  switch (status) {
    case 400:
      return "invalid_request_error";
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
    case 529:
      return "overloaded_error";
    default:
      return "api_error";
  }
}

std::string Words(int status, std::string_view message) {
  std::string body = std::string(R"({"type":"error","error":{"type":")") + TypeOf(status) + R"(","message":)";
  AppendJsonString(message, &body);
  return body + "}}";
}

class Messages final : public Dialect {
 public:
  using Dialect::Dialect;

  Route Find(const HttpRequest& request) const override {
    if (request.target == "/v1/messages") return PostRoute(request, 0);
    return {};
  }

  bool MayPass(const HttpRequest& request, const std::string& key) const override {
    return request.api_key == key || Dialect::MayPass(request, key);
  }

  ServerReply Error(const ApiError& error, const Answer& answer) const override {
    std::string message = error.message;
    if (error.why == Refusal::kKey) message = "invalid x-api-key";
    if (error.why == Refusal::kModel) message = "model: " + answer.request.model;
    return {error.status, "application/json", Words(error.status, message), ""};
  }

  const BodyRules& Rules(int /*form*/) const override {
    static const auto* const rules = new BodyRules(MakeRules());
    return *rules;
  }

  std::string_view IdPrefix(int /*form*/) const override { return "msg_"; }
  bool OpensEarly(const Answer& /*answer*/) const override { return options_.role == RoleDelta::kEarly; }

  void Begin(Answer* answer) const override {
    std::string& front = answer->front;
    front += "{\"id\":";
    AppendJsonString(answer->id, &front);
    front += ",\"type\":\"message\",\"role\":\"assistant\",\"model\":";
    AppendModel(*answer, &front);
  }

  void Opening(const Answer& answer, size_t choice, EventStream* events) const override {
    if (choice > 0) return;
    std::string& payload = events->Begin("message_start");
    payload += "{\"type\":\"message_start\",\"message\":";
    payload += answer.front;
    payload += ",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":";
    AppendUsage(answer, 1, &payload);
    payload += "}}";
    events->End();
    StartBlock(0, options_.reasoning_tokens > 0, events);
    events->Event(R"({"type": "ping"})", "ping");
  }

  void Tokens(const Answer& answer, const TokenSpan& span, EventStream* events) const override {
    const int64_t thinking = std::clamp<int64_t>(options_.reasoning_tokens - span.first, 0, span.count);
    if (thinking > 0) {
      std::string& payload = events->Begin("content_block_delta");
      payload += R"({"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":")";
      text_.Append(answer, span.choice, span.first, thinking, &payload);
      payload += "\"}}";
      events->End();
    }
    if (options_.reasoning_tokens > 0 && span.first <= options_.reasoning_tokens &&
        span.first + span.count > options_.reasoning_tokens) {
      EndBlock(0, events);
      StartBlock(1, false, events);
    }
    if (thinking == span.count) return;
    std::string& payload = events->Begin("content_block_delta");
    payload += "{\"type\":\"content_block_delta\",\"index\":";
    payload += options_.reasoning_tokens > 0 ? '1' : '0';
    payload += ",\"delta\":{\"type\":\"text_delta\",\"text\":\"";
    text_.Append(answer, span.choice, span.first + thinking, span.count - thinking, &payload);
    payload += "\"}}";
    events->End();
  }

  void Tail(const Answer& answer, EventStream* events) const override {
    EndBlock(options_.reasoning_tokens > 0 && answer.choices[0].sent > options_.reasoning_tokens ? 1 : 0,
             events);
    std::string& payload = events->Begin("message_delta");
    payload += "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"";
    payload += StopReason(answer);
    payload += "\",\"stop_sequence\":null}";
    if (options_.usage != UsagePlace::kNone) {
      payload += ",\"usage\":";
      AppendUsage(answer, answer.counted_tokens(), &payload);
    }
    payload += '}';
    events->End();
    const int ends = answer.fault.is(FaultKind::kNoDone)       ? 0
                     : answer.fault.is(FaultKind::kDoubleDone) ? 2
                                                               : 1;
    for (int i = 0; i < ends && options_.send_done; ++i)
      events->Event(R"({"type":"message_stop"})", "message_stop");
  }

  ServerReply Document(const Answer& answer) const override {
    ServerReply reply;
    std::string& body = reply.body;
    const int64_t sent = answer.choices[0].sent;
    const int64_t thinking = std::min<int64_t>(options_.reasoning_tokens, sent);
    body = answer.front;
    body += ",\"content\":[";
    if (thinking > 0) {
      body += R"({"type":"thinking","thinking":")";
      text_.Append(answer, 0, 0, thinking, &body);
      body += thinking < sent ? R"(","signature":""},)" : R"(","signature":""})";
    }
    if (thinking < sent) {
      body += R"({"type":"text","text":")";
      text_.Append(answer, 0, thinking, sent - thinking, &body);
      body += "\"}";
    }
    body += "],\"stop_reason\":\"";
    body += StopReason(answer);
    body += "\",\"stop_sequence\":null,\"usage\":";
    AppendUsage(answer, answer.counted_tokens(), &body);
    body += '}';
    return reply;
  }

  bool ErrorEvent(const Answer& answer, EventStream* events) const override {
    const int status = answer.fault.is(FaultKind::kErrorFirst) ? 529 : 500;
    const ApiError error = {Refusal::kInjected, status, "injected fault", ""};
    events->Event(
        StyledError(options_.error_body, error, {status, "", Words(status, error.message), ""}).body,
        "error");
    return true;
  }

  std::string Probe(const Answer& /*answer*/, std::string_view text, std::string_view* name) const override {
    *name = "content_block_delta";
    return R"({"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":")" +
           std::string(text) + "\"}}";
  }
  std::string_view WrongSchema() const override {
    return R"({"type":"content_block_delta","index":0,"delta":["text"]})";
  }

 private:
  static void StartBlock(int index, bool thinking, EventStream* events) {
    std::string& payload = events->Begin("content_block_start");
    payload += "{\"type\":\"content_block_start\",\"index\":";
    AppendNumber(int64_t{index}, &payload);
    payload += thinking ? R"(,"content_block":{"type":"thinking","thinking":""}})"
                        : R"(,"content_block":{"type":"text","text":""}})";
    events->End();
  }

  static void EndBlock(int index, EventStream* events) {
    std::string& payload = events->Begin("content_block_stop");
    payload += "{\"type\":\"content_block_stop\",\"index\":";
    AppendNumber(int64_t{index}, &payload);
    payload += '}';
    events->End();
  }

  const char* StopReason(const Answer& answer) const {
    if (answer.fault.is(FaultKind::kAbort)) return "refusal";
    return answer.choices[0].ends_by_eos ? "end_turn" : "max_tokens";
  }

  void AppendUsage(const Answer& answer, int64_t output, std::string* out) const {
    *out += "{\"input_tokens\":";
    AppendNumber(answer.request.prompt_tokens() - answer.cached_tokens, out);
    *out += ",\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":";
    AppendNumber(answer.cached_tokens, out);
    *out += ",\"output_tokens\":";
    AppendNumber(output, out);
    *out += '}';
  }
};

}  // namespace

DialectPointer MakeMessages(const DialectContext& context) { return std::make_unique<Messages>(context); }

}  // namespace llmbench::sim
