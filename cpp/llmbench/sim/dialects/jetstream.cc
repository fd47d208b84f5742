// JetStream: an adapter with {"response":…} and bare documents when streamed, and the built-in server with
// documents on several lines.
#include "llmbench/sim/dialects/dialects.h"
#include "llmbench/sim/json_text.h"

namespace llmbench::sim {
namespace {

BodyRules AdapterRules() {
  BodyRules rules;
  rules.prompt_field = "prompt";
  rules.fields = {
      {"prompt", FieldUse::kText}, {"max_tokens", FieldUse::kMaxTokens}, {"stream", FieldUse::kStream}};
  return rules;
}

class Jetstream final : public Dialect {
 public:
  using Dialect::Dialect;

  Route Find(const HttpRequest& request) const override {
    if (request.target == "/generate") return PostRoute(request, 0);
    return {};
  }

  ServerReply Error(const ApiError& error, const Answer& /*answer*/) const override {
    const bool fails = error.status == 400 && error.why != Refusal::kInjected && error.why != Refusal::kHttp;
    return {fails ? 500 : error.status, "application/json", ErrorMember("detail", error.message), ""};
  }

  const BodyRules& Rules(int /*form*/) const override {
    static const auto* const rules = new BodyRules(AdapterRules());
    return *rules;
  }

  StreamKind Stream(const Answer& /*answer*/) const override { return StreamKind::kDocuments; }

  void Tokens(const Answer& answer, const TokenSpan& span, EventStream* events) const override {
    std::string& payload = events->Begin();
    payload += "{\"text\": \"";
    AppendEventText(answer, span, Cumulative(false), false, &payload);
    payload += "\"}";
    events->End();
  }

  ServerReply Document(const Answer& answer) const override {
    ServerReply reply;
    reply.body = "{\"response\":\"";
    text_.Append(answer, 0, 0, answer.choices[0].sent, &reply.body);
    reply.body += "\"}";
    return reply;
  }

  bool ErrorEvent(const Answer& /*answer*/, EventStream* /*events*/) const override { return false; }

  std::string Probe(const Answer& /*answer*/, std::string_view text,
                    std::string_view* /*name*/) const override {
    return "{\"text\": \"" + std::string(text) + "\"}";
  }
  std::string_view WrongSchema() const override { return R"({"text": {"unexpected": 1}})"; }
};

constexpr int kDecode = 0;
constexpr int kHealth = 1;

BodyRules BuiltInRules() {
  BodyRules rules;
  rules.prompt_field = "text_content.text";
  rules.refuses_unknown = true;
  rules.needs_max_tokens = true;
  rules.streams_by_default = true;
  rules.fields = {{"text_content.text", FieldUse::kText}, {"token_content.token_ids", FieldUse::kTokenIds},
                  {"max_tokens", FieldUse::kMaxTokens},   {"session_cache", FieldUse::kIgnored},
                  {"priority", FieldUse::kIgnored},       {"num_samples", FieldUse::kIgnored},
                  {"metadata", FieldUse::kIgnored}};
  return rules;
}

class JetstreamV1 final : public Dialect {
 public:
  explicit JetstreamV1(const DialectContext& context)
      : Dialect(context), integers_are_strings_(ListContains(context.options.extras, "strings")) {}

  Route Find(const HttpRequest& request) const override {
    if (request.target == "/v1/generate") return PostRoute(request, kDecode);
    if (request.target == "/v1/health" && IsGet(request)) return {Route::Kind::kPage, kHealth, ""};
    return {};
  }

  ServerReply Page(int /*form*/, const Load& /*load*/) const override {
    return {200, "application/json", R"({"is_live":"True"})", ""};
  }
  bool MayPass(const HttpRequest& /*request*/, const std::string& /*key*/) const override { return true; }

  ServerReply Error(const ApiError& error, const Answer& /*answer*/) const override {
    ServerReply reply;
    reply.status = error.status;
    switch (error.why) {
      case Refusal::kUnknownField:
        reply.status = 422;
        reply.body = Detail("extra_forbidden", error.param, "Extra inputs are not permitted");
        break;
      case Refusal::kMissing:
        reply.status = 422;
        reply.body = Detail("missing", error.param, "Field required");
        break;
      case Refusal::kSyntax:
      case Refusal::kType:
      case Refusal::kValue:
      case Refusal::kContentType:
        reply.status = 422;
        reply.body = Detail("value_error", error.param, error.message);
        break;
      default:
        reply.body = ErrorMember("detail", error.message);
        break;
    }
    return reply;
  }

  const BodyRules& Rules(int /*form*/) const override {
    static const auto* const rules = new BodyRules(BuiltInRules());
    return *rules;
  }

  StreamKind Stream(const Answer& /*answer*/) const override { return StreamKind::kDocuments; }

  void Opening(const Answer& /*answer*/, size_t /*choice*/, EventStream* events) const override {
    if (options_.role == RoleDelta::kEarly || options_.role == RoleDelta::kLate)
      events->Event("{\n  \"initialContent\": {}\n}");
  }

  void Tokens(const Answer& answer, const TokenSpan& span, EventStream* events) const override {
    std::string& payload = events->Begin();
    payload += kFront;
    payload += "\n        \"text\": \"";
    AppendEventText(answer, span, Cumulative(false), false, &payload);
    payload += "\",\n        \"tokenIds\": [\n";
    for (int64_t i = span.first; i < span.first + span.count; ++i) {
      payload += integers_are_strings_ ? "          \"" : "          ";
      AppendNumber(int64_t{text_.IdOf(answer, span.choice, i)}, &payload);
      if (integers_are_strings_) payload += '"';
      payload += i + 1 < span.first + span.count ? ",\n" : "\n";
    }
    payload += "        ]\n      }\n    ]\n  }\n}";
    events->End();
  }

  // One document more than there are tokens.
  void Tail(const Answer& answer, EventStream* events) const override {
    if (options_.send_done && !answer.fault.is(FaultKind::kNoDone))
      events->Event("{\n  \"streamContent\": {}\n}");
  }

  ServerReply Document(const Answer& answer) const override {
    ServerReply reply;
    reply.body = kFront;
    reply.body += "\"text\": \"";
    text_.Append(answer, 0, 0, answer.choices[0].sent, &reply.body);
    reply.body += "\", \"tokenIds\": [";
    text_.AppendIds(answer, 0, 0, answer.choices[0].sent, &reply.body);
    reply.body += "]}]}}";
    return reply;
  }

  bool ErrorEvent(const Answer& /*answer*/, EventStream* /*events*/) const override { return false; }

  std::string Probe(const Answer& /*answer*/, std::string_view text,
                    std::string_view* /*name*/) const override {
    return std::string(kFront) + "\"text\": \"" + std::string(text) + "\", \"tokenIds\": []}]}}";
  }
  std::string_view WrongSchema() const override { return R"({"streamContent": {"samples": "none"}})"; }

 private:
  static constexpr const char* kFront = "{\n  \"streamContent\": {\n    \"samples\": [\n      {";

  static std::string Detail(const char* type, const std::string& field, std::string_view message) {
    std::string body = std::string(R"({"detail":[{"type":")") + type + R"(","loc":["body",)";
    AppendJsonString(field, &body);
    body += R"(],"msg":)";
    AppendJsonString(message, &body);
    return body + "}]}";
  }

  const bool integers_are_strings_;
};

}  // namespace

DialectPointer MakeJetstream(const DialectContext& context) { return std::make_unique<Jetstream>(context); }
DialectPointer MakeJetstreamV1(const DialectContext& context) {
  return std::make_unique<JetstreamV1>(context);
}

}  // namespace llmbench::sim
