#include "llmbench/wire/field_plan.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "llmbench/base/return_if_error.h"

namespace llmbench::wire {
namespace {

// The keys of a pointer, still with ~0 and ~1 in them.
std::vector<std::string_view> Split(std::string_view pointer) {
  std::vector<std::string_view> keys;
  while (!pointer.empty()) {
    pointer.remove_prefix(1);
    const size_t end = std::min(pointer.find('/'), pointer.size());
    keys.push_back(pointer.substr(0, end));
    pointer.remove_prefix(end);
  }
  return keys;
}

std::string Unescape(std::string_view key) {
  std::string plain;
  for (size_t i = 0; i < key.size(); ++i) {
    if (key[i] == '~' && i + 1 < key.size()) {
      plain += key[++i] == '0' ? '~' : '/';
    } else {
      plain += key[i];
    }
  }
  return plain;
}

// A key as it stands in JSON text, closing quote and all.
std::string AsWritten(std::string_view key) {
  std::string written;
  for (const char c : key) {
    if (c == '"' || c == '\\') written += '\\';
    written += c;
  }
  return written + '"';
}

int64_t AsIndex(std::string_view key) {
  int64_t index = -1;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
  return error == std::errc() && end == key.data() + key.size() && index >= 0 ? index : -1;
}

// How many `-` two pointers share from the root on.
uint8_t SharedEvery(std::string_view a, std::string_view b) {
  const auto keys_a = Split(a), keys_b = Split(b);
  uint8_t shared = 0;
  for (size_t i = 0; i < std::min(keys_a.size(), keys_b.size()) && keys_a[i] == keys_b[i]; ++i) {
    shared = static_cast<uint8_t>(shared + (keys_a[i] == "-"));
  }
  return shared;
}

}  // namespace

absl::StatusOr<uint8_t> FieldPlan::AddTarget(std::string_view pointer, bool count_elements) {
  size_t node = 0, depth = 0;
  for (const std::string_view key : Split(pointer)) {
    if (key == "-") {
      ++depth;
      if (nodes_[node].every < 0) {
        nodes_[node].every = static_cast<int32_t>(nodes_.size());
        nodes_.emplace_back();
      }
      node = static_cast<size_t>(nodes_[node].every);
      continue;
    }
    const std::string plain = Unescape(key), written = AsWritten(plain);
    auto& children = nodes_[node].children;
    const auto child =
        std::find_if(children.begin(), children.end(), [&](const Child& c) { return c.key == written; });
    if (child != children.end()) {
      node = child->node;
    } else {
      const auto added = static_cast<uint16_t>(nodes_.size());
      children.push_back({written, AsIndex(plain), added});
      nodes_.emplace_back();
      node = added;
    }
  }
  if (depth > kMaxDepth) {
    return absl::InvalidArgumentError("the pointer " + std::string(pointer) + " has more than " +
                                      std::to_string(kMaxDepth) + " `-`");
  }
  if (nodes_[node].target < 0) {
    if (pointers_.size() == kMaxTargets) {
      return absl::InvalidArgumentError("the wire rules have more than " + std::to_string(kMaxTargets) +
                                        " different pointers");
    }
    nodes_[node].target = static_cast<int32_t>(pointers_.size());
    pointers_.emplace_back(pointer);
  }
  nodes_[node].count_elements |= count_elements;
  return static_cast<uint8_t>(nodes_[node].target);
}

absl::StatusOr<FieldPlan::Tests> FieldPlan::AddTests(const Conditions& conditions, std::string_view place) {
  Tests tests;
  for (const Condition& condition : conditions) {
    auto target = AddTarget(condition.pointer, false);
    LLMBENCH_RETURN_IF_ERROR(target.status());
    tests.push_back({*target, SharedEvery(condition.pointer, place), condition.values});
  }
  return tests;
}

absl::StatusOr<FieldPlan::Place> FieldPlan::AddPlace(const FieldRule& rule, bool count_elements) {
  auto target = AddTarget(rule.pointer, count_elements);
  LLMBENCH_RETURN_IF_ERROR(target.status());
  auto when = AddTests(rule.when, rule.pointer);
  LLMBENCH_RETURN_IF_ERROR(when.status());
  const auto keys = Split(rule.pointer);
  return Place{*target, std::find(keys.begin(), keys.end(), "-") != keys.end(), rule.pointer,
               *std::move(when)};
}

absl::Status FieldPlan::AddGroups(const std::vector<Conditions>& groups, std::vector<Tests>& out) {
  for (const Conditions& group : groups) {
    auto tests = AddTests(group, "");
    LLMBENCH_RETURN_IF_ERROR(tests.status());
    out.push_back(*std::move(tests));
  }
  return absl::OkStatus();
}

absl::StatusOr<FieldPlan> FieldPlan::Compile(const FieldRules& rules, const WireRules& format,
                                             bool defaults_to_text) {
  FieldPlan plan;
  for (size_t field = 0; field < kFields; ++field) {
    const bool counts = field == static_cast<size_t>(Field::kTokenIds);
    std::vector<FieldRule> places = rules.places[field];
    if (field == static_cast<size_t>(Field::kError) && places.empty()) {
      places = {{"/error", {}}, {"/message", {{"/object", {"\"error\""}}}}};
    }
    for (const FieldRule& rule : places) {
      auto place = plan.AddPlace(rule, counts);
      LLMBENCH_RETURN_IF_ERROR(place.status());
      plan.places_[field].push_back(*std::move(place));
    }
  }
  for (const FieldRule& rule : rules.expect) {
    auto place = plan.AddPlace(rule, false);
    LLMBENCH_RETURN_IF_ERROR(place.status());
    plan.expect_.push_back(*std::move(place));
  }
  if (rules.expect.empty()) {
    for (size_t field = 0; field < kFields; ++field) {
      const auto name = static_cast<Field>(field);
      if (name == Field::kError || name == Field::kIndex) continue;
      if (defaults_to_text && name != Field::kText && name != Field::kReasoning && name != Field::kTool)
        continue;
      for (const Place& place : plan.places_[field])
        plan.expect_.push_back({place.target, place.every, place.pointer, {}});
    }
  }
  LLMBENCH_RETURN_IF_ERROR(plan.AddGroups(format.skip_if, plan.skip_if_));
  if (!defaults_to_text) LLMBENCH_RETURN_IF_ERROR(plan.AddGroups(format.done_if, plan.done_if_));
  LLMBENCH_RETURN_IF_ERROR(plan.CheckElements());
  return plan;
}

absl::Status FieldPlan::CheckElements() const {
  for (const Node& node : nodes_) {
    const bool numbered = std::any_of(node.children.begin(), node.children.end(),
                                      [](const Child& child) { return child.index >= 0; });
    if (node.every >= 0 && numbered) {
      return absl::InvalidArgumentError(
          "two pointers of the wire rules name elements of the same array, one by `-` and one by number; use "
          "`-` in both");
    }
  }
  return absl::OkStatus();
}

}  // namespace llmbench::wire
