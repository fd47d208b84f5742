// llama-server's own API: counts in every event, a final event with timings.
#include <algorithm>

#include "llmbench/base/clock.h"
#include "llmbench/sim/dialects/dialects.h"
#include "llmbench/sim/json_text.h"

namespace llmbench::sim {
namespace {

constexpr int kCompletion = 0;
constexpr int kHealth = 1;
constexpr int kProps = 2;
constexpr int kSlots = 3;
constexpr int kNoMetrics = 4;

BodyRules MakeRules() {
  BodyRules rules;
  rules.prompt_field = "prompt";
  rules.needs_json_type = false;
  rules.fields = {{"prompt", FieldUse::kPrompt},
                  {"n_predict", FieldUse::kMaxTokensOrForever},
                  {"ignore_eos", FieldUse::kIgnoreEos},
                  {"stream", FieldUse::kStream},
                  {"model", FieldUse::kModel},
                  {"return_tokens", FieldUse::kReturnTokenIds},
                  {"timings_per_token", FieldUse::kDetails}};
  return rules;
}

const char* TypeOf(const ApiError& error) {
  if (error.why == Refusal::kTooLong) return "exceed_context_size_error";
  switch (error.status) {
    case 400:
      return "invalid_request_error";
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 501:
      return "not_supported_error";
    case 503:
      return "unavailable_error";
    default:
      return "server_error";
  }
}

std::string Words(const ApiError& error) {
  std::string body = "{\"error\":{\"code\":";
  AppendNumber(int64_t{error.status}, &body);
  body += ",\"message\":";
  AppendJsonString(error.message, &body);
  body += ",\"type\":\"";
  body += TypeOf(error);
  body += "\"}}";
  return body;
}

class LlamaCpp final : public Dialect {
 public:
  using Dialect::Dialect;

  Route Find(const HttpRequest& request) const override {
    const std::string_view target = request.target;
    if (target == "/completion" || target == "/completions") return PostRoute(request, kCompletion);
    if (!IsGet(request)) return {};
    if (target == "/health") return {Route::Kind::kPage, kHealth, ""};
    if (target == "/props") return {Route::Kind::kPage, kProps, ""};
    if (target == "/slots") return {Route::Kind::kPage, kSlots, ""};
    if (target == "/metrics" && options_.metrics == MetricsNames::kNone)
      return {Route::Kind::kPage, kNoMetrics, ""};
    return {};
  }

  ServerReply Page(int form, const Load& load) const override {
    ServerReply reply;
    std::string& body = reply.body;
    const int64_t slots = options_.fixed ? 1 : options_.max_num_seqs;
    switch (form) {
      case kHealth:
        body = R"({"status":"ok"})";
        break;
      case kProps:
        body = R"({"default_generation_settings":{"id":0,"n_ctx":)";
        AppendNumber(deployment_.max_model_len, &body);
        body += R"(,"params":{}},"total_slots":)";
        AppendNumber(slots, &body);
        body += R"(,"model_path":)";
        AppendJsonString(deployment_.model, &body);
        body += R"(,"chat_template":"","build_info":"llmbench-sim"})";
        break;
      case kSlots:
        body = "[";
        for (int64_t i = 0; i < slots; ++i) {
          if (i > 0) body += ',';
          body += "{\"id\":";
          AppendNumber(i, &body);
          body += i < load.running ? ",\"is_processing\":true}" : ",\"is_processing\":false}";
        }
        body += ']';
        break;
      default: {
        const ApiError error = {Refusal::kPath, 501,
                                "This server does not support metrics endpoint. Start it with `--metrics`",
                                ""};
        reply.status = 501;
        body = Words(error);
        break;
      }
    }
    return reply;
  }

  bool MayPass(const HttpRequest& request, const std::string& key) const override {
    return request.target == "/health" || request.api_key == key || Dialect::MayPass(request, key);
  }

  ServerReply Error(const ApiError& error, const Answer& /*answer*/) const override {
    ApiError said = error;
    if (error.why == Refusal::kKey) said.message = "Invalid API Key";
    if (error.why == Refusal::kPath) said.message = "File Not Found";
    if (error.why == Refusal::kMethod) said.status = 404;
    return {said.status, "application/json; charset=utf-8", Words(said), ""};
  }

  const BodyRules& Rules(int /*form*/) const override {
    static const auto* const rules = new BodyRules(MakeRules());
    return *rules;
  }

  std::string_view StreamType(const Answer& /*answer*/) const override { return "text/event-stream"; }
  bool FinishesApart(const Answer& /*answer*/) const override { return true; }
  std::string_view PingText() const override { return ""; }

