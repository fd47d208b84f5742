// Sax, by its three HTTP fronts: a prompt or a query with extra inputs on /generate, instances on /predict.
#include "llmbench/sim/dialects/dialects.h"
#include "llmbench/sim/json_text.h"

namespace llmbench::sim {
namespace {

constexpr int kGenerate = 0;
constexpr int kPredict = 1;
constexpr int kHealth = 2;

BodyRules GenerateRules() {
  BodyRules rules;
  rules.prompt_field = "prompt";
  rules.fields = {{"prompt", FieldUse::kText},
                  {"query", FieldUse::kText},
                  {"model", FieldUse::kModel},
                  {"n", FieldUse::kChoices},
                  {"max_tokens", FieldUse::kMaxTokens},
                  {"extra_inputs.per_example_max_decode_steps", FieldUse::kMaxTokens}};
  return rules;
}

BodyRules PredictRules() {
  BodyRules rules;
  rules.prompt_field = "instances[].text";
  rules.fields = {{"instances[].text", FieldUse::kText},
                  {"instances[].extra_inputs.per_example_max_decode_steps", FieldUse::kMaxTokens}};
  return rules;
}

class Sax final : public DocumentDialect {
 public:
  using DocumentDialect::DocumentDialect;

  Route Find(const HttpRequest& request) const override {
    if (request.target == "/generate") return PostRoute(request, kGenerate);
    if (request.target == "/predict") return PostRoute(request, kPredict);
    if (request.target == "/health" && IsGet(request)) return {Route::Kind::kPage, kHealth, ""};
    return {};
  }

  ServerReply Page(int /*form*/, const Load& /*load*/) const override {
    return {200, "application/json", R"({"model_status":{"status":"AVAILABLE"}})", ""};
  }
  bool MayPass(const HttpRequest& /*request*/, const std::string& /*key*/) const override { return true; }

  ServerReply Error(const ApiError& error, const Answer& /*answer*/) const override {
    return {error.status, "application/json", ErrorMember("error", error.message), ""};
  }

  const BodyRules& Rules(int form) const override {
    static const auto* const rules = new BodyRules[2]{GenerateRules(), PredictRules()};
    return rules[form == kPredict ? 1 : 0];
  }

  ServerReply Document(const Answer& answer) const override {
    ServerReply reply;
    std::string& body = reply.body;
    const bool predicts = answer.form == kPredict;
    body = predicts ? "{\"predictions\":[" : "{\"choices\":[";
    for (size_t i = 0; i < answer.choices.size(); ++i) {
      if (i > 0) body += ',';
      if (predicts) {
        body += "[[\"";
      } else {
        body += "{\"index\":";
        AppendNumber(static_cast<int64_t>(i), &body);
        body += ",\"text\":\"";
      }
      text_.Append(answer, i, 0, answer.choices[i].sent, &body);
      body += predicts ? "\",-1.2]]" : "\"}";
    }
    body += "]}";
    return reply;
  }
};

}  // namespace

DialectPointer MakeSax(const DialectContext& context) { return std::make_unique<Sax>(context); }

}  // namespace llmbench::sim
