// DeepSpeed-MII's REST gateway: Flask, a list of prompts in, a list of texts out, one request per connection.
#include "llmbench/sim/dialects/dialects.h"
#include "llmbench/sim/json_text.h"

namespace llmbench::sim {
namespace {

constexpr int kGenerate = 0;
constexpr int kHealth = 1;

BodyRules MakeRules() {
  BodyRules rules;
  rules.prompt_field = "prompts";
  rules.keeps_text = true;
  rules.fields = {{"prompts", FieldUse::kTexts},
                  {"max_length", FieldUse::kMaxLength},
                  {"max_new_tokens", FieldUse::kMaxTokens},
                  {"min_new_tokens", FieldUse::kMinTokens},
                  {"ignore_eos", FieldUse::kIgnoreEos},
                  {"return_full_text", FieldUse::kEcho}};
  return rules;
}

class FastgenRest final : public DocumentDialect {
 public:
  using DocumentDialect::DocumentDialect;

  Route Find(const HttpRequest& request) const override {
    const std::string_view target = request.target;
    if (target.substr(0, 5) == "/mii/" && target.size() > 5) return PostRoute(request, kGenerate);
    if (target == "/healthz" && IsGet(request)) return {Route::Kind::kPage, kHealth, ""};
    return {};
  }

  ServerReply Page(int /*form*/, const Load& /*load*/) const override {
    return {200, "text/html; charset=utf-8", "ok", ""};
  }
  bool MayPass(const HttpRequest& /*request*/, const std::string& /*key*/) const override { return true; }
  bool ClosesConnections() const override { return true; }

  ServerReply Error(const ApiError& error, const Answer& /*answer*/) const override {
    int status = error.status;
    if (error.why == Refusal::kContentType) status = 415;
    if (error.why == Refusal::kMissing || error.why == Refusal::kType || error.why == Refusal::kValue ||
        error.why == Refusal::kTooLong) {
      status = 500;  // an exception in the handler
    }
    return {status, "text/html; charset=utf-8", ErrorPage(status, error.message), ""};
  }

  const BodyRules& Rules(int /*form*/) const override {
    static const auto* const rules = new BodyRules(MakeRules());
    return *rules;
  }

  ServerReply Document(const Answer& answer) const override {
    ServerReply reply;
    reply.body += '[';
    for (size_t i = 0; i < answer.choices.size(); ++i) {
      const int64_t sent = answer.choices[i].sent;
      reply.body += i == 0 ? "{\"finish_reason\":\"" : ",{\"finish_reason\":\"";
      reply.body += FinishReason(answer, i);
      reply.body += "\",\"generated_length\":";
      AppendNumber(answer.Counted(sent), &reply.body);
      reply.body += ",\"generated_text\":\"";
      AppendEventText(answer, {i, 0, sent, true}, false, Echoes(answer, false), &reply.body);
      reply.body += "\",\"prompt_length\":";
      AppendNumber(answer.prompt_of(i).tokens, &reply.body);
      reply.body += '}';
    }
    reply.body += "]\n";
    return reply;
  }
};

}  // namespace

DialectPointer MakeFastgenRest(const DialectContext& context) {
  return std::make_unique<FastgenRest>(context);
}

}  // namespace llmbench::sim
