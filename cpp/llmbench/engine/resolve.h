// Names become addresses once, before any worker starts; every connection of a run goes to the same ones.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace llmbench {

// Numeric addresses in the order of preference, e.g. {"127.0.0.1", "::1"}. Blocks. The error names the host.
absl::StatusOr<std::vector<std::string>> ResolveHost(const std::string& host, uint16_t port);

}  // namespace llmbench
