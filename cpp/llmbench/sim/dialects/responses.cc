// OpenAI's POST /v1/responses: events with names and numbers, and no [DONE].
#include <algorithm>

#include "llmbench/sim/dialects/dialects.h"
#include "llmbench/sim/json_text.h"

namespace llmbench::sim {
namespace {

BodyRules MakeRules() {
  BodyRules rules;
  rules.prompt_field = "input";
  rules.fields = {{"input", FieldUse::kInput},
                  {"instructions", FieldUse::kInstructions},
                  {"model", FieldUse::kModel},
                  {"stream", FieldUse::kStream},
                  {"max_output_tokens", FieldUse::kMaxTokens},
                  {"ignore_eos", FieldUse::kIgnoreEos}};
  return rules;
}

class Responses final : public Dialect {
 public:
  using Dialect::Dialect;

  Route Find(const HttpRequest& request) const override {
    if (request.target == "/v1/responses") return PostRoute(request, 0);
    return {};
  }

  ServerReply Error(const ApiError& error, const Answer& /*answer*/) const override {
    if (error.why == Refusal::kKey)
      return {401, "application/json", ErrorMember("error", "Unauthorized"), ""};
    if (error.why == Refusal::kMethod)
      return {405, "application/json", ErrorMember("detail", "Method Not Allowed"), "allow: POST\r\n"};
    return {error.status, "application/json", ErrorObject(error), ""};
  }

  const BodyRules& Rules(int /*form*/) const override {
    static const auto* const rules = new BodyRules(MakeRules());
    return *rules;
  }

  std::string_view IdPrefix(int /*form*/) const override { return "resp_"; }
  // Opens the answer, at once as the real one does, unless the head is to come with the first token.
  bool OpensEarly(const Answer& /*answer*/) const override { return options_.role == RoleDelta::kEarly; }

  void Begin(Answer* answer) const override {
    std::string& front = answer->front;
    front += "{\"id\":";
    AppendJsonString(answer->id, &front);
    front += ",\"object\":\"response\",\"created_at\":";
    AppendNumber(answer->created_s, &front);
    front += ",\"model\":";
    AppendModel(*answer, &front);
  }

  void Opening(const Answer& answer, size_t choice, EventStream* events) const override {
    if (choice > 0) return;
    for (const char* name : {"response.created", "response.in_progress"}) {
      std::string& payload = Open(name, events);
      payload += ",\"response\":";
      AppendResponse(answer, "in_progress", false, &payload);
      payload += '}';
      events->End();
    }
    if (options_.reasoning_tokens > 0) {
      std::string& payload = Open("response.output_item.added", events);
      payload += R"(,"output_index":0,"item":{"id":"rs_0","type":"reasoning","summary":[],)"
                 R"("status":"in_progress"}})";
      events->End();
    } else {
      OpenMessage(0, events);
    }
  }

