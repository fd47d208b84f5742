#include "llmbench/sim/dialects/dialects.h"
#include "llmbench/sim/dialects/openai.h"
#include "llmbench/sim/json_text.h"

namespace llmbench::sim {
namespace {

// Null for the OpenAI family, which every server speaks.
DialectPointer MakeNative(const DialectContext& context) {
  switch (context.options.dialect) {
    case DialectName::kOpenAi:
      return nullptr;
    case DialectName::kVllmGenerate:
      return MakeVllmGenerate(context);
    case DialectName::kTgi:
      return MakeTgi(context);
    case DialectName::kTriton:
      return MakeTriton(context);
    case DialectName::kSglang:
      return MakeSglang(context);
    case DialectName::kLlamaCpp:
      return MakeLlamaCpp(context);
    case DialectName::kOllama:
      return MakeOllama(context);
    case DialectName::kMii:
      return MakeMii(context);
    case DialectName::kFastgenRest:
      return MakeFastgenRest(context);
    case DialectName::kFastgenGrpc:
      return MakeFastgenGrpc(context);
    case DialectName::kAml:
      return MakeAml(context);
    case DialectName::kTransformers:
      return MakeTransformers(context);
    case DialectName::kJetstream:
      return MakeJetstream(context);
    case DialectName::kJetstreamV1:
      return MakeJetstreamV1(context);
    case DialectName::kSax:
      return MakeSax(context);
    case DialectName::kAzureContentSafety:
      return MakeContentSafety(context);
  }
  return nullptr;
}

OpenAiManners MannersOf(DialectName name) {
  OpenAiManners manners;
  switch (name) {
    case DialectName::kTgi:
      // Role and content in every delta; completions have "" before the end and usage at the end, unasked.
      manners.role = RoleDelta::kEvery;
      manners.unfinished_completion = UnfinishedReason::kEmpty;
      manners.completion_usage = UsagePlace::kLast;
      manners.errors = OpenAiErrors::kTgi;
      break;
    case DialectName::kMii:
      manners.usage = manners.completion_usage = UsagePlace::kNone;
      manners.errors = OpenAiErrors::kMii;
      manners.heeds_ignore_eos = false;
      break;
    case DialectName::kLlamaCpp:
      manners.role = RoleDelta::kNull;
      break;
    case DialectName::kOllama:
      manners.role = RoleDelta::kEvery;
      break;
    default:
      break;
  }
  return manners;
}

}  // namespace

std::string DocumentDialect::Probe(const Answer& answer, std::string_view text,
                                   std::string_view* /*name*/) const {
  std::string body = "{\"id\":";
  AppendJsonString(answer.id, &body);
  body += ",\"text\":\"";
  body += text;
  body += "\"}";
  return body;
}

std::vector<DialectPointer> MakeDialects(const DialectContext& context) {
  std::vector<DialectPointer> dialects;
  if (DialectPointer native = MakeNative(context); native != nullptr) dialects.push_back(std::move(native));
  dialects.push_back(std::make_unique<OpenAiDialect>(context, MannersOf(context.options.dialect)));
  dialects.push_back(MakeResponses(context));
  dialects.push_back(MakeMessages(context));
  return dialects;
}

}  // namespace llmbench::sim
