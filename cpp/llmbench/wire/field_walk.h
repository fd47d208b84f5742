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

struct FieldWalk {
  simdjson::error_code error = simdjson::SUCCESS;  // INCORRECT_TYPE where the root is no object and no array
  uint64_t seen = 0;                               // a bit for each target that has a capture
  bool empty = true;                               // the root holds nothing
};

// `captures` is emptied and then filled; it is the caller's so that its memory is kept. What no pointer leads
// to is skipped unread: that a walk succeeds does not make the JSON valid.
FieldWalk WalkFields(std::string_view json, simdjson::ondemand::document& document, const FieldPlan& plan,
                     std::vector<FieldCapture>& captures);

}  // namespace llmbench::wire
