// The rules of one shape of JSON made ready for a single pass over it: a trie of keys, and what to do with
// the values it leads to.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "llmbench/wire/wire_rules.h"

namespace llmbench::wire {

class FieldPlan {
 public:
  static constexpr size_t kMaxTargets = 64;  // one bit each
  static constexpr size_t kMaxDepth = 3;     // of `-` in one pointer

  // A place's values are told apart by their target: every pointer that occurs in the rules has one.
  struct Test {
    uint8_t target;
    uint8_t shared;  // how many `-` the tested and the tested-for pointer have in common
    std::vector<std::string> values;
  };
  using Tests = std::vector<Test>;
  struct Place {
    uint8_t target;
    bool every;  // the pointer has a `-`
    std::string pointer;
    Tests when;
  };
  struct Child {
    std::string key;    // with the closing quote
    int64_t index = 0;  // the key as an array index, -1 when it is none
    uint16_t node = 0;
  };
  struct Node {
    std::vector<Child> children;
    int32_t every = -1;           // node of all elements
    int32_t target = -1;          // -1: only on the way to one
    bool count_elements = false;  // of an array only its size matters
    bool inner() const { return every >= 0 || !children.empty(); }
  };

  // `defaults_to_text`: where rules expect nothing, the places of text, reasoning and tools are expected, as
  // in a document, and not just any place.
  static absl::StatusOr<FieldPlan> Compile(const FieldRules& rules, const WireRules& format,
                                           bool defaults_to_text);

  const Node& node(size_t i) const { return nodes_[i]; }
  const std::vector<Place>& places(Field field) const { return places_[static_cast<size_t>(field)]; }
  const std::string& pointer(uint8_t target) const { return pointers_[target]; }
  const std::vector<Place>& expect() const { return expect_; }
  const std::vector<Tests>& skip_if() const { return skip_if_; }
  const std::vector<Tests>& done_if() const { return done_if_; }

 private:
  absl::StatusOr<uint8_t> AddTarget(std::string_view pointer, bool count_elements);
  absl::StatusOr<Place> AddPlace(const FieldRule& rule, bool count_elements);
  absl::StatusOr<Tests> AddTests(const Conditions& conditions, std::string_view place);
  absl::Status AddGroups(const std::vector<Conditions>& groups, std::vector<Tests>& out);
  absl::Status CheckElements() const;

  std::vector<Node> nodes_{1};
  std::vector<std::string> pointers_;  // of each target
  std::array<std::vector<Place>, kFields> places_;
  std::vector<Place> expect_;
  std::vector<Tests> skip_if_, done_if_;
};

}  // namespace llmbench::wire
