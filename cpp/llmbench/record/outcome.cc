#include "llmbench/record/outcome.h"

#include <array>
#include <cstddef>

namespace llmbench {
namespace {

constexpr std::array<std::string_view, static_cast<size_t>(Outcome::kCount)> kNames = {
    "ok",
    "cut",
    "dns",
    "connect_refused",
    "timeout_connect",
    "tls_verify",
    "tls_expired",
    "tls_handshake",
    "tls_client_cert",
    "client_limit",
    "empty_reply",
    "reset_before_headers",
    "reset_mid_stream",
    "truncated",
    "truncated_no_done",
    "timeout_send",
    "timeout_first_byte",
    "timeout_idle",
    "timeout_total",
    "protocol",
    "header_too_large",
    "http_status",
    "http_4xx",
    "http_429",
    "http_503",
    "http_5xx",
    "redirect",
    "content_type",
    "content_encoding",
    "empty_stream",
    "event_too_large",
    "sse_json_invalid",
    "bad_event",
    "schema",
    "server_error_event",
};
static_assert(!kNames.back().empty(), "a name is missing");

}  // namespace

std::string_view OutcomeName(Outcome outcome) {
  const auto index = static_cast<size_t>(outcome);
  return index < kNames.size() ? kNames[index] : std::string_view("unknown");
}

std::optional<Outcome> OutcomeFromName(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<Outcome>(i);
  }
  return std::nullopt;
}

}  // namespace llmbench
