// Text Generation Inference: one token per event, and streams that are refused inside a 200.
#include <algorithm>

#include "llmbench/base/clock.h"
#include "llmbench/sim/dialects/dialects.h"
#include "llmbench/sim/json_text.h"

namespace llmbench::sim {
namespace {

constexpr int kGenerate = 0;
constexpr int kGenerateStream = 1;
constexpr int kRoot = 2;  // whichever the body asks for
constexpr int kHealth = 3;
constexpr int kInfo = 4;

BodyRules MakeRules() {
  BodyRules rules;
  rules.prompt_field = "inputs";
  rules.keeps_text = true;
  rules.fields = {{"inputs", FieldUse::kText},
                  {"stream", FieldUse::kStream},
                  {"parameters.max_new_tokens", FieldUse::kMaxTokens},
                  {"parameters.details", FieldUse::kDetails},
                  {"parameters.return_full_text", FieldUse::kEcho},
                  {"parameters.top_p", FieldUse::kOpenUnit},
                  {"parameters.typical_p", FieldUse::kOpenUnit}};
  return rules;
}

// Name and words of what a status stands for.
struct Kind {
  const char* type;
  const char* words;
};

Kind KindOf(int status) {
  switch (status) {
    case 422:
    case 400:
      return {"validation", "Input validation error: "};
    case 424:
      return {"generation", "Request failed during generation: "};
    case 429:
      return {"overloaded", "Model is overloaded: "};
    case 503:
      return {"healthcheck", "unhealthy: "};
    default:
      return {"incomplete_generation", "Incomplete generation: "};
  }
}

class Tgi final : public Dialect {
 public:
  using Dialect::Dialect;

  Route Find(const HttpRequest& request) const override {
    const std::string_view target = request.target;
    if (target == "/generate") return PostRoute(request, kGenerate);
    if (target == "/generate_stream") return PostRoute(request, kGenerateStream);
    if (target == "/" && IsPost(request)) return PostRoute(request, kRoot);
    if (!IsGet(request)) return {};
    if (target == "/" || target == "/health" || target == "/ping") return {Route::Kind::kPage, kHealth, ""};
    if (target == "/info") return {Route::Kind::kPage, kInfo, ""};
    return {};
  }

  ServerReply Page(int form, const Load& /*load*/) const override {
    if (form == kHealth) return {200, "", "", ""};
    ServerReply reply;
    reply.body = R"({"model_id":)";
    AppendJsonString(deployment_.model, &reply.body);
    reply.body += R"(,"model_sha":null,"model_dtype":"torch.float16","model_device_type":"cuda",)"
                  R"("model_pipeline_tag":"text-generation","max_concurrent_requests":128,"max_best_of":2,)"
                  R"("max_stop_sequences":4,"max_input_tokens":)";
    const int64_t longest = deployment_.max_model_len > 0 ? deployment_.max_model_len : 131072;
    AppendNumber(longest - 1, &reply.body);
    reply.body += R"(,"max_total_tokens":)";
    AppendNumber(longest, &reply.body);
    reply.body += R"(,"validation_workers":2,"max_client_batch_size":4,"router":"text-generation-router",)"
                  R"("version":"llmbench-sim","sha":null,"docker_label":null})";
    return reply;
  }

  ServerReply Error(const ApiError& error, const Answer& answer) const override {
    switch (error.why) {
      case Refusal::kKey:
        return {401, "", "", ""};
      case Refusal::kPath:
        return {404, "", "", ""};
      case Refusal::kMethod:
        return {405, "", "", "allow: POST\r\n"};
      case Refusal::kSyntax:
        return TextReply(400, "Failed to parse the request body as JSON: " + error.message);
      case Refusal::kMissing:
      case Refusal::kType:
        return TextReply(422, "Failed to deserialize the JSON body into the target type: " + error.message);
      case Refusal::kContentType:
        return TextReply(415, "Expected request with `Content-Type: application/json`");
      default:
        break;
    }
    const int status = error.status == 400 ? 422 : error.status;
    ServerReply reply = {status, "application/json", Words(status, error.message), ""};
    const bool generates =
        error.why == Refusal::kValue || error.why == Refusal::kTooLong || error.why == Refusal::kInjected;
    if (generates && (answer.form == kGenerateStream || (answer.form == kRoot && answer.request.stream))) {
      reply.status = 200;
      reply.content_type = "text/event-stream";
      reply.body = "data: " + reply.body + "\n\n";
    }
    return reply;
  }

  const BodyRules& Rules(int /*form*/) const override {
    static const auto* const rules = new BodyRules(MakeRules());
    return *rules;
  }

  ApiError Take(int form, const HttpRequest& /*http*/, GenerationRequest* request) const override {
    if (form != kRoot) request->stream = form == kGenerateStream;
    return {};
  }

  std::string HeadLines(const Answer& answer) const override {
    std::string lines = "x-compute-type: 1-sim\r\nx-compute-characters: ";
    AppendNumber(static_cast<int64_t>(answer.request.prompts.front().text.size()), &lines);
    return lines + "\r\n";
  }
  std::string_view StreamType(const Answer& /*answer*/) const override { return "text/event-stream"; }
  int64_t EventTokens(const Answer& /*answer*/) const override { return 1; }
  bool FinishesApart(const Answer& /*answer*/) const override { return false; }
  std::string_view PingText() const override { return ""; }

