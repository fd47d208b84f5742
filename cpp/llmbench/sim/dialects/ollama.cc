// Ollama: a JSON object per line, durations in nanoseconds, counters that are left out when they are zero.
#include <time.h>

#include <algorithm>
#include <cstdio>

#include "llmbench/base/clock.h"
#include "llmbench/sim/dialects/dialects.h"
#include "llmbench/sim/json_text.h"

namespace llmbench::sim {
namespace {

constexpr int kGenerate = 0;
constexpr int kChat = 1;
constexpr int kVersion = 2;
constexpr int kTags = 3;
constexpr int kProcesses = 4;
constexpr int kRoot = 5;

BodyRules MakeRules(bool chat) {
  BodyRules rules;
  rules.prompt_field = chat ? "messages" : "prompt";
  rules.needs_json_type = false;
  rules.streams_by_default = true;
  rules.needs_model = true;
  rules.fields = {{chat ? "messages" : "prompt", chat ? FieldUse::kMessages : FieldUse::kText},
                  {"model", FieldUse::kModel},
                  {"stream", FieldUse::kStream},
                  {"system", FieldUse::kInstructions},
                  {"options.num_predict", FieldUse::kMaxTokensOrForever}};
  return rules;
}

// "2026-05-01T10:00:00.123456789Z"
void AppendTime(int64_t realtime_ns, std::string* out) {
  const time_t seconds = realtime_ns / kNsPerSecond;
  tm parts;
  gmtime_r(&seconds, &parts);
  char text[64];
  const size_t size = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  out->append(text, size);
  std::snprintf(text, sizeof text, ".%09lldZ", static_cast<long long>(realtime_ns % kNsPerSecond));
  *out += text;
}

class Ollama final : public Dialect {
 public:
  using Dialect::Dialect;

  Route Find(const HttpRequest& request) const override {
    const std::string_view target = request.target;
    if (target == "/api/generate") return PostRoute(request, kGenerate);
    if (target == "/api/chat") return PostRoute(request, kChat);
    if (!IsGet(request)) return {};
    if (target == "/api/version") return {Route::Kind::kPage, kVersion, ""};
    if (target == "/api/tags") return {Route::Kind::kPage, kTags, ""};
    if (target == "/api/ps") return {Route::Kind::kPage, kProcesses, ""};
    if (target == "/") return {Route::Kind::kPage, kRoot, ""};
    return {};
  }

  ServerReply Page(int form, const Load& /*load*/) const override {
    if (form == kRoot) return TextReply(200, "Ollama is running");
    ServerReply reply;
    reply.content_type = "application/json; charset=utf-8";
    if (form == kVersion) {
      reply.body = R"({"version":"0.0.0-llmbench-sim"})";
      return reply;
    }
    reply.body = R"({"models":[{"name":)";
    AppendJsonString(deployment_.model, &reply.body);
    reply.body += R"(,"model":)";
    AppendJsonString(deployment_.model, &reply.body);
    reply.body += R"(,"size":0,"digest":"","details":{"format":"gguf","family":"llama"}}]})";
    return reply;
  }

  bool MayPass(const HttpRequest& /*request*/, const std::string& /*key*/) const override { return true; }

  ServerReply Error(const ApiError& error, const Answer& answer) const override {
    if (error.why == Refusal::kPath) return TextReply(404, "404 page not found");
    if (error.why == Refusal::kMethod) return TextReply(405, "405 method not allowed");
    std::string message = error.message;
    if (error.why == Refusal::kMissing && error.param == "model") message = "model is required";
    if (error.why == Refusal::kModel) message = "model '" + answer.request.model + "' not found";
    return {error.status, "application/json; charset=utf-8", ErrorMember("error", message), ""};
  }

  const BodyRules& Rules(int form) const override {
    static const auto* const rules = new BodyRules[2]{MakeRules(false), MakeRules(true)};
    return rules[form == kChat ? 1 : 0];
  }

