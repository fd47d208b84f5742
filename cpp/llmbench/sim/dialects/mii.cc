// DeepSpeed-MII's FastAPI server: POST /generate with bare texts. Its OpenAI routes are openai.cc's, with
// its manners.
#include "llmbench/sim/dialects/dialects.h"
#include "llmbench/sim/json_text.h"

namespace llmbench::sim {
namespace {

BodyRules MakeRules() {
  BodyRules rules;
  rules.prompt_field = "prompt";
  rules.keeps_text = true;
  rules.fields = {{"prompt", FieldUse::kPrompt},
                  {"max_tokens", FieldUse::kMaxTokens},
                  {"min_tokens", FieldUse::kMinTokens},
                  {"ignore_eos", FieldUse::kIgnoreEos},
                  {"stream", FieldUse::kStream},
                  {"return_full_text", FieldUse::kEcho},
                  {"n", FieldUse::kChoices}};
  return rules;
}

class Mii final : public Dialect {
 public:
  using Dialect::Dialect;

  Route Find(const HttpRequest& request) const override {
    if (request.target == "/generate") return PostRoute(request, 0);
    return {};
  }

  ServerReply Error(const ApiError& error, const Answer& /*answer*/) const override {
    ServerReply reply;
    reply.status = error.status;
    switch (error.why) {
      case Refusal::kKey:
        reply.body = R"({"detail":{"error":{"message":"","type":"invalid_request_error","param":null,)"
                     R"("code":"invalid_api_key"}}})";
        break;
      case Refusal::kPath:
        reply.body = ErrorMember("detail", "Not Found");
        break;
      case Refusal::kMethod:
        reply.body = ErrorMember("detail", "Method Not Allowed");
        break;
      case Refusal::kSyntax:
      case Refusal::kMissing:
      case Refusal::kType:
      case Refusal::kContentType:
        reply.status = 422;
        reply = StyledError(ErrorBody::kDetailList, error, reply);
        break;
      default:
        reply.body = Words(error);
        break;
    }
    return reply;
  }

  const BodyRules& Rules(int /*form*/) const override {
    static const auto* const rules = new BodyRules(MakeRules());
    return *rules;
  }

  void Tokens(const Answer& answer, const TokenSpan& span, EventStream* events) const override {
    std::string& payload = events->Begin();
    payload += "{\"text\": [\"";
    AppendEventText(answer, span, Cumulative(false), Echoes(answer, false), &payload);
    payload += "\"]}";
    events->End();
  }

  void Tail(const Answer& answer, EventStream* events) const override { SendDone(answer, events); }

  ServerReply Document(const Answer& answer) const override {
    ServerReply reply;
    reply.body = "{\"text\":[";
    for (size_t i = 0; i < answer.choices.size(); ++i) {
      reply.body += i == 0 ? "\"" : ",\"";
      AppendEventText(answer, {i, 0, answer.choices[i].sent, true}, false, Echoes(answer, false),
                      &reply.body);
      reply.body += '"';
    }
    reply.body += "]}";
    return reply;
  }

  bool ErrorEvent(const Answer& /*answer*/, EventStream* events) const override {
    const ApiError error = InjectedFault();
    events->Event(ErrorWords(error, Words(error)));
    events->Event("[DONE]");
    return true;
  }

  std::string Probe(const Answer& /*answer*/, std::string_view text,
                    std::string_view* /*name*/) const override {
    return "{\"text\": [\"" + std::string(text) + "\"]}";
  }
  std::string_view WrongSchema() const override { return R"({"text": {"0": 1}})"; }

 private:
  // Flat, with a null where OpenAI has a parameter.
  static std::string Words(const ApiError& error) {
    return StyledError(ErrorBody::kFlat, error, {error.status, "", "", ""}).body;
  }
};

}  // namespace

DialectPointer MakeMii(const DialectContext& context) { return std::make_unique<Mii>(context); }

}  // namespace llmbench::sim
