// The answer formats llmbench reads, by name or by rules of one's own.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "llmbench/wire/field_plan.h"
#include "llmbench/wire/wire_rules.h"

namespace llmbench::wire {

// A cheap value: copies share what never changes.
class WireFormat {
 public:
  // Which decoder reads it.
  enum class Decoding : uint8_t { kRules, kOpenAiCompletions, kOpenAiChat, kFastGenGrpc };

  // One of Names(), with some of its rules replaced when `rules` (a JSON object, see ParseWireRules) is not
  // "". "template" is nothing but its rules.
  static absl::StatusOr<WireFormat> Named(std::string_view name, std::string_view rules = {});
  static absl::StatusOr<WireFormat> FromRules(std::string_view json) { return Named("template", json); }
  static WireFormat OpenAiCompletions();
  static WireFormat OpenAiChat();

  static const std::vector<std::string>& Names();  // "template" is the last

  std::string_view name() const { return definition_->name; }
  Decoding decoding() const { return definition_->decoding; }
  const WireRules& rules() const { return definition_->rules; }
  const FieldPlan& event_plan() const { return definition_->event; }
  const FieldPlan& document_plan() const { return definition_->document; }

  // For tables: where exact output counts come from ("usage", "cumulative", "token_ids" or "none"), whether
  // answers give finish reasons, and what ends a stream.
  std::string_view counts() const;
  bool finish_reasons() const;
  std::string end() const;

 private:
  struct Definition {
    std::string name;
    Decoding decoding = Decoding::kRules;
    WireRules rules;
    FieldPlan event, document;
  };
  explicit WireFormat(std::shared_ptr<const Definition> definition) : definition_(std::move(definition)) {}

  std::shared_ptr<const Definition> definition_;
};

}  // namespace llmbench::wire
