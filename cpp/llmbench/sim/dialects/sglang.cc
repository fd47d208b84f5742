// SGLang's own API: all text so far in every event, exact counts, finish reasons that are objects.
#include "llmbench/base/clock.h"
#include "llmbench/sim/dialects/dialects.h"
#include "llmbench/sim/json_text.h"

namespace llmbench::sim {
namespace {

constexpr int kGenerate = 0;
constexpr int kHealth = 1;
constexpr int kModelInfo = 2;
constexpr int kServerInfo = 3;
constexpr int kFlushCache = 4;

BodyRules MakeRules() {
  BodyRules rules;
  rules.prompt_field = "text";
  rules.fields = {{"text", FieldUse::kPrompt},
                  {"input_ids", FieldUse::kPrompt},
                  {"rid", FieldUse::kId},
                  {"stream", FieldUse::kStream},
                  {"sampling_params.max_new_tokens", FieldUse::kMaxTokens},
                  {"sampling_params.min_new_tokens", FieldUse::kMinTokens},
                  {"sampling_params.ignore_eos", FieldUse::kIgnoreEos},
                  {"sampling_params.n", FieldUse::kChoices}};
  return rules;
}

class Sglang final : public Dialect {
 public:
  using Dialect::Dialect;

  Route Find(const HttpRequest& request) const override {
    const std::string_view target = request.target;
    if (target == "/generate") {
      const bool fits = IsPost(request) || request.method == "PUT";
      return {fits ? Route::Kind::kGenerate : Route::Kind::kWrongMethod, kGenerate, ""};
    }
    if (target == "/flush_cache" && (IsPost(request) || IsGet(request)))
      return {Route::Kind::kPage, kFlushCache, ""};
    if (!IsGet(request)) return {};
    if (target == "/health" || target == "/health_generate") return {Route::Kind::kPage, kHealth, ""};
    if (target == "/get_model_info") return {Route::Kind::kPage, kModelInfo, ""};
    if (target == "/get_server_info") return {Route::Kind::kPage, kServerInfo, ""};
    return {};
  }

  ServerReply Page(int form, const Load& load) const override {
    ServerReply reply;
    if (form == kHealth) {
      reply.content_type.clear();
    } else if (form == kFlushCache) {
      return TextReply(
          200,
          "Cache flushed.\nPlease check backend logs for more details. (When there are running or "
          "waiting requests, the operation will not be performed.)\n");
    } else {
      reply.body = R"({"model_path":)";
      AppendJsonString(deployment_.model, &reply.body);
      reply.body += R"(,"tokenizer_path":)";
      AppendJsonString(deployment_.model, &reply.body);
      if (form == kModelInfo) {
        reply.body += R"(,"is_generation":true,"preferred_sampling_params":null})";
      } else {
        reply.body += R"(,"version":"llmbench-sim","max_total_num_tokens":)";
        AppendNumber(deployment_.kv_blocks * options_.block_size, &reply.body);
        reply.body += R"(,"max_running_requests":)";
        AppendNumber(int64_t{options_.max_num_seqs}, &reply.body);
        reply.body += R"(,"num_running_reqs":)";
        AppendNumber(load.running, &reply.body);
        reply.body += '}';
      }
    }
    return reply;
  }

  bool MayPass(const HttpRequest& request, const std::string& key) const override {
    return request.target.compare(0, 7, "/health") == 0 || request.target == "/metrics" ||
           Dialect::MayPass(request, key);
  }

  ServerReply Error(const ApiError& error, const Answer& /*answer*/) const override {
    ServerReply reply;
    reply.status = error.status;
    switch (error.why) {
      case Refusal::kKey:
        reply.body = ErrorMember("error", "Unauthorized");
        break;
      case Refusal::kPath:
        reply.body = ErrorMember("detail", "Not Found");
        break;
      case Refusal::kMethod:
        reply.body = ErrorMember("detail", "Method Not Allowed");
        break;
      case Refusal::kNotReady:
        reply.content_type.clear();
        break;
      case Refusal::kSyntax:
      case Refusal::kType:
      case Refusal::kContentType:
        reply = StyledError(ErrorBody::kFlat, error, reply);
        break;
      default:
        reply.body = Words(error.message);
        break;
    }
    return reply;
  }

