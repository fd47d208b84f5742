#include "llmbench/sim/service.h"

#include <cstdlib>

#include "llmbench/base/return_if_error.h"

namespace llmbench::sim {

absl::StatusOr<std::unique_ptr<Service>> Service::Make(Options options) {
  LLMBENCH_RETURN_IF_ERROR(Validate(options));
  auto service = std::make_unique<Service>();
  absl::StatusOr<Deployment> deployment = Deploy(options);
  if (!deployment.ok()) return deployment.status();
  service->deployment = *std::move(deployment);
  absl::StatusOr<FaultPlan> faults = FaultPlan::Parse(options.faults);
  if (!faults.ok()) return faults.status();
  service->faults = *std::move(faults);
  if (!options.idle_close_ms.empty())
    LLMBENCH_RETURN_IF_ERROR(ParseRange(options.idle_close_ms, &service->idle_close_ms));
  if (!options.api_key_env.empty()) {
    const char* key = std::getenv(options.api_key_env.c_str());
    if (key == nullptr || *key == '\0') {
      return absl::InvalidArgumentError("sim option 'api_key_env' is '" + options.api_key_env +
                                        "', but there is no such environment variable; set it to the key.");
    }
    service->api_key = key;
  }
  if (!options.tls_cert.empty()) {
    auto tls = TlsContext::Load(options.tls_cert, options.tls_key);
    if (!tls.ok()) return tls.status();
    service->tls = *std::move(tls);
  }
  service->options = std::move(options);
  service->text = std::make_unique<AnswerText>(service->options.text);
  service->dialects = MakeDialects({service->options, service->deployment, *service->text});
  return service;
}

}  // namespace llmbench::sim
