// What one walk over an event or a document found, looked up by the rules: which place of a field counts, and
// which conditions hold.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include "llmbench/wire/field_plan.h"
#include "llmbench/wire/field_walk.h"

namespace llmbench::wire {

// What kind of value a field wants.
enum class ValueKind : uint8_t { kString, kTool, kCount, kTokens, kError };
bool IsKind(std::string_view token, ValueKind kind);

// A count, be it in quotes as protobuf's JSON writes 64 bits; -1 when the token is none. What is larger than
// an int32_t is its largest.
int32_t ToCount(std::string_view token);

// Views of a plan and of what a FieldWalk left: good until the next walk.
class FoundFields {
 public:
  FoundFields(const FieldPlan& plan, const std::vector<FieldCapture>& captures, uint64_t seen)
      : plan_(plan), captures_(captures), seen_(seen) {}

  bool Has(uint8_t target) const { return (seen_ >> target & 1) != 0; }

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
  bool Holds(const FieldPlan::Test& test, const FieldCapture* beside) const;
  bool Holds(const FieldPlan::Tests& tests, const FieldCapture* beside = nullptr) const {
    return std::all_of(tests.begin(), tests.end(),
                       [&](const FieldPlan::Test& test) { return Holds(test, beside); });
  }

  const FieldPlan& plan_;
  const std::vector<FieldCapture>& captures_;
  const uint64_t seen_;
};

}  // namespace llmbench::wire