  const BodyRules& Rules(int /*form*/) const override {
    static const auto* const rules = new BodyRules(MakeRules());
    return *rules;
  }

  void Tokens(const Answer& answer, const TokenSpan& span, EventStream* events) const override {
    AppendEvent(answer, span, span.finishes, answer.choices.size() > 1, &events->Begin());
    events->End();
  }

  void Finish(const Answer& answer, size_t choice, EventStream* events) const override {
    AppendEvent(answer, {choice, answer.choices[choice].sent, 0, true}, true, answer.choices.size() > 1,
                &events->Begin());
    events->End();
  }

  void Tail(const Answer& answer, EventStream* events) const override { SendDone(answer, events); }

  ServerReply Document(const Answer& answer) const override {
    ServerReply reply;
    const bool batch = answer.choices.size() > 1;
    if (batch) reply.body += '[';
    for (size_t i = 0; i < answer.choices.size(); ++i) {
      if (i > 0) reply.body += ',';
      AppendEvent(answer, {i, 0, answer.choices[i].sent, true}, true, false, &reply.body);
    }
    if (batch) reply.body += ']';
    return reply;
  }

  bool ErrorEvent(const Answer& /*answer*/, EventStream* events) const override {
    const ApiError error = InjectedFault();
    events->Event(ErrorWords(error, Words(error.message)));
    events->Event("[DONE]");
    return true;
  }

  std::string Probe(const Answer& /*answer*/, std::string_view text,
                    std::string_view* /*name*/) const override {
    return "{\"text\":\"" + std::string(text) +
           R"(","meta_info":{"id":"probe","finish_reason":null,"prompt_tokens":0}})";
  }
  std::string_view WrongSchema() const override { return R"({"text":["a"],"meta_info":7})"; }

 private:
  static std::string Words(std::string_view message) {
    return "{\"error\":" + ErrorMember("message", message) + "}";
  }

  void AppendEvent(const Answer& answer, const TokenSpan& span, bool finishes, bool index,
                   std::string* out) const {
    const Choice& choice = answer.choices[span.choice];
    *out += '{';
    if (index) {
      *out += "\"index\":";
      AppendNumber(static_cast<int64_t>(span.choice), out);
      *out += ',';
    }
    *out += "\"text\":\"";
    AppendEventText(answer, span, Cumulative(true), false, out);
    *out += "\",\"output_ids\":[";
    text_.AppendIds(answer, span.choice, span.first, span.count, out);
    *out += "],\"meta_info\":{\"id\":";
    AppendJsonString(answer.id, out);
    *out += ",\"finish_reason\":";
    if (!finishes) {
      *out += "null";
    } else if (answer.fault.is(FaultKind::kAbort)) {
      *out += R"({"type":"abort","message":"injected fault","status_code":500})";
    } else if (choice.ends_by_eos) {
      *out += R"({"type":"stop","matched":2})";
    } else {
      *out += R"({"type":"length","length":)";
      AppendNumber(choice.sent, out);
      *out += '}';
    }
    *out += ",\"prompt_tokens\":";
    AppendNumber(answer.prompt_of(span.choice).tokens, out);
    *out += ",\"completion_tokens\":";
    AppendNumber(choice.sent, out);
    *out += ",\"cached_tokens\":";
    AppendNumber(answer.cached_tokens, out);
    if (finishes) {
      *out += ",\"e2e_latency\":";
      AppendNumber(static_cast<double>(MonotonicNs() - answer.received_ns) / kNsPerSecond, out);
    }
    *out += "}}";
  }
};

}  // namespace

DialectPointer MakeSglang(const DialectContext& context) { return std::make_unique<Sglang>(context); }

}  // namespace llmbench::sim
