#include "llmbench/wire/wire_format.h"

#include <utility>

#include "llmbench/base/return_if_error.h"
#include "llmbench/wire/named_formats.h"

namespace llmbench::wire {

absl::StatusOr<WireFormat> WireFormat::Named(std::string_view name, std::string_view rules) {
  const bool of_ones_own = name == "template";
  auto definition = std::make_shared<Definition>();
  definition->name = name;
  std::string_view own_rules;
  if (!of_ones_own) {
    const NamedFormat* const named = FindNamedFormat(name);
    if (named == nullptr) {
      std::string known;
      for (const std::string& one : Names()) known += (known.empty() ? "" : ", ") + one;
      return absl::InvalidArgumentError("wire format is '" + std::string(name) + "'; it must be one of " +
                                        known);
    }
    definition->decoding = named->decoding;
    own_rules = named->rules;
  } else if (rules.empty()) {
    return absl::InvalidArgumentError("wire format 'template' needs rules: at least where the text is");
  }
  if (!own_rules.empty()) {
    auto parsed = ParseWireRules(own_rules);
    LLMBENCH_RETURN_IF_ERROR(parsed.status());
    definition->rules = *std::move(parsed);
  }
  if (!rules.empty()) {
    if (definition->decoding != Decoding::kRules && rules != "{}") {
      return absl::InvalidArgumentError("wire format '" + std::string(name) +
                                        "' has no rules to replace; use 'template' with rules of your own");
    }
    auto parsed = ParseWireRules(rules, std::move(definition->rules));
    LLMBENCH_RETURN_IF_ERROR(parsed.status());
    definition->rules = *std::move(parsed);
  }
  WireRules& all = definition->rules;
  if (definition->decoding == Decoding::kFastGenGrpc) all.framing = StreamFraming::kGrpc;
  if (all.done_payloads.empty() && all.done_if.empty() && !all.done_at_end) {
    if (all.framing == StreamFraming::kSse) {
      all.done_payloads = {"[DONE]"};
    } else {
      all.done_at_end = true;
    }
  }
  if (of_ones_own && all.event.expect.empty() && all.document.expect.empty() &&
      all.event[Field::kText].empty() && all.document[Field::kText].empty()) {
    return absl::InvalidArgumentError(
        "wire rules name no text; say where it is, as in {\"text\": \"/choices/0/text\"}, or with expect "
        "what "
        "an answer without text holds");
  }
  auto event = FieldPlan::Compile(all.event, all, false);
  LLMBENCH_RETURN_IF_ERROR(event.status());
  definition->event = *std::move(event);
  auto document = FieldPlan::Compile(all.document, all, true);
  LLMBENCH_RETURN_IF_ERROR(document.status());
  definition->document = *std::move(document);
  return WireFormat(std::move(definition));
}

WireFormat WireFormat::OpenAiCompletions() { return *Named("openai-completions"); }
WireFormat WireFormat::OpenAiChat() { return *Named("openai-chat"); }

const std::vector<std::string>& WireFormat::Names() {
  static const auto* const names = [] {
    auto* all = new std::vector<std::string>;
    for (const NamedFormat& format : NamedFormats()) all->emplace_back(format.name);
    all->emplace_back("template");
    return all;
  }();
  return *names;
}

std::string_view WireFormat::counts() const {
  if (decoding() == Decoding::kFastGenGrpc) return "cumulative";
  if (decoding() != Decoding::kRules) return "usage";
  const auto known = [this](Field field) {
    return !rules().event[field].empty() || !rules().document[field].empty();
  };
  if (known(Field::kOutputTokens)) return rules().count_mode == CountMode::kFinal ? "usage" : "cumulative";
  return known(Field::kTokenIds) ? "token_ids" : "none";
}

bool WireFormat::finish_reasons() const {
  return decoding() != Decoding::kRules || !rules().event[Field::kFinishReason].empty() ||
         !rules().document[Field::kFinishReason].empty();
}

std::string WireFormat::end() const {
  if (rules().framing == StreamFraming::kNone) return "the end of the body";
  if (rules().framing == StreamFraming::kGrpc) return "the grpc-status";
  for (const Conditions& group : rules().done_if) {
    std::string text;
    for (const Condition& condition : group) {
      text += (text.empty() ? "" : " and ") + condition.pointer;
      for (size_t i = 0; i < condition.values.size(); ++i)
        text += (i == 0 ? "=" : " or ") + condition.values[i];
    }
    return text;
  }
  return rules().done_payloads.empty() ? "the end of the body" : rules().done_payloads.front();
}

}  // namespace llmbench::wire
