// What one walk over an event or a document found, looked up by the rules: which place of a field counts, and
// which conditions hold.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include "llmbench/wire/field_plan.h"
#include "llmbench/wire/field_walk.h"
#include "llmbench/wire/json_token.h"

namespace llmbench::wire {

// The token without what follows a number or a word.
inline std::string_view Scalar(std::string_view token) {
  if (token[0] == '"') return token.substr(0, token.rfind('"') + 1);
  const size_t end = std::min(token.find_first_of(",]} \t\r\n"), token.size());
  return token.substr(0, end);
}

// What kind of value a field wants.
enum class ValueKind : uint8_t { kString, kTool, kCount, kTokens, kError };
inline bool IsKind(std::string_view token, ValueKind kind) {
  switch (kind) {
    case ValueKind::kString:
      return token[0] == '"';
    case ValueKind::kTool:  // some servers send whole arguments as an object
      return token[0] == '"' || token[0] == '{';
    case ValueKind::kCount:
      return token[0] == '"' || token[0] == '-' || (token[0] >= '0' && token[0] <= '9');
    case ValueKind::kTokens:
      return true;
    case ValueKind::kError:
      return token[0] == '{' || token[0] == '[' || IsText(token);
  }
  return false;
}

// A count, be it in quotes as protobuf's JSON writes 64 bits; -1 when the token is none. What is larger than
// an int32_t is its largest.
int32_t ToCount(std::string_view token);

// Views of a plan and of what a FieldWalk left: good until the next walk.
class FoundFields {
 public:
  FoundFields(const FieldPlan& plan, const std::vector<FieldCapture>& captures, uint64_t seen)
      : plan_(plan), captures_(captures), seen_(seen) {}

  // Whether the plan has a place for the field at all.
  bool LooksFor(Field field) const { return !plan_.places(field).empty(); }

  // Whether the conditions of one of the groups all hold.
  bool AnyHolds(const std::vector<FieldPlan::Tests>& groups) const {
    return std::any_of(groups.begin(), groups.end(), [&](const auto& tests) { return Holds(tests); });
  }

  // Calls fn(capture) for every value of the field's first place that has one of that kind, and returns that
  // place; null when none has. `wrong`: gets a value of another kind when there is no right one.
  template <typename Fn>
  const FieldPlan::Place* ForEach(Field field, ValueKind kind, const FieldCapture** wrong, Fn&& fn) const {
    for (const FieldPlan::Place& place : plan_.places(field)) {
      if (!Has(place.target)) continue;
      bool any = false;
      for (const FieldCapture& capture : captures_) {
        if (capture.target != place.target || capture.token[0] == 'n') continue;
        if (!place.when.empty() && !Holds(place.when, &capture)) continue;
        if (!IsKind(capture.token, kind)) {
          if (wrong != nullptr && *wrong == nullptr) *wrong = &capture;
          continue;
        }
        any = true;
        fn(capture);
        if (!place.every) break;  // of a key twice in an object the first counts
      }
      if (any) {
        if (wrong != nullptr) *wrong = nullptr;
        return &place;
      }
    }
    return nullptr;
  }

  // Calls fn(capture) for every value of every place of the field.
  template <typename Fn>
  void ForAll(Field field, Fn&& fn) const {
    for (const FieldPlan::Place& place : plan_.places(field)) {
      for (const FieldCapture& capture : captures_) {
        if (capture.target == place.target && Holds(place.when, &capture)) fn(capture);
      }
    }
  }

  // Whether something is there that the plan expects.
  bool AsExpected() const;

 private:
  bool Has(uint8_t target) const { return (seen_ >> target & 1) != 0; }
  bool Holds(const FieldPlan::Test& test, const FieldCapture* beside) const {
    if (!Has(test.target)) return false;
    for (const FieldCapture& capture : captures_) {
      if (capture.target != test.target) continue;
      if (beside != nullptr &&
          !std::equal(capture.at.begin(), capture.at.begin() + test.shared, beside->at.begin())) {
        continue;
      }
      const std::string_view value = Scalar(capture.token);
      if (test.values.empty()
              ? value[0] != 'n'
              : std::find(test.values.begin(), test.values.end(), value) != test.values.end()) {
        return true;
      }
    }
    return false;
  }
  bool Holds(const FieldPlan::Tests& tests, const FieldCapture* beside = nullptr) const {
    return std::all_of(tests.begin(), tests.end(),
                       [&](const FieldPlan::Test& test) { return Holds(test, beside); });
  }

  const FieldPlan& plan_;
  const std::vector<FieldCapture>& captures_;
  const uint64_t seen_;
};

}  // namespace llmbench::wire