  StreamKind Stream(const Answer& /*answer*/) const override { return StreamKind::kLines; }
  std::string_view StreamType(const Answer& /*answer*/) const override { return "application/x-ndjson"; }
  bool FinishesApart(const Answer& /*answer*/) const override { return true; }

  void Begin(Answer* answer) const override {
    answer->front += "{\"model\":";
    AppendModel(*answer, &answer->front);
    answer->front += ",\"created_at\":\"";
  }

  void Tokens(const Answer& answer, const TokenSpan& span, EventStream* events) const override {
    std::string& payload = events->Begin();
    AppendFront(answer, &payload);
    AppendWords(answer, span, &payload);
    payload += ",\"done\":false}";
    events->End();
  }

  void Finish(const Answer& answer, size_t choice, EventStream* events) const override {
    if (answer.fault.is(FaultKind::kNoDone)) return;
    std::string& payload = events->Begin();
    AppendFront(answer, &payload);
    AppendWords(answer, {choice, answer.choices[choice].sent, 0, true}, &payload);
    AppendEnd(answer, &payload);
    events->End();
  }

  ServerReply Document(const Answer& answer) const override {
    ServerReply reply;
    reply.content_type = "application/json; charset=utf-8";
    AppendFront(answer, &reply.body);
    AppendWords(answer, {0, 0, answer.choices[0].sent, true}, &reply.body);
    AppendEnd(answer, &reply.body);
    return reply;
  }

  bool ErrorEvent(const Answer& /*answer*/, EventStream* events) const override {
    const ApiError error = InjectedFault();
    events->Event(ErrorWords(error, ErrorMember("error", error.message)));
    return true;
  }

  std::string Probe(const Answer& answer, std::string_view text, std::string_view* /*name*/) const override {
    std::string payload;
    AppendFront(answer, &payload);
    payload += answer.form == kChat ? R"("message":{"role":"assistant","content":")" : R"("response":")";
    payload += text;
    payload += answer.form == kChat ? R"("},"done":false})" : R"(","done":false})";
    return payload;
  }
  std::string_view WrongSchema() const override {
    return R"({"model":"m","response":[1],"message":"text","done":false})";
  }

 private:
  void AppendFront(const Answer& answer, std::string* out) const {
    *out += answer.front;
    AppendTime(RealtimeNs(), out);
    *out += "\",";
  }

  // Thinking is its own member beside the answer's text.
  void AppendWords(const Answer& answer, const TokenSpan& span, std::string* out) const {
    const int64_t thinking = std::clamp<int64_t>(options_.reasoning_tokens - span.first, 0, span.count);
    const bool chat = answer.form == kChat;
    *out += chat ? "\"message\":{\"role\":\"assistant\",\"content\":\"" : "\"response\":\"";
    text_.Append(answer, span.choice, span.first + thinking, span.count - thinking, out);
    *out += '"';
    if (thinking > 0) {
      *out += ",\"thinking\":\"";
      text_.Append(answer, span.choice, span.first, thinking, out);
      *out += '"';
    }
    if (chat) *out += '}';
  }

  void AppendEnd(const Answer& answer, std::string* out) const {
    const int64_t now = MonotonicNs();
    const int64_t first = answer.first_event_ns != 0 ? answer.first_event_ns : now;
    const auto add = [out](const char* name, int64_t value) {
      if (value == 0) return;
      *out += name;
      AppendNumber(value, out);
    };
    *out += ",\"done\":true,\"done_reason\":\"";
    *out += FinishReason(answer, 0);
    *out += '"';
    add(",\"total_duration\":", now - answer.received_ns);
    add(",\"prompt_eval_count\":", answer.request.prompt_tokens() - answer.cached_tokens);
    add(",\"prompt_eval_duration\":", first - answer.received_ns);
    add(",\"eval_count\":", answer.counted_tokens());
    add(",\"eval_duration\":", now - first);
    *out += '}';
  }
};

}  // namespace

DialectPointer MakeOllama(const DialectContext& context) { return std::make_unique<Ollama>(context); }

}  // namespace llmbench::sim
