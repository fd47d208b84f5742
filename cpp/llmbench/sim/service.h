// What all serving loops of a server share and none changes.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "llmbench/sim/answer_text.h"
#include "llmbench/sim/deployment.h"
#include "llmbench/sim/dialect.h"
#include "llmbench/sim/faults.h"
#include "llmbench/sim/options.h"
#include "llmbench/sim/tls.h"
#include "llmbench/sim/truth_log.h"

namespace llmbench::sim {

struct Service {
  Options options;
  Deployment deployment;
  std::unique_ptr<const AnswerText> text;
  std::vector<std::unique_ptr<const Dialect>> dialects;  // that of the option first
  FaultPlan faults;
  std::pair<double, double> idle_close_ms = {0, 0};
  std::string api_key;              // empty: none is asked for
  std::unique_ptr<TlsContext> tls;  // null: plain HTTP
  std::unique_ptr<TruthLog> truth;  // null: none is kept; takes rows from any thread

  // All but the truth log, which is opened when the server starts.
  static absl::StatusOr<std::unique_ptr<Service>> Make(Options options);
};

}  // namespace llmbench::sim