  void Tokens(const Answer& answer, const TokenSpan& span, EventStream* events) const override {
    const int64_t reasoning = std::clamp<int64_t>(options_.reasoning_tokens - span.first, 0, span.count);
    if (reasoning > 0) {
      std::string& payload = Open("response.reasoning_text.delta", events);
      payload += R"(,"item_id":"rs_0","output_index":0,"content_index":0,"delta":")";
      text_.Append(answer, span.choice, span.first, reasoning, &payload);
      payload += "\"}";
      events->End();
    }
    // The message follows the reasoning.
    if (options_.reasoning_tokens > 0 && span.first <= options_.reasoning_tokens &&
        span.first + span.count > options_.reasoning_tokens) {
      CloseReasoning(answer, events);
      OpenMessage(1, events);
    }
    if (reasoning == span.count) return;
    std::string& payload = Open("response.output_text.delta", events);
    payload += R"(,"item_id":"msg_0","output_index":)";
    payload += MessageIndex();
    payload += R"(,"content_index":0,"delta":")";
    text_.Append(answer, span.choice, span.first + reasoning, span.count - reasoning, &payload);
    payload += R"(","logprobs":[]})";
    events->End();
  }

  void Tail(const Answer& answer, EventStream* events) const override {
    if (answer.fault.is(FaultKind::kNoDone)) return;
    if (MessageTokens(answer) > 0) {
      std::string& text = Open("response.output_text.done", events);
      text += R"(,"item_id":"msg_0","output_index":)";
      text += MessageIndex();
      text += R"(,"content_index":0,"text":")";
      AppendMessageText(answer, &text);
      text += R"(","logprobs":[]})";
      events->End();
      std::string& part = Open("response.content_part.done", events);
      part += R"(,"item_id":"msg_0","output_index":)";
      part += MessageIndex();
      part += R"(,"content_index":0,"part":)";
      AppendPart(answer, &part);
      part += '}';
      events->End();
      std::string& item = Open("response.output_item.done", events);
      item += ",\"output_index\":";
      item += MessageIndex();
      item += ",\"item\":";
      AppendItem(answer, &item);
      item += '}';
      events->End();
    } else {
      CloseReasoning(answer, events);
    }
    const bool whole = answer.choices[0].ends_by_eos;
    for (int i = answer.fault.is(FaultKind::kDoubleDone) ? 2 : 1; i > 0; --i) {
      std::string& payload = Open(whole ? "response.completed" : "response.incomplete", events);
      payload += ",\"response\":";
      AppendResponse(answer, whole ? "completed" : "incomplete", true, &payload);
      payload += '}';
      events->End();
    }
  }

  ServerReply Document(const Answer& answer) const override {
    ServerReply reply;
    AppendResponse(answer, answer.choices[0].ends_by_eos ? "completed" : "incomplete", true, &reply.body);
    return reply;
  }

  bool ErrorEvent(const Answer& /*answer*/, EventStream* events) const override {
    Open("error", events) += R"(,"code":"server_error","message":"injected fault","param":null})";
    events->End();
    return true;
  }

  std::string Probe(const Answer& /*answer*/, std::string_view text, std::string_view* name) const override {
    *name = "response.output_text.delta";
    return R"({"type":"response.output_text.delta","item_id":"msg_0","output_index":0,"content_index":0,)"
           R"("delta":")" +
           std::string(text) + "\"}";
  }
  std::string_view WrongSchema() const override {
    return R"({"type":"response.output_text.delta","delta":{"text":"a"}})";
  }

 private:
  // Each event has its type inside, too, and its number.
  static std::string& Open(const char* name, EventStream* events) {
    std::string& payload = events->Begin(name);
    payload += "{\"type\":\"";
    payload += name;
    payload += "\",\"sequence_number\":";
    AppendNumber(events->number(), &payload);
    return payload;
  }

  const char* MessageIndex() const { return options_.reasoning_tokens > 0 ? "1" : "0"; }
  int64_t MessageTokens(const Answer& answer) const {
    return std::max<int64_t>(0, answer.choices[0].sent - options_.reasoning_tokens);
  }

  static void OpenMessage(int index, EventStream* events) {
    std::string& item = Open("response.output_item.added", events);
    item += ",\"output_index\":";
    AppendNumber(int64_t{index}, &item);
    item +=
        R"(,"item":{"id":"msg_0","type":"message","status":"in_progress","role":"assistant","content":[]}})";
    events->End();
    std::string& part = Open("response.content_part.added", events);
    part += ",\"item_id\":\"msg_0\",\"output_index\":";
    AppendNumber(int64_t{index}, &part);
    part += R"(,"content_index":0,"part":{"type":"output_text","text":"","annotations":[]}})";
    events->End();
  }

  void CloseReasoning(const Answer& answer, EventStream* events) const {
    std::string& payload = Open("response.output_item.done", events);
    payload += ",\"output_index\":0,\"item\":";
    AppendReasoning(answer, &payload);
    payload += '}';
    events->End();
  }

  void AppendReasoning(const Answer& answer, std::string* out) const {
    *out += R"({"id":"rs_0","type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":")";
    text_.Append(answer, 0, 0, std::min<int64_t>(options_.reasoning_tokens, answer.choices[0].sent), out);
    *out += R"("}],"status":"completed"})";
  }

  void AppendMessageText(const Answer& answer, std::string* out) const {
    text_.Append(answer, 0, options_.reasoning_tokens, MessageTokens(answer), out);
  }

  void AppendPart(const Answer& answer, std::string* out) const {
    *out += R"({"type":"output_text","text":")";
    AppendMessageText(answer, out);
    *out += R"(","annotations":[]})";
  }

  void AppendItem(const Answer& answer, std::string* out) const {
    *out += R"({"id":"msg_0","type":"message","status":"completed","role":"assistant","content":[)";
    AppendPart(answer, out);
    *out += "]}";
  }

  void AppendResponse(const Answer& answer, const char* status, bool ended, std::string* out) const {
    *out += answer.front;
    *out += ",\"status\":\"";
    *out += status;
    *out += ended && !answer.choices[0].ends_by_eos
                ? R"(","error":null,"incomplete_details":{"reason":"max_output_tokens"})"
                : R"(","error":null,"incomplete_details":null)";
    *out += ",\"output\":[";
    if (ended && options_.reasoning_tokens > 0) {
      AppendReasoning(answer, out);
      if (MessageTokens(answer) > 0) *out += ',';
    }
    if (ended && MessageTokens(answer) > 0) AppendItem(answer, out);
    *out += "],\"usage\":";
    if (!ended || options_.usage == UsagePlace::kNone) {
      *out += "null}";
      return;
    }
    const int64_t prompt = answer.request.prompt_tokens();
    const int64_t output = answer.counted_tokens();
    *out += "{\"input_tokens\":";
    AppendNumber(prompt, out);
    *out += ",\"input_tokens_details\":{\"cached_tokens\":";
    AppendNumber(answer.cached_tokens, out);
    *out += "},\"output_tokens\":";
    AppendNumber(output, out);
    *out += ",\"output_tokens_details\":{\"reasoning_tokens\":";
    AppendNumber(std::min<int64_t>(options_.reasoning_tokens, output), out);
    *out += "},\"total_tokens\":";
    AppendNumber(prompt + output, out);
    *out += "}}";
  }
};

}  // namespace

DialectPointer MakeResponses(const DialectContext& context) { return std::make_unique<Responses>(context); }

}  // namespace llmbench::sim
