// The bytes of answers: HTTP heads, OpenAI's events and whole answers, errors. Formats only; it sends
// nothing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "llmbench/sim/answer.h"
#include "llmbench/sim/options.h"

namespace llmbench::sim {

void AppendJsonString(std::string_view text, std::string* out);  // with the quotes
void AppendNumber(int64_t value, std::string* out);

// Everything is appended to `out`. Not thread-safe: one per serving loop.
class AnswerWriter {
 public:
  // `served_model` is what answers to requests without a model name say.
  AnswerWriter(const Options& options, std::string served_model);

  // Prepares the parts that all events of the answer share. Call once, first.
  void Begin(Answer* answer);

  // Head of a streamed answer.
  void AppendStreamHead(const Answer& answer, std::string* out);
  void AppendRole(const Answer& answer, size_t choice, std::string* out);
  // One event with the tokens [first, first + count) of a choice; the finish reason rides on it when `finish`
  // is set.
  void AppendTokens(const Answer& answer, size_t choice, int64_t first, int64_t count, bool finish,
                    std::string* out);
  // The finish reason as an event without text.
  void AppendFinish(const Answer& answer, size_t choice, std::string* out);
  // What follows the last token: usage when asked for, [DONE], the end of the body, or what the answer's
  // fault makes of them.
  void AppendTail(const Answer& answer, std::string* out);
  // An event with any payload, [DONE] and broken JSON included.
  void AppendEvent(const Answer& answer, std::string_view payload, std::string* out);
  // The end of the body alone.
  void AppendEnd(const Answer& answer, std::string* out);

  // Head and body of an answer that is not streamed.
  void AppendWhole(const Answer& answer, std::string* out);

  // Any answer with a length. `extra` are whole header lines.
  void AppendReply(int status, std::string_view content_type, std::string_view body, bool closes,
                   std::string_view extra, std::string* out);
  void AppendError(const ApiError& error, bool closes, std::string_view extra, std::string* out);

  static std::string ErrorBody(const ApiError& error);

 private:
  void AppendHeadLines(int status, std::string_view content_type, std::string* out);
  void AppendUsage(const Answer& answer, std::string* out) const;
  void AppendText(const Answer& answer, size_t choice, int64_t first, int64_t count, std::string* out) const;
  void AppendTokenIds(const Answer& answer, size_t choice, int64_t first, int64_t count,
                      std::string* out) const;
  void AppendChunk(const Answer& answer, std::string_view bytes, std::string* out) const;
  void AppendModel(const Answer& answer, std::string* out) const;
  size_t WordAt(const Answer& answer, size_t choice, int64_t token) const;
  int64_t ReasoningTokens(const Answer& answer) const;

  const Options options_;
  const std::string served_model_;
  std::vector<std::string> words_;  // ready for a JSON string, a space in front of each
  std::vector<uint32_t> word_ids_;
  const char* line_end_ = "\n";
  bool comments_ = false;
  bool bom_ = false;
  bool ids_ = false;
  const char* data_ = "data: ";
  std::string payload_;  // scratch
  std::string event_;    // scratch
  int64_t date_s_ = -1;
  std::string date_;
};

}  // namespace llmbench::sim
