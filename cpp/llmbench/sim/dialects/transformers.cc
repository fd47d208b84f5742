// A model behind a prediction route: instances in, predictions out, the text with the prompt in front.
#include "llmbench/sim/dialects/dialects.h"

namespace llmbench::sim {
namespace {

constexpr int kPredict = 0;
constexpr int kHealth = 1;

BodyRules MakeRules() {
  BodyRules rules;
  rules.prompt_field = "instances[].prompt";
  rules.keeps_text = true;
  rules.fields = {{"instances[].prompt", FieldUse::kText},
                  {"instances[].max_length", FieldUse::kMaxLength},
                  {"instances[].max_tokens", FieldUse::kMaxTokens},
                  {"instances[].max_new_tokens", FieldUse::kMaxTokens}};
  return rules;
}

bool EndsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

class Transformers final : public DocumentDialect {
 public:
  using DocumentDialect::DocumentDialect;

  Route Find(const HttpRequest& request) const override {
    const std::string_view target = request.target;
    if (target == "/predict" || target == "/generate" || EndsWith(target, ":predict"))
      return PostRoute(request, kPredict);
    if (target == "/health" && IsGet(request)) return {Route::Kind::kPage, kHealth, ""};
    return {};
  }

  ServerReply Page(int /*form*/, const Load& /*load*/) const override { return TextReply(200, "ok"); }

  ServerReply Error(const ApiError& error, const Answer& /*answer*/) const override {
    const bool fails = error.status == 400 && error.why != Refusal::kInjected && error.why != Refusal::kHttp;
    const int status = fails ? 500 : error.status;
    return {status, "text/html; charset=utf-8", ErrorPage(status, error.message), ""};
  }

  const BodyRules& Rules(int /*form*/) const override {
    static const auto* const rules = new BodyRules(MakeRules());
    return *rules;
  }

  ServerReply Document(const Answer& answer) const override {
    ServerReply reply;
    reply.body = "{\"predictions\":[";
    for (size_t i = 0; i < answer.choices.size(); ++i) {
      reply.body += i == 0 ? "[{\"generated_text\":\"" : ",[{\"generated_text\":\"";
      if (Echoes(answer, true)) reply.body += "Prompt:\\n" + answer.prompt_of(i).text + "\\nOutput:\\n";
      text_.Append(answer, i, 0, answer.choices[i].sent, &reply.body);
      reply.body += "\"}]";
    }
    reply.body += "]}";
    return reply;
  }
};

}  // namespace

DialectPointer MakeTransformers(const DialectContext& context) {
  return std::make_unique<Transformers>(context);
}

}  // namespace llmbench::sim
