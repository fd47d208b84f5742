// POST /v1/completions and /v1/chat/completions, and what vLLM has beside them.
#pragma once

#include <string>
#include <string_view>

#include "llmbench/sim/dialect.h"

namespace llmbench::sim {

enum class OpenAiErrors { kVllm, kTgi, kMii };

// In what the servers that speak OpenAI's API differ, where the options do not say otherwise.
struct OpenAiManners {
  RoleDelta role = RoleDelta::kLate;
  UnfinishedReason unfinished_completion = UnfinishedReason::kNull;
  UsagePlace usage = UsagePlace::kAsked;
  UsagePlace completion_usage = UsagePlace::kAsked;
  OpenAiErrors errors = OpenAiErrors::kVllm;
  bool heeds_ignore_eos = true;
};

class OpenAiDialect final : public Dialect {
 public:
  OpenAiDialect(const DialectContext& context, const OpenAiManners& manners);

  Route Find(const HttpRequest& request) const override;
  ServerReply Page(int form, const Load& load) const override;
  bool MayPass(const HttpRequest& request, const std::string& key) const override;
  ServerReply Error(const ApiError& error, const Answer& answer) const override;
  const BodyRules& Rules(int form) const override;
  ApiError Take(int form, const HttpRequest& http, GenerationRequest* request) const override;

  std::string_view IdPrefix(int form) const override;
  void Begin(Answer* answer) const override;
  bool OpensEarly(const Answer& answer) const override;
  void Opening(const Answer& answer, size_t choice, EventStream* events) const override;
  void Tokens(const Answer& answer, const TokenSpan& span, EventStream* events) const override;
  void Finish(const Answer& answer, size_t choice, EventStream* events) const override;
  void Tail(const Answer& answer, EventStream* events) const override;
  ServerReply Document(const Answer& answer) const override;

  bool ErrorEvent(const Answer& answer, EventStream* events) const override;
  std::string Probe(const Answer& answer, std::string_view text, std::string_view* name) const override;
  std::string_view WrongSchema() const override { return R"({"choices":{"index":0}})"; }

 private:
  const char* Reason(const Answer& answer, size_t choice) const;
  UsagePlace UsageOf(const Answer& answer) const;
  int64_t Reasoning(const Answer& answer) const;
  int64_t BeforeTool(const Answer& answer, size_t choice) const;
  static std::string_view Head(const Answer& answer);
  void AppendChoice(const Answer& answer, size_t choice, std::string* out) const;
  void AppendUnfinished(const Answer& answer, std::string* out) const;
  void AppendFinished(const Answer& answer, size_t choice, std::string* out) const;
  void AppendTokenIds(const Answer& answer, size_t choice, int64_t first, int64_t count,
                      std::string* out) const;
  void AppendDelta(const Answer& answer, const TokenSpan& span, std::string* out) const;
  void AppendUsage(const Answer& answer, int64_t output, std::string* out) const;
  void EndEvent(const Answer& answer, bool last, std::string* out) const;
  void AppendMessage(const Answer& answer, size_t choice, std::string* out) const;
  void AppendArguments(const Answer& answer, const TokenSpan& span, int64_t tool_at, std::string* out) const;

  const RoleDelta role_;
  const UnfinishedReason unfinished_chat_;
  const UnfinishedReason unfinished_completion_;
  const UsagePlace usage_;
  const UsagePlace completion_usage_;
  const OpenAiErrors errors_;
  const bool heeds_ignore_eos_;
};

}  // namespace llmbench::sim
