#include "llmbench/wire/field_decoder.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "llmbench/wire/escape.h"
#include "llmbench/wire/field_walk.h"
#include "llmbench/wire/found_fields.h"
#include "llmbench/wire/guess_format.h"
#include "llmbench/wire/json_scratch.h"
#include "llmbench/wire/json_token.h"
#include "llmbench/wire/output_text.h"
#include "llmbench/wire/server_error.h"
#include "llmbench/wire/token_counts.h"

namespace llmbench::wire {
namespace {

using simdjson::error_code;
using simdjson::SUCCESS;

constexpr std::string_view kDone = "[DONE]";  // whatever a format's own end is, nothing else is meant by it

class FieldDecoder final : public StreamDecoder {
 public:
  FieldDecoder(const WireFormat& format, std::shared_ptr<JsonScratch> scratch)
      : format_(format),
        rules_(format_.rules()),
        scratch_(std::move(scratch)),
        counts_(rules_.count_mode),
        text_(rules_) {
    captures_.reserve(32);
  }

  void Reset(std::string_view prompt) override {
    text_.Reset(prompt);
    counts_.Reset();
    payload_done_ = false;
  }

  StreamEvent Decode(std::string_view payload, Answer& answer) override {
    payload = TrimSpace(payload);
    if (payload.empty()) return {};
    if (IsDonePayload(payload)) {
      // Formats that end with an event of their own are often followed by this one.
      if (payload_done_) answer.done_order = true;
      payload_done_ = answer.done = true;
      return {};
    }
    if (answer.done) {
      answer.done_order = true;
      return {};
    }
    return Read(payload, format_.event_plan(), answer, /*streamed=*/true);
  }

  void DecodeError(std::string_view payload, Answer& answer) override {
    FailWithServerError(*scratch_, payload, answer);
  }

  bool IsWhole(std::string_view payload) override {
    payload = TrimSpace(payload);
    return IsDonePayload(payload) || scratch_->IsWhole(payload);
  }

  StreamEvent DecodeDocument(std::string_view body, Answer& answer) override {
    return Read(TrimSpace(body), format_.document_plan(), answer, /*streamed=*/false);
  }

 private:
  bool IsDonePayload(std::string_view payload) const {
    return payload == kDone || std::find(rules_.done_payloads.begin(), rules_.done_payloads.end(), payload) !=
                                   rules_.done_payloads.end();
  }

  StreamEvent Read(std::string_view json, const FieldPlan& plan, Answer& answer, bool streamed) {
    simdjson::ondemand::document document;
    FieldWalk walk;
    walk.error = scratch_->Iterate(json, document);
    if (!walk.error) walk = WalkFields(json, document, plan, captures_);
    if (walk.error) {
      FailJson(json, walk.error, answer);
      return {};
    }
    const FoundFields found(plan, captures_, walk.seen);
    if (const FieldPlan::Place* const place =
            found.ForEach(Field::kError, ValueKind::kError, nullptr, [](auto&) {})) {
      std::string message = ServerErrorMessageAt(*scratch_, json, place->pointer);
      answer.Fail(WireError::kServerErrorEvent, message.empty() ? json : message);
      return {};
    }
    if (!found.AsExpected()) {
      if (streamed && walk.empty) return {};  // says nothing at all
      FailSchema(json, Missing(plan), answer);
      return {};
    }
    text_.Begin(answer);
    const StreamEvent event = Interpret(json, plan, found, streamed, answer);
    if (answer.error != WireError::kNone) text_.Undo(answer);
    if (streamed && found.AnyHolds(plan.done_if())) answer.done = true;
    return event;
  }