  void Tokens(const Answer& answer, const TokenSpan& span, EventStream* events) const override {
    std::string& payload = events->Begin();
    payload += "{\"index\":";
    AppendNumber(span.first + span.count, &payload);
    payload += ",\"token\":";
    AppendToken(answer, span.choice, span.first, &payload);
    if (!span.finishes || answer.fault.is(FaultKind::kNoDone)) {
      payload += ",\"generated_text\":null,\"details\":null}";
    } else {
      payload += ",\"generated_text\":\"";
      AppendWhole(answer, span.choice, &payload);
      payload += "\",\"details\":";
      if (answer.request.details) {
        AppendDetails(answer, span.choice, &payload);
        payload += ",\"input_length\":";
        AppendNumber(answer.prompt_of(span.choice).tokens, &payload);
        payload += "}}";
      } else {
        payload += "null}";
      }
    }
    events->End();
  }

  ServerReply Document(const Answer& answer) const override {
    ServerReply reply;
    std::string& body = reply.body;
    const int64_t sent = answer.choices[0].sent;
    body = answer.form == kRoot ? "[" : "";
    body += "{\"generated_text\":\"";
    AppendWhole(answer, 0, &body);
    body += '"';
    if (answer.request.details) {
      body += ",\"details\":";
      AppendDetails(answer, 0, &body);
      body += ",\"prefill\":[],\"tokens\":[";
      for (int64_t i = 0; i < sent; ++i) {
        if (i > 0) body += ',';
        AppendToken(answer, 0, i, &body);
      }
      body += "]}";
    }
    body += answer.form == kRoot ? "}]" : "}";

    const int64_t total_ms = (MonotonicNs() - answer.received_ns) / kNsPerMs;
    reply.extra = HeadLines(answer);
    const auto add = [&reply](const char* name, int64_t value) {
      reply.extra += name;
      AppendNumber(value, &reply.extra);
      reply.extra += "\r\n";
    };
    add("x-prompt-tokens: ", answer.request.prompt_tokens());
    add("x-generated-tokens: ", sent);
    add("x-total-time: ", total_ms);
    add("x-validation-time: ", 0);
    add("x-queue-time: ", 0);
    add("x-inference-time: ", total_ms);
    add("x-time-per-token: ", total_ms / std::max<int64_t>(1, sent));
    return reply;
  }

  bool ErrorEvent(const Answer& answer, EventStream* events) const override {
    const int status = answer.fault.is(FaultKind::kErrorFirst) ? 429 : 424;
    const ApiError error = {Refusal::kInjected, status, "injected fault", ""};
    events->Event(
        StyledError(options_.error_body, error, {status, "", Words(status, error.message), ""}).body);
    return true;
  }

  std::string Probe(const Answer& /*answer*/, std::string_view text,
                    std::string_view* /*name*/) const override {
    return R"({"index":0,"token":{"id":0,"text":")" + std::string(text) +
           R"(","logprob":0.0,"special":false},"generated_text":null,"details":null})";
  }
  std::string_view WrongSchema() const override { return R"({"index":1,"token":["text"]})"; }

 private:
  static std::string Words(int status, const std::string& message) {
    const Kind kind = KindOf(status);
    std::string body = ErrorMember("error", kind.words + message);
    body.pop_back();
    return body + R"(,"error_type":")" + kind.type + "\"}";
  }

  static bool IsEnd(const Answer& answer, size_t choice, int64_t token) {
    return answer.choices[choice].ends_by_eos && token + 1 == answer.choices[choice].target;
  }

  void AppendToken(const Answer& answer, size_t choice, int64_t token, std::string* out) const {
    const bool end = IsEnd(answer, choice, token);
    *out += "{\"id\":";
    AppendNumber(end ? 2 : int64_t{text_.IdOf(answer, choice, token)}, out);
    *out += ",\"text\":\"";
    if (end) {
      *out += "</s>";
    } else {
      text_.Append(answer, choice, token, 1, out);
    }
    *out += end ? "\",\"logprob\":-0.1,\"special\":true}" : "\",\"logprob\":-0.5,\"special\":false}";
  }

  // Without the end mark.
  void AppendWhole(const Answer& answer, size_t choice, std::string* out) const {
    if (Echoes(answer, false)) *out += answer.prompt_of(choice).text;
    const int64_t sent = answer.choices[choice].sent;
    text_.Append(answer, choice, 0, sent - (answer.choices[choice].ends_by_eos ? 1 : 0), out);
  }

  void AppendDetails(const Answer& answer, size_t choice, std::string* out) const {
    *out += "{\"finish_reason\":\"";
    *out += answer.fault.is(FaultKind::kAbort)   ? "abort"
            : answer.choices[choice].ends_by_eos ? "eos_token"
                                                 : "length";
    *out += "\",\"generated_tokens\":";
    AppendNumber(answer.Counted(answer.choices[choice].sent), out);
    *out += ",\"seed\":null";
  }
};

}  // namespace

DialectPointer MakeTgi(const DialectContext& context) { return std::make_unique<Tgi>(context); }

}  // namespace llmbench::sim
