#include "llmbench/wire/field_walk.h"

#include <cstring>
#include <utility>

namespace llmbench::wire {
namespace {

namespace ondemand = simdjson::ondemand;
using simdjson::error_code;
using simdjson::SUCCESS;

class Walk {
 public:
  Walk(std::string_view json, const FieldPlan& plan, std::vector<FieldCapture>& captures)
      : end_(json.data() + json.size()), plan_(plan), captures_(captures) {
    captures_.clear();
  }

  error_code Root(ondemand::document& document) {
    ondemand::json_type type;
    if (const auto error = document.type().get(type)) return error;
    if (type == ondemand::json_type::object) {
      ondemand::object object;
      if (const auto error = document.get_object().get(object)) return error;
      if (const auto error = Members(object, plan_.node(0), 0)) return error;
    } else if (type == ondemand::json_type::array) {
      ondemand::array array;
      if (const auto error = document.get_array().get(array)) return error;
      if (const auto error = Elements(array, plan_.node(0), 0)) return error;
    } else {
      return simdjson::INCORRECT_TYPE;
    }
    return document.current_location().error() == simdjson::OUT_OF_BOUNDS ? SUCCESS : simdjson::TAPE_ERROR;
  }

  uint64_t seen() const { return seen_; }
  bool empty() const { return !any_; }

 private:
  error_code Members(ondemand::object object, const FieldPlan::Node& node, size_t depth) {
    for (auto member : object) {
      ondemand::field field;
      if (const auto error = std::move(member).get(field)) return error;
      any_ = true;
      const char* const key = field.key().raw();
      const auto left = static_cast<size_t>(end_ - key);
      for (const FieldPlan::Child& child : node.children) {
        if (child.key.size() > left || std::memcmp(key, child.key.data(), child.key.size()) != 0) continue;
        if (const auto error = Value(field.value(), plan_.node(child.node), depth)) return error;
        break;
      }
    }
    return SUCCESS;
  }

  error_code Elements(ondemand::array array, const FieldPlan::Node& node, size_t depth) {
    uint32_t index = 0;
    for (auto item : array) {
      ondemand::value value;
      if (const auto error = std::move(item).get(value)) return error;
      any_ = true;
      if (node.every >= 0) {
        at_[depth] = index;
        if (const auto error = Value(value, plan_.node(static_cast<size_t>(node.every)), depth + 1))
          return error;
      } else {
        for (const FieldPlan::Child& child : node.children) {
          if (child.index != index) continue;
          if (const auto error = Value(value, plan_.node(child.node), depth)) return error;
          break;
        }
      }
      ++index;
    }
    return SUCCESS;
  }

  error_code Value(ondemand::value value, const FieldPlan::Node& node, size_t depth) {
    const std::string_view token = value.raw_json_token();
    if (node.target >= 0) {
      captures_.push_back({token, -1, static_cast<uint8_t>(node.target), at_});
      seen_ |= uint64_t{1} << node.target;
    }
    if (token[0] == '{' && node.inner()) {
      ondemand::object object;
      if (const auto error = value.get_object().get(object)) return error;
      return Members(object, node, depth);
    }
    if (token[0] != '[' || (!node.inner() && !node.count_elements)) return SUCCESS;
    const size_t capture = captures_.size();
    ondemand::array array;
    if (const auto error = value.get_array().get(array)) return error;
    if (node.inner()) return Elements(array, node, depth);
    int32_t elements = 0;
    for (auto item : array) {
      if (const auto error = item.error()) return error;
      ++elements;
    }
    captures_[capture - 1].elements = elements;
    return SUCCESS;
  }

  const char* const end_;  // keys may be long; the padding behind the document is not
  const FieldPlan& plan_;
  std::vector<FieldCapture>& captures_;
  std::array<uint32_t, FieldPlan::kMaxDepth> at_{};
  uint64_t seen_ = 0;
  bool any_ = false;
};

}  // namespace

FieldWalk WalkFields(std::string_view json, ondemand::document& document, const FieldPlan& plan,
                     std::vector<FieldCapture>& captures) {
  Walk walk(json, plan, captures);
  const error_code error = walk.Root(document);
  return {error, walk.seen(), walk.empty()};
}

}  // namespace llmbench::wire
