#include "llmbench/wire/found_fields.h"

#include <charconv>
#include <limits>

#include "llmbench/wire/json_token.h"

namespace llmbench::wire {
namespace {

// The token without what follows a number or a word.
std::string_view Scalar(std::string_view token) {
  if (token[0] == '"') return token.substr(0, token.rfind('"') + 1);
  const size_t end = std::min(token.find_first_of(",]} \t\r\n"), token.size());
  return token.substr(0, end);
}

}  // namespace

bool IsKind(std::string_view token, ValueKind kind) {
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

int32_t ToCount(std::string_view token) {
  token = Scalar(token);
  if (token[0] == '"') token = Inside(token);
  double number = -1;
  const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), number);
  if (error == std::errc::result_out_of_range)
    return token.starts_with('-') ? -1 : std::numeric_limits<int32_t>::max();
  if (error != std::errc() || end != token.data() + token.size() || !(number >= 0)) return -1;
  return static_cast<int32_t>(std::min<double>(number, std::numeric_limits<int32_t>::max()));
}

bool FoundFields::Holds(const FieldPlan::Test& test, const FieldCapture* beside) const {
  if (!Has(test.target)) return false;
  for (const FieldCapture& capture : captures_) {
    if (capture.target != test.target) continue;
    if (beside != nullptr &&
        !std::equal(capture.at.begin(), capture.at.begin() + test.shared, beside->at.begin())) {
      continue;
    }
    const std::string_view value = Scalar(capture.token);
    if (test.values.empty() ? value[0] != 'n'
                            : std::find(test.values.begin(), test.values.end(), value) != test.values.end()) {
      return true;
    }
  }
  return false;
}

bool FoundFields::AsExpected() const {
  return plan_.expect().empty() ||
         std::any_of(plan_.expect().begin(), plan_.expect().end(), [this](const FieldPlan::Place& place) {
           return Has(place.target) && (place.when.empty() || Holds(place.when));
         });
}

}  // namespace llmbench::wire
