// One pass over the JSON of an event or a document by a plan (field_plan.h): every value that one of the
// plan's pointers leads to.
#pragma once

#include <simdjson.h>

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "llmbench/wire/field_plan.h"

namespace llmbench::wire {

// A value that a pointer of the rules leads to.
struct FieldCapture {
  std::string_view token;  // from its first character to the next value's, or to the end
  int32_t elements;        // of an array whose size was asked for, else -1
  uint8_t target;
  std::array<uint32_t, FieldPlan::kMaxDepth> at;  // elements that `-` stood for
};

class FieldWalk {
 public:
  // `captures` is emptied and then filled; it is the caller's so that its memory is kept.
  FieldWalk(std::string_view json, const FieldPlan& plan, std::vector<FieldCapture>& captures)
      : end_(json.data() + json.size()), plan_(plan), captures_(captures) {
    captures_.clear();
  }

  // INCORRECT_TYPE where the root is no object and no array. What no pointer leads to is skipped unread: that
  // a walk succeeds does not make the JSON valid.
  simdjson::error_code Root(simdjson::ondemand::document& document);

  uint64_t seen() const { return seen_; }  // a bit for each target that has a capture
  bool empty() const { return !any_; }     // the root holds nothing

 private:
  simdjson::error_code Members(simdjson::ondemand::object object, const FieldPlan::Node& node, size_t depth);
  simdjson::error_code Elements(simdjson::ondemand::array array, const FieldPlan::Node& node, size_t depth);
  simdjson::error_code Value(simdjson::ondemand::value value, const FieldPlan::Node& node, size_t depth);

  const char* const end_;  // keys may be long; the padding behind the document is not
  const FieldPlan& plan_;
  std::vector<FieldCapture>& captures_;
  std::array<uint32_t, FieldPlan::kMaxDepth> at_{};
  uint64_t seen_ = 0;
  bool any_ = false;
};

}  // namespace llmbench::wire
