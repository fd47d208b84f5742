// The tables of a .llmbench file, version kSchemaVersion. docs/metrics.md says what the columns mean.
#pragma once

#include <array>
#include <string>
#include <string_view>

namespace llmbench {

inline constexpr int kSchemaVersion = 1;           // PRAGMA user_version
inline constexpr int kApplicationId = 0x4c4c4d42;  // PRAGMA application_id: "LLMB"

// The columns of `request`, in the file's order. Both ends go through this list by position.
enum RequestColumn : int {
  kColId,
  kColPhase,
  kColWorkload,
  kColEndpoint,
  kColModel,
  kColSession,
  kColTurn,
  kColWorker,
  kColConnection,
  kColAttempts,
  kColScheduled,
  kColSlot,
  kColConnected,
  kColSent,
  kColSendDone,
  kColFirstByte,
  kColFirstToken,
  kColFirstAnswer,
  kColLastToken,
  kColEnd,
  kColDns,
  kColConnect,
  kColTls,
  kColStatus,
  kColOutcome,
  kColFinishReason,
  kColError,
  kColPromptTokens,
  kColCachedTokens,
  kColAskedTokens,
  kColOutputTokens,
  kColReasoningTokens,
  kColTokenSource,
  kColEvents,
  kColMergedEvents,
  kColBytesIn,
  kColBytesOut,
  kColFlags,
  kRequestColumnCount,
};

struct Column {
  std::string_view name, type;
};
extern const std::array<Column, kRequestColumnCount> kRequestColumns;

// CREATE TABLE statements for an empty file.
std::string CreateTablesSql(bool with_text);
std::string InsertRequestSql();
// Every column of every request in order of id.
std::string SelectRequestsSql();

}  // namespace llmbench