  void Tokens(const Answer& answer, const TokenSpan& span, EventStream* events) const override {
    std::string& payload = events->Begin();
    payload += "{\"index\":";
    AppendNumber(static_cast<int64_t>(span.choice), &payload);
    payload += ",\"content\":\"";
    text_.Append(answer, span.choice, span.first, span.count, &payload);
    payload += "\",\"tokens\":[";
    text_.AppendIds(answer, span.choice, span.first, span.count, &payload);
    payload += "],\"stop\":false,\"id_slot\":-1,\"tokens_predicted\":";
    AppendNumber(answer.choices[span.choice].sent, &payload);
    payload += ",\"tokens_evaluated\":";
    AppendNumber(answer.prompt_of(span.choice).tokens, &payload);
    if (answer.request.details) AppendTimings(answer, span.choice, &payload);
    payload += '}';
    events->End();
  }

  void Finish(const Answer& answer, size_t choice, EventStream* events) const override {
    if (answer.fault.is(FaultKind::kNoDone)) return;
    AppendFinal(answer, choice, 0, &events->Begin());
    events->End();
  }

  ServerReply Document(const Answer& answer) const override {
    ServerReply reply;
    const bool batch = answer.choices.size() > 1;
    if (batch) reply.body += '[';
    for (size_t i = 0; i < answer.choices.size(); ++i) {
      if (i > 0) reply.body += ',';
      AppendFinal(answer, i, answer.choices[i].sent, &reply.body);
    }
    if (batch) reply.body += ']';
    return reply;
  }

  // As in 2025, under a name of its own; in another style, as in 2026.
  bool ErrorEvent(const Answer& /*answer*/, EventStream* events) const override {
    const ApiError error = InjectedFault();
    if (options_.error_body == ErrorBody::kDialect) {
      // The object without the member around it.
      const std::string words = Words(error);
      events->Begin("", "error") += words.substr(9, words.size() - 10);
    } else {
      events->Begin() += ErrorWords(error, Words(error));
    }
    events->End();
    return true;
  }

  std::string Probe(const Answer& /*answer*/, std::string_view text,
                    std::string_view* /*name*/) const override {
    return R"({"index":0,"content":")" + std::string(text) + R"(","tokens":[],"stop":false})";
  }
  std::string_view WrongSchema() const override { return R"({"index":0,"content":{},"stop":"no"})"; }

 private:
  // Milliseconds.
  struct Times {
    double prompt;
    double predicted;
  };

  static Times TimesOf(const Answer& answer) {
    const int64_t now = MonotonicNs();
    const int64_t first = answer.first_event_ns != 0 ? answer.first_event_ns : now;
    return {static_cast<double>(first - answer.received_ns) / kNsPerMs,
            static_cast<double>(now - first) / kNsPerMs};
  }

  void AppendTimings(const Answer& answer, size_t choice, std::string* out) const {
    const Times times = TimesOf(answer);
    const int64_t predicted = answer.choices[choice].sent;
    *out += ",\"timings\":{\"prompt_n\":";
    AppendNumber(answer.prompt_of(choice).tokens - answer.cached_tokens, out);
    *out += ",\"prompt_ms\":";
    AppendNumber(times.prompt, out);
    *out += ",\"predicted_n\":";
    AppendNumber(predicted, out);
    *out += ",\"predicted_ms\":";
    AppendNumber(times.predicted, out);
    *out += ",\"predicted_per_second\":";
    AppendNumber(static_cast<double>(predicted) * 1e3 / std::max(times.predicted, 1e-3), out);
    *out += '}';
  }

  // With the text of `count` tokens.
  void AppendFinal(const Answer& answer, size_t index, int64_t count, std::string* out) const {
    const Choice& choice = answer.choices[index];
    const int64_t prompt = answer.prompt_of(index).tokens;
    *out += "{\"index\":";
    AppendNumber(static_cast<int64_t>(index), out);
    *out += ",\"content\":\"";
    text_.Append(answer, index, 0, count, out);
    *out += "\",\"tokens\":[";
    if (answer.request.return_token_ids) text_.AppendIds(answer, index, 0, count, out);
    *out += "],\"id_slot\":0,\"stop\":true,\"model\":";
    AppendModel(answer, out);
    *out += ",\"tokens_predicted\":";
    AppendNumber(answer.Counted(choice.sent), out);
    *out += ",\"tokens_evaluated\":";
    AppendNumber(prompt, out);
    *out += ",\"tokens_cached\":";
    AppendNumber(prompt + choice.sent - 1, out);
    *out += ",\"truncated\":false,\"stop_type\":\"";
    *out += answer.fault.is(FaultKind::kAbort) ? "none" : choice.ends_by_eos ? "eos" : "limit";
    *out += "\",\"stopping_word\":\"\"";
    AppendTimings(answer, index, out);
    *out += '}';
  }
};

}  // namespace

DialectPointer MakeLlamaCpp(const DialectContext& context) { return std::make_unique<LlamaCpp>(context); }

}  // namespace llmbench::sim
