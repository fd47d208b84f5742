// vLLM's demo server: POST /generate, every document with the prompt and all of the text so far.
#include "llmbench/sim/dialects/dialects.h"

namespace llmbench::sim {
namespace {

BodyRules MakeRules(bool old) {
  BodyRules rules;
  rules.prompt_field = "prompt";
  rules.needs_json_type = false;
  rules.refuses_unknown = true;  // whatever else there is goes to the constructor of the sampling parameters
  rules.keeps_text = true;
  rules.fields = {{"prompt", FieldUse::kText},          {"stream", FieldUse::kStream},
                  {"max_tokens", FieldUse::kMaxTokens}, {"min_tokens", FieldUse::kMinTokens},
                  {"ignore_eos", FieldUse::kIgnoreEos}, {"n", FieldUse::kChoices}};
  for (const char* name :
       {"presence_penalty", "frequency_penalty", "repetition_penalty", "temperature", "top_p", "top_k",
        "min_p", "seed", "stop", "stop_token_ids", "bad_words", "include_stop_str_in_output", "logprobs",
        "prompt_logprobs", "detokenize", "skip_special_tokens", "spaces_between_special_tokens",
        "truncate_prompt_tokens", "logit_bias"}) {
    rules.fields.push_back({name, FieldUse::kIgnored});
  }
  if (!old) return rules;
  for (const char* name : {"best_of", "use_beam_search", "length_penalty", "early_stopping"})
    rules.fields.push_back({name, FieldUse::kIgnored});
  return rules;
}

class VllmGenerate final : public Dialect {
 public:
  // A NUL behind each document tells a version that still knew beam search.
  explicit VllmGenerate(const DialectContext& context)
      : Dialect(context), rules_(MakeRules(context.options.line_ending == LineEnding::kNul)) {}

  Route Find(const HttpRequest& request) const override {
    if (request.target == "/generate") return PostRoute(request, 0);
    if (request.target == "/health" && IsGet(request)) return {Route::Kind::kPage, 0, ""};
    return {};
  }

  bool MayPass(const HttpRequest& /*request*/, const std::string& /*key*/) const override { return true; }

  ServerReply Error(const ApiError& error, const Answer& /*answer*/) const override {
    switch (error.why) {
      case Refusal::kPath:
        return {404, "application/json", ErrorMember("detail", "Not Found"), ""};
      case Refusal::kMethod:
        return {405, "application/json", ErrorMember("detail", "Method Not Allowed"), "allow: POST\r\n"};
      case Refusal::kInjected:
      case Refusal::kKey:
      case Refusal::kNotReady:
      case Refusal::kHttp:
        return TextReply(error.status, ReasonPhrase(error.status));
      default:
        return TextReply(500, "Internal Server Error");
    }
  }

  const BodyRules& Rules(int /*form*/) const override { return rules_; }
  StreamKind Stream(const Answer& /*answer*/) const override { return StreamKind::kLines; }
  std::string_view StreamType(const Answer& /*answer*/) const override { return ""; }

  void Tokens(const Answer& answer, const TokenSpan& /*span*/, EventStream* events) const override {
    AppendTexts(answer, &events->Begin());
    events->End();
  }

  ServerReply Document(const Answer& answer) const override {
    ServerReply reply;
    AppendTexts(answer, &reply.body);
    return reply;
  }

  bool ErrorEvent(const Answer& /*answer*/, EventStream* /*events*/) const override { return false; }

  std::string Probe(const Answer& /*answer*/, std::string_view text,
                    std::string_view* /*name*/) const override {
    return "{\"text\": [\"" + std::string(text) + "\"]}";
  }
  std::string_view WrongSchema() const override { return R"({"text": {"0": 1}})"; }

 private:
  // Of all choices.
  void AppendTexts(const Answer& answer, std::string* out) const {
    *out += "{\"text\": [";
    for (size_t i = 0; i < answer.choices.size(); ++i) {
      *out += i == 0 ? "\"" : ", \"";
      AppendEventText(answer, {i, 0, answer.choices[i].sent, false}, true, Echoes(answer, true), out);
      *out += '"';
    }
    *out += "]}";
  }

  const BodyRules rules_;
};

}  // namespace

DialectPointer MakeVllmGenerate(const DialectContext& context) {
  return std::make_unique<VllmGenerate>(context);
}

}  // namespace llmbench::sim
