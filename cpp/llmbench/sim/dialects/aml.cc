// An Azure ML managed endpoint: a proxy in front of a container, which has the say about the output.
#include "llmbench/sim/dialects/dialects.h"

namespace llmbench::sim {
namespace {

constexpr int kScore = 0;
constexpr int kHealth = 1;

BodyRules MakeRules() {
  BodyRules rules;
  rules.prompt_field = "input_data.input_string";
  rules.keeps_text = true;
  rules.fields = {{"input_data.input_string", FieldUse::kTexts},
                  {"input_data.parameters.max_tokens", FieldUse::kMaxTokens},
                  {"input_data.parameters.max_new_tokens", FieldUse::kMaxTokens},
                  {"input_data.parameters.ignore_eos", FieldUse::kIgnoreEos},
                  {"input_data.parameters.return_full_text", FieldUse::kEcho}};
  return rules;
}

class Aml final : public DocumentDialect {
 public:
  using DocumentDialect::DocumentDialect;

  Route Find(const HttpRequest& request) const override {
    if (request.target == "/score") return PostRoute(request, kScore);
    if (request.target == "/" && IsGet(request)) return {Route::Kind::kPage, kHealth, ""};
    return {};
  }

  ServerReply Page(int /*form*/, const Load& /*load*/) const override { return TextReply(200, "Healthy"); }

  // What the container says no to, the proxy calls a failed dependency.
  ServerReply Error(const ApiError& error, const Answer& /*answer*/) const override {
    if (error.why == Refusal::kKey)
      return {401, "application/json", R"("key_auth_bad_header_forbidden")", ""};
    if (error.why == Refusal::kPath || error.why == Refusal::kMethod)
      return {error.status, "application/json", ErrorMember("message", error.message), ""};
    const bool from_container = error.why != Refusal::kInjected && error.why != Refusal::kHttp;
    if (!from_container && error.status != 424) {
      return {error.status, "application/json", "{\"error\":" + ErrorMember("message", error.message) + "}",
              ""};
    }
    return {424, "application/json", ErrorMember("message", error.message),
            "ms-azureml-model-error-statuscode: " + std::to_string(error.status == 424 ? 500 : error.status) +
                "\r\nms-azureml-model-error-reason: model_error\r\n"};
  }

  const BodyRules& Rules(int /*form*/) const override {
    static const auto* const rules = new BodyRules(MakeRules());
    return *rules;
  }

  ServerReply Document(const Answer& answer) const override {
    ServerReply reply;
    std::string& body = reply.body;
    const AmlOutput output = options_.aml_output;
    if (output == AmlOutput::kPredictions) body += "{\"predictions\":";
    if (output != AmlOutput::kOutput) body += '[';
    if (output == AmlOutput::kIndexed) body += '{';
    // A single text where only one has room.
    const size_t texts = output == AmlOutput::kOutput ? 1 : answer.choices.size();
    for (size_t i = 0; i < texts; ++i) {
      if (i > 0) body += ',';
      if (output == AmlOutput::kIndexed) body += "\"" + std::to_string(i) + "\":";
      if (output == AmlOutput::kOutput) body += "{\"output\":";
      if (output == AmlOutput::kGeneratedText) body += "{\"generated_text\":";
      body += '"';
      AppendEventText(answer, {i, 0, answer.choices[i].sent, true}, false, Echoes(answer, false), &body);
      body += '"';
      if (output == AmlOutput::kOutput || output == AmlOutput::kGeneratedText) body += '}';
    }
    if (output == AmlOutput::kIndexed) body += '}';
    if (output != AmlOutput::kOutput) body += ']';
    if (output == AmlOutput::kPredictions) body += '}';
    reply.extra = "ms-azureml-bandwidth-request-delay-ms: 0\r\nms-azureml-bandwidth-response-delay-ms: 0\r\n";
    return reply;
  }
};

}  // namespace

DialectPointer MakeAml(const DialectContext& context) { return std::make_unique<Aml>(context); }

}  // namespace llmbench::sim
