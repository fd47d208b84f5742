// Triton's generate extension in front of TensorRT-LLM: no finish reason, no counts, no terminator.
#include "llmbench/sim/dialects/dialects.h"
#include "llmbench/sim/json_text.h"

namespace llmbench::sim {
namespace {

constexpr int kGenerate = 0;
constexpr int kGenerateStream = 1;
constexpr int kReady = 2;
constexpr int kModel = 3;
constexpr int kServer = 4;

BodyRules MakeRules() {
  BodyRules rules;
  rules.prompt_field = "text_input";
  rules.needs_json_type = false;
  rules.refuses_unknown = true;
  rules.keeps_text = true;
  rules.fields = {{"text_input", FieldUse::kText},
                  {"max_tokens", FieldUse::kMaxTokens},
                  {"sampling_param_max_tokens", FieldUse::kMaxTokens},
                  {"min_length", FieldUse::kMinTokens},
                  {"min_tokens", FieldUse::kMinTokens},
                  {"stream", FieldUse::kStream},
                  {"streaming", FieldUse::kStream},
                  {"end_id", FieldUse::kEndId},
                  {"return_log_probs", FieldUse::kLogProbs},
                  {"parameters.*", FieldUse::kIgnored}};
  for (const char* name : {"id",
                           "bad_words",
                           "stop_words",
                           "temperature",
                           "top_p",
                           "top_k",
                           "beam_width",
                           "random_seed",
                           "seed",
                           "length_penalty",
                           "repetition_penalty",
                           "presence_penalty",
                           "frequency_penalty",
                           "pad_id",
                           "return_context_logits",
                           "return_generation_logits",
                           "return_perf_metrics",
                           "num_return_sequences",
                           "exclude_input_in_output",
                           "sampling_param_temperature",
                           "sampling_param_top_p",
                           "sampling_param_top_k",
                           "sampling_param_seed"}) {
    rules.fields.push_back({name, FieldUse::kIgnored});
  }
  return rules;
}

// "NAME[/versions/V]/REST" behind "/v2/models/".
bool SplitModelPath(std::string_view target, std::string_view* model, std::string_view* rest) {
  static constexpr std::string_view kModels = "/v2/models/";
  if (target.substr(0, kModels.size()) != kModels) return false;
  target.remove_prefix(kModels.size());
  const size_t slash = target.find('/');
  *model = target.substr(0, slash);
  *rest = slash == std::string_view::npos ? "" : target.substr(slash + 1);
  static constexpr std::string_view kVersions = "versions/";
  if (rest->substr(0, kVersions.size()) == kVersions) {
    rest->remove_prefix(kVersions.size());
    const size_t end = rest->find('/');
    *rest = end == std::string_view::npos ? "" : rest->substr(end + 1);
  }
  return !model->empty();
}

class Triton final : public Dialect {
 public:
  using Dialect::Dialect;

  Route Find(const HttpRequest& request) const override {
    const std::string_view target = request.target;
    std::string_view model;
    std::string_view rest;
    if (SplitModelPath(target, &model, &rest)) {
      if (rest == "generate" || rest == "generate_stream") {
        if (!IsPost(request)) return {Route::Kind::kWrongMethod, 0, ""};
        return {Route::Kind::kGenerate, rest == "generate" ? kGenerate : kGenerateStream, model};
      }
      if (!IsGet(request)) return {};
      if (rest == "ready") return {Route::Kind::kPage, kReady, model};
      if (rest.empty() || rest == "config") return {Route::Kind::kPage, kModel, model};
      return {};
    }
    if (!IsGet(request)) return {};
    if (target == "/v2/health/ready" || target == "/v2/health/live") return {Route::Kind::kPage, kReady, ""};
    if (target == "/v2") return {Route::Kind::kPage, kServer, ""};
    return {};
  }

  ServerReply Page(int form, const Load& /*load*/) const override {
    ServerReply reply;
    if (form == kReady) {
      reply.content_type.clear();
    } else if (form == kServer) {
      reply.body = R"({"name":"triton","version":"llmbench-sim","extensions":["generate","statistics"]})";
    } else {
      reply.body = R"({"name":)";
      AppendJsonString(deployment_.model, &reply.body);
      reply.body +=
          R"(,"versions":["1"],"platform":"ensemble","inputs":[{"name":"text_input",)"
          R"("datatype":"BYTES","shape":[-1,1]},{"name":"max_tokens","datatype":"INT32",)"
          R"("shape":[-1,1]}],"outputs":[{"name":"text_output","datatype":"BYTES","shape":[-1,1]}]})";
    }
    return reply;
  }