  StreamEvent Interpret(std::string_view json, const FieldPlan& plan, const FoundFields& found, bool streamed,
                        Answer& answer) {
    StreamEvent event;
    const FieldCapture* wrong = nullptr;
    const char* wanted = "a string";
    bool valid = true;  // the escapes
    const auto strings = [&](Field field, ValueKind kind, auto&& use) {
      if (plan.places(field).empty()) return;
      const FieldCapture* other = nullptr;
      found.ForEach(field, kind, &other, use);
      if (other != nullptr) wrong = other;
    };

    size_t sequence = 0;
    found.ForEach(Field::kIndex, ValueKind::kCount, nullptr, [&](const FieldCapture& capture) {
      sequence = static_cast<size_t>(std::max(0, ToCount(capture.token)));
    });
    bool finished = false;
    strings(Field::kFinishReason, ValueKind::kString, [&](const FieldCapture& capture) {
      if (IsText(capture.token)) {
        finished = true;
        KeepFinishReason(Inside(capture.token), answer);
      }
    });
    if (!found.AnyHolds(plan.skip_if())) {
      strings(Field::kReasoning, ValueKind::kString, [&](const FieldCapture& capture) {
        if (IsText(capture.token)) event.kind = EventKind::kReasoning;
      });
      strings(Field::kTool, ValueKind::kTool, [&](const FieldCapture& capture) {
        if (capture.token[0] == '{' || IsText(capture.token)) event.kind = EventKind::kTool;
      });
      size_t ordinal = 0;
      strings(Field::kText, ValueKind::kString, [&](const FieldCapture& capture) {
        if (text_.Append(sequence + ordinal++, Inside(capture.token), streamed, answer, valid)) {
          event.kind = EventKind::kAnswer;
        }
      });
    }
    if (wrong == nullptr) {
      event.tokens = counts_.Keep(found, sequence, streamed, event.kind, answer, wrong);
      wanted = "a number";
    }
    if (wrong != nullptr) {
      FailSchema(json,
                 std::string(plan.pointer(wrong->target)) + ": expected " + wanted + ", got " +
                     TypeName(wrong->token[0]),
                 answer);
      return {};
    }
    if (!valid) {
      FailJson(json, simdjson::STRING_ERROR, answer);
      return {};
    }
    // A token of the finish event without text is the end of sequence: not output.
    if (streamed && event.kind == EventKind::kNone && (finished || found.AnyHolds(plan.done_if()))) {
      event.tokens = 0;
    }
    return event;
  }

  static void KeepFinishReason(std::string_view reason, Answer& answer) {
    const size_t size = std::min(reason.size(), sizeof answer.finish_reason - 1);
    std::memcpy(answer.finish_reason, reason.data(), size);
    std::memset(answer.finish_reason + size, 0, sizeof answer.finish_reason - size);
  }

  static std::string Missing(const FieldPlan& plan) {
    std::string places;
    const auto& expect = plan.expect();
    for (size_t i = 0; i < std::min<size_t>(expect.size(), 4); ++i) {
      places += (i == 0 ? "" : " or ") + expect[i].pointer;
    }
    return places + (expect.size() > 4 ? " …: missing" : ": missing");
  }

  // JSON that is none.
  void FailJson(std::string_view json, error_code error, Answer& answer) {
    // Error texts are not always escaped.
    std::string start;
    for (const char c : json.substr(0, 16)) {
      if (c != ' ') start += c;
    }
    if (start.starts_with("{\"error\"")) {
      const std::string message = ServerErrorMessage(*scratch_, json);
      answer.Fail(WireError::kServerErrorEvent, message.empty() ? json : message);
      return;
    }
    const std::string where = ": " + Quote(json);
    if (error == simdjson::INCORRECT_TYPE) {  // by its first character: it may be no JSON at all
      simdjson::dom::element root;
      error = scratch_->Parse(json, root);
      if (error == SUCCESS) error = simdjson::INCORRECT_TYPE;
    }
    if (error == simdjson::INCORRECT_TYPE) {
      answer.Fail(WireError::kSchema, "expected an object" + where);
    } else if (error == simdjson::UTF8_ERROR) {
      answer.Fail(WireError::kSseJsonInvalid, "invalid UTF-8" + where);
    } else {
      answer.Fail(WireError::kBadEvent, simdjson::error_message(error) + where);
    }
  }

  // An error the server reports wins over a shape that is wrong, and so does JSON that is none where the walk
  // did not look. A lone surrogate somewhere in it is neither.
  void FailSchema(std::string_view json, const std::string& wrong, Answer& answer) {
    if (const std::string message = ServerErrorMessage(*scratch_, json); !message.empty()) {
      answer.Fail(WireError::kServerErrorEvent, message);
      return;
    }
    simdjson::dom::element root;
    const error_code error = scratch_->Parse(json, root);
    if (error != SUCCESS && error != simdjson::STRING_ERROR) {
      FailJson(json, error, answer);
    } else {
      answer.Fail(WireError::kSchema, wrong + ": " + Quote(json) + LooksLike(json, format_.name()));
    }
  }

  const WireFormat format_;
  const WireRules& rules_;
  const std::shared_ptr<JsonScratch> scratch_;
  std::vector<FieldCapture> captures_;
  TokenCounts counts_;
  OutputText text_;
  bool payload_done_ = false;  // the terminal event came that is a mere payload
};

}  // namespace

std::unique_ptr<StreamDecoder> MakeFieldDecoder(const WireFormat& format,
                                                std::shared_ptr<JsonScratch> scratch) {
  return std::make_unique<FieldDecoder>(format, std::move(scratch));
}

}  // namespace llmbench::wire
