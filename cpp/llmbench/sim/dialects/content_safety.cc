// Azure AI Content Safety: a judgement of a text, no text of its own. A category's severity is 0 unless the
// text has the category's name in it.
#include <algorithm>

#include "llmbench/sim/dialects/dialects.h"
#include "llmbench/sim/json_text.h"

namespace llmbench::sim {
namespace {

constexpr size_t kMaxCharacters = 10'000;

BodyRules MakeRules() {
  BodyRules rules;
  rules.prompt_field = "text";
  rules.keeps_text = true;
  rules.fields = {
      {"text", FieldUse::kText}, {"categories", FieldUse::kLabels}, {"outputType", FieldUse::kEightLevels}};
  return rules;
}

bool ContainsIgnoringCase(std::string_view text, std::string_view part) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; };
  return std::search(text.begin(), text.end(), part.begin(), part.end(),
                     [lower](char a, char b) { return lower(a) == lower(b); }) != text.end();
}

const char* CodeOf(int status) {
  switch (status) {
    case 400:
      return "InvalidRequestBody";
    case 401:
      return "401";
    case 404:
      return "404";
    case 429:
      return "TooManyRequests";
    case 503:
      return "ServerBusy";
    default:
      return "InternalError";
  }
}

class ContentSafety final : public DocumentDialect {
 public:
  using DocumentDialect::DocumentDialect;

  Route Find(const HttpRequest& request) const override {
    if (request.target != "/contentsafety/text:analyze") return {};
    if (request.query.find("api-version=") == std::string::npos) return {};
    return PostRoute(request, 0);
  }

  bool MayPass(const HttpRequest& request, const std::string& key) const override {
    return request.subscription_key == key || Dialect::MayPass(request, key);
  }

  ServerReply Error(const ApiError& error, const Answer& /*answer*/) const override {
    std::string message = error.message;
    if (error.why == Refusal::kKey) {
      message =
          "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a "
          "valid key for an active subscription and use a correct regional API endpoint for your resource.";
    }
    if (error.why == Refusal::kPath) message = "Resource not found";
    const std::string code = CodeOf(error.status);
    std::string body = "{\"error\":{\"code\":\"" + code + "\",\"message\":";
    AppendJsonString(message, &body);
    body += "}}";
    return {error.status, "application/json", std::move(body), "x-ms-error-code: " + code + "\r\n"};
  }

  const BodyRules& Rules(int /*form*/) const override {
    static const auto* const rules = new BodyRules(MakeRules());
    return *rules;
  }

  ApiError Take(int /*form*/, const HttpRequest& /*http*/, GenerationRequest* request) const override {
    request->stream = false;
    request->max_tokens = 1;  // the judgement is made in a step
    const std::string& text = request->prompts.front().text;
    const auto characters = static_cast<size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
    if (characters > kMaxCharacters) {
      return {Refusal::kValue, 400,
              "The length of text exceeds " + std::to_string(kMaxCharacters) + " characters.", "text"};
    }
    return {};
  }

  ServerReply Document(const Answer& answer) const override {
    const std::vector<std::string> all = {"Hate", "SelfHarm", "Sexual", "Violence"};
    const std::vector<std::string>& asked = answer.request.labels.empty() ? all : answer.request.labels;
    ServerReply reply;
    reply.body = "{\"blocklistsMatch\":[],\"categoriesAnalysis\":[";
    for (size_t i = 0; i < asked.size(); ++i) {
      const bool found = ContainsIgnoringCase(answer.prompt_of(0).text, asked[i]);
      reply.body += i == 0 ? "{\"category\":" : ",{\"category\":";
      AppendJsonString(asked[i], &reply.body);
      reply.body += ",\"severity\":";
      AppendNumber(int64_t{!found ? 0 : answer.request.eight_levels ? 5 : 4}, &reply.body);
      reply.body += '}';
    }
    reply.body += "]}";
    return reply;
  }
};

}  // namespace

DialectPointer MakeContentSafety(const DialectContext& context) {
  return std::make_unique<ContentSafety>(context);
}

}  // namespace llmbench::sim
