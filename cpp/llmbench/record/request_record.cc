#include "llmbench/record/request_record.h"

namespace llmbench {

std::string_view PhaseName(Phase phase) {
  switch (phase) {
    case Phase::kWarmup:
      return "warmup";
    case Phase::kMeasure:
      return "measure";
    case Phase::kDrain:
      return "drain";
    case Phase::kCooldown:
      return "cooldown";
  }
  return "";
}

std::string_view TokenSourceName(TokenSource source) {
  switch (source) {
    case TokenSource::kNone:
      return "";
    case TokenSource::kUsage:
      return "usage";
    case TokenSource::kTokenIds:
      return "token_ids";
    case TokenSource::kTokenizer:
      return "tokenizer";
    case TokenSource::kEvents:
      return "events";
  }
  return "";
}

}  // namespace llmbench
