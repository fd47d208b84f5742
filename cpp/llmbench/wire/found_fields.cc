#include "llmbench/wire/found_fields.h"

#include <charconv>
#include <limits>

#include "llmbench/wire/json_token.h"

namespace llmbench::wire {

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

bool FoundFields::AsExpected() const {
  return plan_.expect().empty() ||
         std::any_of(plan_.expect().begin(), plan_.expect().end(), [this](const FieldPlan::Place& place) {
           return Has(place.target) && (place.when.empty() || Holds(place.when));
         });
}

}  // namespace llmbench::wire
