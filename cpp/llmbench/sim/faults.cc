#include "llmbench/sim/faults.h"

#include <algorithm>
#include <charconv>

#include "llmbench/sim/options.h"

namespace llmbench::sim {
namespace {

struct Name {
  const char* name;
  FaultKind kind;
};

constexpr Name kNames[] = {
    {"html", FaultKind::kHtml},
    {"empty", FaultKind::kEmpty},
    {"garbage", FaultKind::kGarbage},
    {"bad-length", FaultKind::kBadLength},
    {"two-lengths", FaultKind::kTwoLengths},
    {"huge-header", FaultKind::kHugeHeader},
    {"gzip", FaultKind::kGzip},
    {"close-early", FaultKind::kCloseEarly},
    {"reset-early", FaultKind::kResetEarly},
    {"no-answer", FaultKind::kNoAnswer},
    {"not-streamed", FaultKind::kNotStreamed},
    {"error-first", FaultKind::kErrorFirst},
    {"error-mid", FaultKind::kErrorMid},
    {"bad-json", FaultKind::kBadJson},
    {"bad-utf8", FaultKind::kBadUtf8},
    {"schema", FaultKind::kSchema},
    {"huge-event", FaultKind::kHugeEvent},
    {"bad-chunk", FaultKind::kBadChunk},
    {"end-mid", FaultKind::kEndMid},
    {"eof-mid", FaultKind::kEofMid},
    {"reset-mid", FaultKind::kResetMid},
    {"stall", FaultKind::kStall},
    {"error-last", FaultKind::kErrorLast},
    {"abort", FaultKind::kAbort},
    {"no-done", FaultKind::kNoDone},
    {"double-done", FaultKind::kDoubleDone},
    {"wrong-usage", FaultKind::kWrongUsage},
    {"trailers", FaultKind::kTrailers},
    {"continues", FaultKind::kContinues},
    {"slow-head", FaultKind::kSlowHead},
    {"slow-body", FaultKind::kSlowBody},
};

template <typename Number>
bool ParseNumber(const std::string& text, Number* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

absl::StatusOr<Fault> ParseFault(const std::string& name) {
  int status = 0;
  if (ParseNumber(name, &status) && status >= 300 && status <= 999)
    return Fault{FaultKind::kStatus, status, name};
  std::string all;
  std::vector<std::string> names;
  for (const Name& entry : kNames) {
    if (name == entry.name) return Fault{entry.kind, 0, name};
    names.push_back(entry.name);
    all += std::string(", ") + entry.name;
  }
  const std::string nearest = NearestName(name, names);
  return absl::InvalidArgumentError("fault '" + name + "' is unknown" +
                                    (nearest.empty() ? "" : " (did you mean '" + nearest + "'?)") +
                                    "; the faults are a status from 300 to 999" + all + ".");
}

absl::StatusOr<FaultPlan> FaultPlan::Parse(const std::string& text) {
  FaultPlan plan;
  double sum = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t comma = std::min(text.find(',', at), text.size());
    const std::string item = text.substr(at, comma - at);
    at = comma + 1;
    const size_t equals = item.find('=');
    double probability = 0;
    if (equals == std::string::npos || !ParseNumber(item.substr(equals + 1), &probability) ||
        !(probability >= 0)) {
      return absl::InvalidArgumentError("sim option 'faults' has '" + item +
                                        "'; write KIND=PROBABILITY, as in 429=0.1.");
    }
    absl::StatusOr<Fault> fault = ParseFault(item.substr(0, equals));
    if (!fault.ok())
      return absl::InvalidArgumentError("sim option 'faults': " + std::string(fault.status().message()));
    sum += probability;
    plan.entries_.push_back({*std::move(fault), sum});
  }
  if (sum > 1 + 1e-9) {
    return absl::InvalidArgumentError("sim option 'faults' is '" + text +
                                      "'; the probabilities add up to more than 1.");
  }
  return plan;
}

Fault FaultPlan::Draw(const CounterRng& chance, uint64_t request) const {
  if (entries_.empty()) return {};
  const double u = chance.Uniform(request);
  for (const Entry& entry : entries_) {
    if (u < entry.until) return entry.fault;
  }
  return {};
}

}  // namespace llmbench::sim