  bool MayPass(const HttpRequest& /*request*/, const std::string& /*key*/) const override { return true; }

  ServerReply Error(const ApiError& error, const Answer& answer) const override {
    std::string message = error.message;
    int status = error.status;
    switch (error.why) {
      case Refusal::kUnknownField:
        message = "unexpected inference input '" + error.param + "' for model '" + ModelOf(answer) + "'";
        break;
      case Refusal::kMissing:
        message = "expected number of inputs between 1 and 32 but got 0 inputs for model '" +
                  ModelOf(answer) + "': missing '" + error.param + "'";
        break;
      case Refusal::kModel:
        message = "Request for unknown model: '" + answer.request.model + "' is not found";
        break;
      case Refusal::kNotReady:
        return {400, "", "", ""};
      case Refusal::kMethod:
        message = "Method Not Allowed";
        break;
      default:
        break;
    }
    return {status, "application/json", ErrorMember("error", message), ""};
  }

  const BodyRules& Rules(int /*form*/) const override {
    static const auto* const rules = new BodyRules(MakeRules());
    return *rules;
  }

  // `stream` in the body decouples the model, the path the reply.
  ApiError Take(int form, const HttpRequest& /*http*/, GenerationRequest* request) const override {
    if (form == kGenerate && request->stream && request->max_tokens != 1) {
      return {Refusal::kValue, 400,
              "generate expects model to produce exactly 1 response, use generate stream for models that "
              "generate various number of responses",
              "stream"};
    }
    request->one_event = form == kGenerateStream && !request->stream;
    request->stream = form == kGenerateStream;
    return {};
  }

  std::string_view StreamType(const Answer& /*answer*/) const override { return "text/event-stream"; }

  void Tokens(const Answer& answer, const TokenSpan& span, EventStream* events) const override {
    AppendEvent(answer, span, &events->Begin());
    events->End();
  }

  // An event without text.
  void Finish(const Answer& answer, size_t choice, EventStream* events) const override {
    if (Cumulative(false)) {
      AppendEvent(answer, {choice, answer.choices[choice].sent, 0, true}, &events->Begin());
    } else {
      events->Begin() += Probe(answer, "", nullptr);
    }
    events->End();
  }

  ServerReply Document(const Answer& answer) const override {
    ServerReply reply;
    AppendEvent(answer, {0, 0, answer.choices[0].sent, true}, &reply.body);
    return reply;
  }

  bool ErrorEvent(const Answer& /*answer*/, EventStream* events) const override {
    const ApiError error = InjectedFault();
    events->Event(ErrorWords(error, ErrorMember("error", error.message)));
    return true;
  }

  std::string Probe(const Answer& answer, std::string_view text, std::string_view* /*name*/) const override {
    std::string payload = "{\"model_name\":";
    AppendModel(answer, &payload);
    payload += ",\"model_version\":\"1\",\"text_output\":\"";
    payload += text;
    payload += "\"}";
    return payload;
  }
  std::string_view WrongSchema() const override { return R"({"model_name":"ensemble","text_output":{}})"; }

 private:
  std::string ModelOf(const Answer& answer) const {
    return answer.request.model.empty() ? deployment_.model : answer.request.model;
  }

  void AppendEvent(const Answer& answer, const TokenSpan& span, std::string* out) const {
    *out += "{\"model_name\":";
    AppendModel(answer, out);
    *out += ",\"model_version\":\"1\"";
    if (answer.request.log_probs && span.count > 0) {
      // A tensor of one element is a scalar.
      *out += ",\"cum_log_probs\":-0.5,\"output_log_probs\":";
      if (span.count > 1) *out += '[';
      for (int64_t i = 0; i < span.count; ++i) *out += i == 0 ? "-0.5" : ",-0.5";
      if (span.count > 1) *out += ']';
    }
    *out += ",\"sequence_end\":false,\"sequence_id\":0,\"sequence_start\":false,\"text_output\":\"";
    AppendEventText(answer, span, Cumulative(false), Echoes(answer, false), out);
    *out += "\"}";
  }
};

}  // namespace

DialectPointer MakeTriton(const DialectContext& context) { return std::make_unique<Triton>(context); }

}  // namespace llmbench::sim
