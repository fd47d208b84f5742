// How a request ended. This is the only list of failure names; docs/faults.md says what each means to a user.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace llmbench {

enum class Outcome : uint8_t {
  kOk = 0,
  kCut,  // still running when the run's time and drain were over: not a failure
  // Before a connection stood.
  kDns,
  kConnectRefused,
  kTimeoutConnect,
  kTlsVerify,
  kTlsExpired,
  kTlsHandshake,
  kTlsClientCert,
  kClientLimit,  // file descriptors or ports of this machine ran out
  // The connection failed the exchange.
  kEmptyReply,
  kResetBeforeHeaders,
  kResetMidStream,
  kTruncated,
  kTruncatedNoDone,
  kTimeoutSend,
  kTimeoutFirstByte,
  kTimeoutIdle,
  kTimeoutTotal,
  // The answer was not what was asked for.
  kProtocol,
  kHeaderTooLarge,
  kHttpStatus,
  kHttp4xx,
  kHttp429,
  kHttp503,
  kHttp5xx,
  kRedirect,
  kContentType,
  kContentEncoding,
  kEmptyStream,
  kEventTooLarge,
  kSseJsonInvalid,
  kBadEvent,
  kSchema,
  kServerErrorEvent,
  kCount,
};

// "ok", "connect_refused", …: the text of the request table's `outcome` column.
std::string_view OutcomeName(Outcome outcome);
// The way back; nothing for a name that is not in the list.
std::optional<Outcome> OutcomeFromName(std::string_view name);

// A failure is what is neither ok nor cut.
constexpr bool IsFailure(Outcome outcome) { return outcome != Outcome::kOk && outcome != Outcome::kCut; }

}  // namespace llmbench
