#include "llmbench/sim/dialects/openai.h"

#include <algorithm>

#include "llmbench/sim/json_text.h"

namespace llmbench::sim {
namespace {

// Forms.
constexpr int kCompletion = 0;
constexpr int kChat = 1;
constexpr int kTokenize = 2;
constexpr int kHealth = 3;
constexpr int kVersion = 4;
constexpr int kModels = 5;

// Behind it stands the number of the choice.
constexpr std::string_view kChoice = ",\"choices\":[{\"index\":";

BodyRules CompletionRules() {
  BodyRules rules;
  rules.prompt_field = "prompt";
  rules.fields = {
      {"prompt", FieldUse::kPrompt},
      {"model", FieldUse::kModel},
      {"stream", FieldUse::kStream},
      {"stream_options.include_usage", FieldUse::kIncludeUsage},
      {"stream_options.continuous_usage_stats", FieldUse::kContinuousUsage},
      {"ignore_eos", FieldUse::kIgnoreEos},
      {"return_token_ids", FieldUse::kReturnTokenIds},
      {"max_completion_tokens", FieldUse::kMaxTokensFirst},
      {"max_tokens", FieldUse::kMaxTokens},
      {"min_tokens", FieldUse::kMinTokens},
      {"n", FieldUse::kChoices},
  };
  return rules;
}

BodyRules ChatRules() {
  BodyRules rules = CompletionRules();
  rules.prompt_field = "messages";
  rules.fields[0] = {"messages", FieldUse::kMessages};
  return rules;
}

// What `transformers serve` takes of them.
BodyRules StrictRules(const BodyRules& all) {
  BodyRules rules = all;
  rules.refuses_unknown = true;
  rules.fields = {all.fields[0],
                  {"model", FieldUse::kModel},
                  {"stream", FieldUse::kStream},
                  {"max_tokens", FieldUse::kMaxTokens},
                  {"temperature", FieldUse::kIgnored},
                  {"top_p", FieldUse::kIgnored},
                  {"seed", FieldUse::kIgnored},
                  {"stop", FieldUse::kIgnored},
                  {"frequency_penalty", FieldUse::kIgnored},
                  {"logit_bias", FieldUse::kIgnored},
                  {"generation_config", FieldUse::kIgnored}};
  return rules;
}

const BodyRules& RulesOf(bool chat, bool strict) {
  static const auto* const all = new BodyRules[4]{CompletionRules(), ChatRules(),
                                                  StrictRules(CompletionRules()), StrictRules(ChatRules())};
  return all[(strict ? 2 : 0) + (chat ? 1 : 0)];
}

UnfinishedReason Or(UnfinishedReason asked, UnfinishedReason otherwise) {
  return asked == UnfinishedReason::kAuto ? otherwise : asked;
}

UsagePlace Or(UsagePlace asked, UsagePlace otherwise) {
  return asked == UsagePlace::kAuto ? otherwise : asked;
}

}  // namespace

OpenAiDialect::OpenAiDialect(const DialectContext& context, const OpenAiManners& manners)
    : Dialect(context),
      role_(options_.role == RoleDelta::kAuto ? manners.role : options_.role),
      unfinished_chat_(Or(options_.unfinished_reason, UnfinishedReason::kNull)),
      unfinished_completion_(Or(options_.unfinished_reason, manners.unfinished_completion)),
      usage_(Or(options_.usage, manners.usage)),
      completion_usage_(Or(options_.usage, manners.completion_usage)),
      errors_(manners.errors),
      heeds_ignore_eos_(manners.heeds_ignore_eos) {}

Route OpenAiDialect::Find(const HttpRequest& request) const {
  const std::string_view target = request.target;
  const bool post = request.method == "POST";
  const bool get = request.method == "GET" || request.method == "HEAD";
  if (target == "/v1/completions" || target == "/v1/chat/completions") {
    if (!post) return {Route::Kind::kWrongMethod, 0, ""};
    return {Route::Kind::kGenerate, target == "/v1/completions" ? kCompletion : kChat, ""};
  }
  if (target == "/tokenize" && post) return {Route::Kind::kTokenize, kTokenize, ""};
  if (!get) return {};
  if (target == "/health" || target == "/ping") return {Route::Kind::kPage, kHealth, ""};
  if (target == "/version") return {Route::Kind::kPage, kVersion, ""};
  if (target == "/v1/models") return {Route::Kind::kPage, kModels, ""};
  if (target == "/metrics") return {Route::Kind::kMetrics, 0, ""};
  return {};
}

ServerReply OpenAiDialect::Page(int form, const Load& /*load*/) const {
  ServerReply reply;
  if (form == kHealth) {
    reply.content_type.clear();
  } else if (form == kVersion) {
    reply.body = R"({"version":"llmbench-sim"})";
  } else {
    reply.body = R"({"object":"list","data":[{"id":)";
    AppendJsonString(deployment_.model, &reply.body);
    reply.body += R"(,"object":"model","created":0,"owned_by":"llmbench","root":)";
    AppendJsonString(deployment_.model, &reply.body);
    reply.body += R"(,"parent":null,"max_model_len":)";
    reply.body += deployment_.max_model_len > 0 ? std::to_string(deployment_.max_model_len) : "null";
    reply.body += "}]}";
  }
  return reply;
}

bool OpenAiDialect::MayPass(const HttpRequest& request, const std::string& key) const {
  // Like vLLM, which guards only what is under /v1.
  return request.target.compare(0, 3, "/v1") != 0 || Dialect::MayPass(request, key);
}

ServerReply OpenAiDialect::Error(const ApiError& error, const Answer& /*answer*/) const {
  ServerReply reply;
  reply.status = error.status;
  switch (error.why) {
    case Refusal::kKey:
      reply.body = errors_ == OpenAiErrors::kMii
                       ? R"({"detail":{"error":{"message":"","type":"invalid_request_error","param":null,)"
                         R"("code":"invalid_api_key"}}})"
                       : R"({"error":"Unauthorized"})";
      return reply;
    case Refusal::kPath:
      reply.body = ErrorMember("detail", "Not Found");
      return reply;
    case Refusal::kMethod:
      reply.body = ErrorMember("detail", "Method Not Allowed");
      reply.extra = "allow: POST\r\n";
      return reply;
    case Refusal::kUnknownField:
      reply.status = 422;
      reply.body = ErrorMember("detail", "Unexpected fields in the request: {'" + error.param + "'}");
      return reply;
    default:
      break;
  }
  if (errors_ == OpenAiErrors::kMii) {
    if (error.why == Refusal::kModel) reply.status = 400;
    reply.body = R"({"object":"error","message":)";
    AppendJsonString(error.message, &reply.body);
    reply.body += R"(,"type":"invalid_request_error","param":null,"code":)";
    AppendNumber(int64_t{reply.status}, &reply.body);
    reply.body += '}';
  } else if (errors_ == OpenAiErrors::kTgi) {
    reply.body = R"({"error":)";
    AppendJsonString(error.message, &reply.body);
    reply.body += R"(,"error_type":"validation"})";
    if (error.status == 400) reply.status = 422;
  } else {
    reply.body = ErrorObject(error);
  }
  return reply;
}

const BodyRules& OpenAiDialect::Rules(int form) const {
  return RulesOf(form == kChat, options_.strict_fields && form != kTokenize);
}

ApiError OpenAiDialect::Take(int /*form*/, const HttpRequest& /*http*/, GenerationRequest* request) const {
  if (!heeds_ignore_eos_) request->ignore_eos = false;
  return {};
}

std::string_view OpenAiDialect::IdPrefix(int form) const { return form == kChat ? "chatcmpl-" : "cmpl-"; }

void OpenAiDialect::Begin(Answer* answer) const {
  std::string& front = answer->front;
  front += "{\"id\":";
  AppendJsonString(answer->id, &front);
  if (answer->form == kCompletion) {
    front += ",\"object\":\"text_completion\"";
  } else if (answer->request.stream) {
    front += ",\"object\":\"chat.completion.chunk\"";
  } else {
    front += ",\"object\":\"chat.completion\"";
  }
  front += ",\"created\":";
  AppendNumber(answer->created_s, &front);
  front += ",\"model\":";
  AppendModel(*answer, &front);
  front += kChoice;
}

// What stands in front of the choices.
std::string_view OpenAiDialect::Head(const Answer& answer) {
  return std::string_view(answer.front).substr(0, answer.front.size() - kChoice.size());
}

UsagePlace OpenAiDialect::UsageOf(const Answer& answer) const {
  return answer.form == kChat ? usage_ : completion_usage_;
}

const char* OpenAiDialect::Reason(const Answer& answer, size_t choice) const {
  if (answer.form == kChat && options_.tool_tokens > 0 && !answer.fault.is(FaultKind::kAbort))
    return "tool_calls";
  return FinishReason(answer, choice);
}

int64_t OpenAiDialect::Reasoning(const Answer& answer) const {
  return answer.form == kChat ? options_.reasoning_tokens : 0;
}

int64_t OpenAiDialect::BeforeTool(const Answer& answer, size_t choice) const {
  const int64_t target = answer.choices[choice].target;
  return answer.form == kChat ? std::max<int64_t>(0, target - options_.tool_tokens) : target;
}

void OpenAiDialect::AppendChoice(const Answer& answer, size_t choice, std::string* out) const {
  *out += answer.front;
  AppendNumber(static_cast<int64_t>(choice), out);
}

void OpenAiDialect::AppendUnfinished(const Answer& answer, std::string* out) const {
  switch (answer.form == kChat ? unfinished_chat_ : unfinished_completion_) {
    case UnfinishedReason::kEmpty:
      *out += ",\"logprobs\":null,\"finish_reason\":\"\"";
      break;
    case UnfinishedReason::kAbsent:
      break;
    default:
      *out += ",\"logprobs\":null,\"finish_reason\":null";
      break;
  }
}

void OpenAiDialect::AppendFinished(const Answer& answer, size_t choice, std::string* out) const {
  *out += ",\"logprobs\":null,\"finish_reason\":\"";
  *out += Reason(answer, choice);
  *out += "\",\"stop_reason\":null";
}

void OpenAiDialect::AppendTokenIds(const Answer& answer, size_t choice, int64_t first, int64_t count,
                                   std::string* out) const {
  if (!answer.request.return_token_ids) return;
  *out += ",\"token_ids\":[";
  text_.AppendIds(answer, choice, first, count, out);
  *out += ']';
}

void OpenAiDialect::AppendUsage(const Answer& answer, int64_t output, std::string* out) const {
  const int64_t prompt = answer.request.prompt_tokens();
  *out += "{\"prompt_tokens\":";
  AppendNumber(prompt, out);
  *out += ",\"total_tokens\":";
  AppendNumber(prompt + output, out);
  *out += ",\"completion_tokens\":";
  AppendNumber(output, out);
  if (options_.cached_tokens) {
    *out += ",\"prompt_tokens_details\":{\"cached_tokens\":";
    AppendNumber(answer.cached_tokens, out);
    *out += '}';
  }
  if (const int64_t reasoning = Reasoning(answer); reasoning > 0) {
    int64_t sum = 0;
    for (const Choice& choice : answer.choices) sum += std::min(choice.sent, reasoning);
    *out += ",\"completion_tokens_details\":{\"reasoning_tokens\":";
    AppendNumber(sum, out);
    *out += '}';
  }
  *out += '}';
}

// What stands behind the choices of an event.
void OpenAiDialect::EndEvent(const Answer& answer, bool last, std::string* out) const {
  const UsagePlace place = UsageOf(answer);
  if (place == UsagePlace::kEvery || (place == UsagePlace::kLast && last) ||
      (place == UsagePlace::kAsked && answer.request.continuous_usage)) {
    *out += ",\"usage\":";
    AppendUsage(answer, place == UsagePlace::kLast ? answer.counted_tokens() : answer.output_tokens(), out);
  } else if (answer.form == kCompletion) {
    *out += ",\"usage\":null";
  }
  *out += '}';
}

bool OpenAiDialect::OpensEarly(const Answer& answer) const {
  return answer.form == kChat && role_ == RoleDelta::kEarly;
}

void OpenAiDialect::Opening(const Answer& answer, size_t choice, EventStream* events) const {
  if (answer.form != kChat) return;
  if (role_ != RoleDelta::kEarly && role_ != RoleDelta::kLate && role_ != RoleDelta::kNull) return;
  std::string& payload = events->Begin();
  AppendChoice(answer, choice, &payload);
  payload += role_ == RoleDelta::kNull ? ",\"delta\":{\"role\":\"assistant\",\"content\":null}"
                                       : ",\"delta\":{\"role\":\"assistant\",\"content\":\"\"}";
  AppendUnfinished(answer, &payload);
  payload += "}]";
  EndEvent(answer, false, &payload);
  events->End();
}

// The arguments are a JSON text of their own, in as many pieces as there are events.
void OpenAiDialect::AppendArguments(const Answer& answer, const TokenSpan& span, int64_t tool_at,
                                    std::string* out) const {
  *out += "\"tool_calls\":[{\"index\":0,";
  if (span.first == tool_at) *out += "\"id\":\"call_1\",\"type\":\"function\",";
  *out += "\"function\":{";
  if (span.first == tool_at) *out += "\"name\":\"look_up\",";
  *out += "\"arguments\":\"";
  if (span.first == tool_at) *out += "{\\\"words\\\":\\\"";
  text_.Append(answer, span.choice, span.first, span.count, out);
  if (span.first + span.count == answer.choices[span.choice].target) *out += "\\\"}";
  *out += "\"}}]";
}

// Reasoning, then content, then a tool call; an event may have parts of several.
void OpenAiDialect::AppendDelta(const Answer& answer, const TokenSpan& span, std::string* out) const {
  *out += ",\"delta\":{";
  if (role_ == RoleDelta::kEvery || (role_ == RoleDelta::kFirst && span.first == 0))
    *out += "\"role\":\"assistant\",";
  const int64_t tool_at = BeforeTool(answer, span.choice);
  const int64_t reasoning = std::clamp<int64_t>(Reasoning(answer) - span.first, 0, span.count);
  const int64_t tool = std::clamp<int64_t>(span.first + span.count - tool_at, 0, span.count - reasoning);
  const int64_t content = span.count - reasoning - tool;
  if (reasoning > 0) {
    *out += options_.reasoning_field == ReasoningField::kReasoning ? "\"reasoning\":\""
                                                                   : "\"reasoning_content\":\"";
    text_.Append(answer, span.choice, span.first, reasoning, out);
    *out += "\",";
  }
  if (content > 0) {
    *out += "\"content\":\"";
    text_.Append(answer, span.choice, span.first + reasoning, content, out);
    *out += "\",";
  }
  if (tool > 0) {
    AppendArguments(answer, {span.choice, span.first + reasoning + content, tool, false}, tool_at, out);
    *out += ',';
  }
  if (out->back() == ',') out->pop_back();
  *out += '}';
}

void OpenAiDialect::Tokens(const Answer& answer, const TokenSpan& span, EventStream* events) const {
  std::string& payload = events->Begin();
  AppendChoice(answer, span.choice, &payload);
  if (answer.form == kChat) {
    AppendDelta(answer, span, &payload);
  } else {
    payload += ",\"text\":\"";
    text_.Append(answer, span.choice, span.first, span.count, &payload);
    payload += '"';
  }
  if (span.finishes) {
    AppendFinished(answer, span.choice, &payload);
  } else {
    AppendUnfinished(answer, &payload);
  }
  AppendTokenIds(answer, span.choice, span.first, span.count, &payload);
  payload += "}]";
  if (answer.request.return_token_ids && span.first == 0) {
    const Prompt& prompt = answer.prompt_of(span.choice);
    payload += ",\"prompt_token_ids\":[";
    for (size_t i = 0; i < prompt.ids.size(); ++i) {
      if (i > 0) payload += ',';
      AppendNumber(int64_t{prompt.ids[i]}, &payload);
    }
    payload += ']';
  }
  EndEvent(answer, span.finishes && answer.unfinished == 0, &payload);
  events->End();
}

void OpenAiDialect::Finish(const Answer& answer, size_t choice, EventStream* events) const {
  std::string& payload = events->Begin();
  AppendChoice(answer, choice, &payload);
  payload += answer.form == kChat ? ",\"delta\":{}" : ",\"text\":\"\"";
  AppendFinished(answer, choice, &payload);
  payload += "}]";
  EndEvent(answer, answer.unfinished == 0, &payload);
  events->End();
}

void OpenAiDialect::Tail(const Answer& answer, EventStream* events) const {
  const UsagePlace place = UsageOf(answer);
  if (place == UsagePlace::kOwn || (place == UsagePlace::kAsked && answer.request.include_usage)) {
    std::string& payload = events->Begin();
    payload += Head(answer);
    if (options_.usage_choices == UsageChoices::kEmpty) payload += ",\"choices\":[]";
    if (options_.usage_choices == UsageChoices::kNull) payload += ",\"choices\":null";
    payload += ",\"usage\":";
    AppendUsage(answer, answer.counted_tokens(), &payload);
    payload += '}';
    events->End();
  }
  SendDone(answer, events);
}

void OpenAiDialect::AppendMessage(const Answer& answer, size_t choice, std::string* out) const {
  const int64_t sent = answer.choices[choice].sent;
  const int64_t reasoning = std::min(Reasoning(answer), sent);
  const int64_t tool_at = std::max(reasoning, BeforeTool(answer, choice));
  *out += ",\"message\":{\"role\":\"assistant\"";
  if (reasoning > 0) {
    *out += options_.reasoning_field == ReasoningField::kReasoning ? ",\"reasoning\":\""
                                                                   : ",\"reasoning_content\":\"";
    text_.Append(answer, choice, 0, reasoning, out);
    *out += '"';
  }
  if (reasoning < tool_at) {
    *out += ",\"content\":\"";
    text_.Append(answer, choice, reasoning, tool_at - reasoning, out);
    *out += '"';
  } else {
    *out += ",\"content\":null";
  }
  if (tool_at < sent) {
    *out += ',';
    AppendArguments(answer, {choice, tool_at, sent - tool_at, true}, tool_at, out);
  }
  *out += '}';
}

ServerReply OpenAiDialect::Document(const Answer& answer) const {
  ServerReply reply;
  std::string& body = reply.body;
  body = Head(answer);
  body += ",\"choices\":[";
  for (size_t i = 0; i < answer.choices.size(); ++i) {
    const Choice& choice = answer.choices[i];
    if (i > 0) body += ',';
    body += "{\"index\":";
    AppendNumber(static_cast<int64_t>(i), &body);
    if (answer.form == kChat) {
      AppendMessage(answer, i, &body);
    } else {
      body += ",\"text\":\"";
      text_.Append(answer, i, 0, choice.sent, &body);
      body += '"';
    }
    AppendFinished(answer, i, &body);
    AppendTokenIds(answer, i, 0, choice.sent, &body);
    body += '}';
  }
  body += "],\"usage\":";
  AppendUsage(answer, answer.counted_tokens(), &body);
  body += '}';
  return reply;
}

bool OpenAiDialect::ErrorEvent(const Answer& /*answer*/, EventStream* events) const {
  const ApiError error = InjectedFault();
  if (errors_ == OpenAiErrors::kTgi) {
    events->Event(R"({"error":{"message":"injected fault","http_status_code":424}})");
  } else {
    events->Event(ErrorWords(error, ErrorObject(error)));
  }
  events->Event("[DONE]");
  return true;
}

std::string OpenAiDialect::Probe(const Answer& answer, std::string_view text,
                                 std::string_view* /*name*/) const {
  std::string payload;
  AppendChoice(answer, 0, &payload);
  payload += answer.form == kChat ? ",\"delta\":{\"content\":\"" : ",\"text\":\"";
  payload += text;
  payload += answer.form == kChat ? "\"}" : "\"";
  AppendUnfinished(answer, &payload);
  payload += "}]}";
  return payload;
}

}  // namespace llmbench::sim
