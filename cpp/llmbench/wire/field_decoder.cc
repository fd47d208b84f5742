#include "llmbench/wire/field_decoder.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "llmbench/wire/escape.h"
#include "llmbench/wire/guess_format.h"
#include "llmbench/wire/json_scratch.h"
#include "llmbench/wire/json_string.h"
#include "llmbench/wire/json_token.h"
#include "llmbench/wire/repeated_text.h"
#include "llmbench/wire/server_error.h"

namespace llmbench::wire {
namespace {

namespace ondemand = simdjson::ondemand;
using simdjson::error_code;
using simdjson::SUCCESS;

constexpr std::string_view kDone = "[DONE]";  // whatever a format's own end is, nothing else is meant by it
constexpr size_t kMaxSequences = 256;

// A value that a pointer of the rules leads to.
struct Capture {
  std::string_view token;  // from its first character to the next value's, or to the end
  int32_t elements;        // of an array whose size was asked for, else -1
  uint8_t target;
  std::array<uint32_t, FieldPlan::kMaxDepth> at;  // elements that `-` stood for
};

// One pass over an event or a document.
class Walk {
 public:
  Walk(std::string_view json, const FieldPlan& plan, std::vector<Capture>& captures)
      : end_(json.data() + json.size()), plan_(plan), captures_(captures) {
    captures_.clear();
  }

  error_code Root(ondemand::document& document) {
    ondemand::json_type type;
    if (const auto error = document.type().get(type)) return error;
    if (type == ondemand::json_type::object) {
      ondemand::object object;
      if (const auto error = document.get_object().get(object)) return error;
      if (const auto error = Members(object, plan_.node(0), 0)) return error;
    } else if (type == ondemand::json_type::array) {
      ondemand::array array;
      if (const auto error = document.get_array().get(array)) return error;
      if (const auto error = Elements(array, plan_.node(0), 0)) return error;
    } else {
      return simdjson::INCORRECT_TYPE;
    }
    return document.current_location().error() == simdjson::OUT_OF_BOUNDS ? SUCCESS : simdjson::TAPE_ERROR;
  }

  uint64_t seen() const { return seen_; }  // a bit for each target that has a capture
  bool empty() const { return !any_; }     // the root holds nothing

 private:
  error_code Members(ondemand::object object, const FieldPlan::Node& node, size_t depth) {
    for (auto member : object) {
      ondemand::field field;
      if (const auto error = std::move(member).get(field)) return error;
      any_ = true;
      const char* const key = field.key().raw();
      const auto left = static_cast<size_t>(end_ - key);
      for (const FieldPlan::Child& child : node.children) {
        if (child.key.size() > left || std::memcmp(key, child.key.data(), child.key.size()) != 0) continue;
        if (const auto error = Value(field.value(), plan_.node(child.node), depth)) return error;
        break;
      }
    }
    return SUCCESS;
  }

  error_code Elements(ondemand::array array, const FieldPlan::Node& node, size_t depth) {
    uint32_t index = 0;
    for (auto item : array) {
      ondemand::value value;
      if (const auto error = std::move(item).get(value)) return error;
      any_ = true;
      if (node.every >= 0) {
        at_[depth] = index;
        if (const auto error = Value(value, plan_.node(static_cast<size_t>(node.every)), depth + 1))
          return error;
      } else {
        for (const FieldPlan::Child& child : node.children) {
          if (child.index != index) continue;
          if (const auto error = Value(value, plan_.node(child.node), depth)) return error;
          break;
        }
      }
      ++index;
    }
    return SUCCESS;
  }

  error_code Value(ondemand::value value, const FieldPlan::Node& node, size_t depth) {
    const std::string_view token = value.raw_json_token();
    if (node.target >= 0) {
      captures_.push_back({token, -1, static_cast<uint8_t>(node.target), at_});
      seen_ |= uint64_t{1} << node.target;
    }
    if (token[0] == '{' && node.inner()) {
      ondemand::object object;
      if (const auto error = value.get_object().get(object)) return error;
      return Members(object, node, depth);
    }
    if (token[0] != '[' || (!node.inner() && !node.count_elements)) return SUCCESS;
    const size_t capture = captures_.size();
    ondemand::array array;
    if (const auto error = value.get_array().get(array)) return error;
    if (node.inner()) return Elements(array, node, depth);
    int32_t elements = 0;
    for (auto item : array) {
      if (const auto error = item.error()) return error;
      ++elements;
    }
    captures_[capture - 1].elements = elements;
    return SUCCESS;
  }

  const char* const end_;  // keys may be long; the padding behind the document is not
  const FieldPlan& plan_;
  std::vector<Capture>& captures_;
  std::array<uint32_t, FieldPlan::kMaxDepth> at_{};
  uint64_t seen_ = 0;
  bool any_ = false;
};

// The token without what follows a number or a word.
std::string_view Scalar(std::string_view token) {
  if (token[0] == '"') return token.substr(0, token.rfind('"') + 1);
  const size_t end = std::min(token.find_first_of(",]} \t\r\n"), token.size());
  return token.substr(0, end);
}

enum class Kind : uint8_t { kString, kTool, kCount, kTokens, kError };

// Whether a value is of the kind a field wants.
bool IsKind(std::string_view token, Kind kind) {
  switch (kind) {
    case Kind::kString:
      return token[0] == '"';
    case Kind::kTool:  // some servers send whole arguments as an object
      return token[0] == '"' || token[0] == '{';
    case Kind::kCount:
      return token[0] == '"' || token[0] == '-' || (token[0] >= '0' && token[0] <= '9');
    case Kind::kTokens:
      return true;
    case Kind::kError:
      return token[0] == '{' || token[0] == '[' || IsText(token);
  }
  return false;
}

// A count, be it in quotes as protobuf's JSON writes 64 bits; -1 when it is none.
int32_t ToCount(std::string_view token) {
  token = Scalar(token);
  if (token[0] == '"') token = Inside(token);
  double number = -1;
  const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), number);
  if (error == std::errc::result_out_of_range)
    return token.starts_with('-') ? -1 : std::numeric_limits<int32_t>::max();
  if (error != std::errc() || end != token.data() + token.size() || !(number >= 0)) return -1;
  return static_cast<int32_t>(std::min<double>(number, std::numeric_limits<int32_t>::max()));
}

// What one pass found, looked up by the rules.
class Found {
 public:
  Found(const FieldPlan& plan, const std::vector<Capture>& captures, uint64_t seen)
      : plan_(plan), captures_(captures), seen_(seen) {}

  bool Has(uint8_t target) const { return (seen_ >> target & 1) != 0; }

  bool Holds(const FieldPlan::Test& test, const Capture* beside) const {
    if (!Has(test.target)) return false;
    for (const Capture& capture : captures_) {
      if (capture.target != test.target) continue;
      if (beside != nullptr &&
          !std::equal(capture.at.begin(), capture.at.begin() + test.shared, beside->at.begin())) {
        continue;
      }
      const std::string_view value = Scalar(capture.token);
      if (test.values.empty()
              ? value[0] != 'n'
              : std::find(test.values.begin(), test.values.end(), value) != test.values.end()) {
        return true;
      }
    }
    return false;
  }

  bool Holds(const FieldPlan::Tests& tests, const Capture* beside = nullptr) const {
    return std::all_of(tests.begin(), tests.end(),
                       [&](const FieldPlan::Test& test) { return Holds(test, beside); });
  }

  bool AnyHolds(const std::vector<FieldPlan::Tests>& groups) const {
    return std::any_of(groups.begin(), groups.end(), [&](const auto& tests) { return Holds(tests); });
  }

  // Calls fn(capture) for every value of the first place that has one, and returns that place; null when none
  // has. `wrong`: gets a value of another kind when there is no right one.
  template <typename Fn>
  const FieldPlan::Place* ForEach(Field field, Kind kind, const Capture** wrong, Fn&& fn) const {
    for (const FieldPlan::Place& place : plan_.places(field)) {
      if (!Has(place.target)) continue;
      bool any = false;
      for (const Capture& capture : captures_) {
        if (capture.target != place.target || capture.token[0] == 'n') continue;
        if (!place.when.empty() && !Holds(place.when, &capture)) continue;
        if (!IsKind(capture.token, kind)) {
          if (wrong != nullptr && *wrong == nullptr) *wrong = &capture;
          continue;
        }
        any = true;
        fn(capture);
        if (!place.every) break;  // of a key twice in an object the first counts
      }
      if (any) {
        if (wrong != nullptr) *wrong = nullptr;
        return &place;
      }
    }
    return nullptr;
  }

  template <typename Fn>
  void ForAll(Field field, Fn&& fn) const {
    for (const FieldPlan::Place& place : plan_.places(field)) {
      for (const Capture& capture : captures_) {
        if (capture.target == place.target && Holds(place.when, &capture)) fn(capture);
      }
    }
  }

  bool AsExpected() const {
    return plan_.expect().empty() ||
           std::any_of(plan_.expect().begin(), plan_.expect().end(), [this](const FieldPlan::Place& place) {
             return Has(place.target) && (place.when.empty() || Holds(place.when));
           });
  }

 private:
  const FieldPlan& plan_;
  const std::vector<Capture>& captures_;
  const uint64_t seen_;
};

class FieldDecoder final : public StreamDecoder {
 public:
  FieldDecoder(const WireFormat& format, std::shared_ptr<JsonScratch> scratch)
      : format_(format), rules_(format_.rules()), scratch_(std::move(scratch)) {
    captures_.reserve(32);
  }

  void Reset(std::string_view prompt) override {
    prompt_ = prompt;
    for (size_t i = 0; i < used_; ++i) {
      sequences_[i].text.Reset();
      sequences_[i].counted = 0;
      sequences_[i].begun = false;
    }
    used_ = 0;
    payload_done_ = false;
    continuous_ = true;
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
    const std::string message = ServerErrorMessage(*scratch_, payload);
    answer.Fail(WireError::kServerErrorEvent, message.empty() ? payload : message);
  }

  bool IsWhole(std::string_view payload) override {
    payload = TrimSpace(payload);
    simdjson::dom::element root;
    return IsDonePayload(payload) || (!payload.empty() && scratch_->Parse(payload, root) == SUCCESS);
  }

  StreamEvent DecodeDocument(std::string_view body, Answer& answer) override {
    return Read(TrimSpace(body), format_.document_plan(), answer, /*streamed=*/false);
  }

 private:
  struct Sequence {
    RepeatedText text;
    int32_t counted = 0;  // output tokens so far, where the server counts up
    bool begun = false;   // a text came
  };

  bool IsDonePayload(std::string_view payload) const {
    return payload == kDone || std::find(rules_.done_payloads.begin(), rules_.done_payloads.end(), payload) !=
                                   rules_.done_payloads.end();
  }

  Sequence& SequenceAt(size_t i) {
    i = std::min(i, kMaxSequences - 1);
    if (i >= sequences_.size()) sequences_.resize(i + 1);
    used_ = std::max(used_, i + 1);
    return sequences_[i];
  }

  StreamEvent Read(std::string_view json, const FieldPlan& plan, Answer& answer, bool streamed) {
    ondemand::document document;
    Walk walk(json, plan, captures_);
    auto error = scratch_->Iterate(json, document);
    if (!error) error = walk.Root(document);
    if (error) {
      FailJson(json, error, answer);
      return {};
    }
    const Found found(plan, captures_, walk.seen());
    if (const FieldPlan::Place* const place =
            found.ForEach(Field::kError, Kind::kError, nullptr, [](auto&) {})) {
      std::string message = ServerErrorMessageAt(*scratch_, json, place->pointer);
      answer.Fail(WireError::kServerErrorEvent, message.empty() ? json : message);
      return {};
    }
    if (!found.AsExpected()) {
      if (streamed && walk.empty()) return {};  // says nothing at all
      FailSchema(json, Missing(plan), answer);
      return {};
    }
    const size_t text_size = answer.text != nullptr ? answer.text->size() : 0;
    replaced_ = false;
    const StreamEvent event = Interpret(json, plan, found, streamed, answer);
    if (answer.error != WireError::kNone && answer.text != nullptr) {
      if (replaced_) {
        *answer.text = before_;
      } else {
        answer.text->resize(text_size);
      }
    }
    if (streamed && found.AnyHolds(plan.done_if())) answer.done = true;
    return event;
  }

  StreamEvent Interpret(std::string_view json, const FieldPlan& plan, const Found& found, bool streamed,
                        Answer& answer) {
    StreamEvent event;
    const Capture* wrong = nullptr;
    const char* wanted = "a string";
    bool valid = true;  // the escapes
    const auto strings = [&](Field field, Kind kind, auto&& use) {
      if (plan.places(field).empty()) return;
      const Capture* other = nullptr;
      found.ForEach(field, kind, &other, use);
      if (other != nullptr) wrong = other;
    };

    size_t sequence = 0;
    found.ForEach(Field::kIndex, Kind::kCount, nullptr, [&](const Capture& capture) {
      sequence = static_cast<size_t>(std::max(0, ToCount(capture.token)));
    });
    bool finished = false;
    strings(Field::kFinishReason, Kind::kString, [&](const Capture& capture) {
      if (IsText(capture.token)) {
        finished = true;
        KeepFinishReason(Inside(capture.token), answer);
      }
    });
    if (!found.AnyHolds(plan.skip_if())) {
      strings(Field::kReasoning, Kind::kString, [&](const Capture& capture) {
        if (IsText(capture.token)) event.kind = EventKind::kReasoning;
      });
      strings(Field::kTool, Kind::kTool, [&](const Capture& capture) {
        if (capture.token[0] == '{' || IsText(capture.token)) event.kind = EventKind::kTool;
      });
      size_t ordinal = 0;
      strings(Field::kText, Kind::kString, [&](const Capture& capture) {
        if (Text(sequence + ordinal++, Inside(capture.token), streamed, answer, valid)) {
          event.kind = EventKind::kAnswer;
        }
      });
    }
    if (wrong == nullptr) {
      event.tokens = Count(found, sequence, streamed, event.kind, answer, wrong);
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

  // Keeps the counts an event gives; returns how many tokens are its own.
  uint32_t Count(const Found& found, size_t sequence, bool streamed, EventKind kind, Answer& answer,
                 const Capture*& wrong) {
    const auto count = [&](Field field) {
      int32_t total = -1;
      const Capture *other = nullptr, *no_number = nullptr;
      found.ForEach(field, Kind::kCount, &other, [&](const Capture& capture) {
        const int32_t value = ToCount(capture.token);
        if (value < 0) {
          no_number = &capture;
        } else if (total < 0 || field == Field::kOutputTokens) {
          total = Sum(total, value);
        }
      });
      if (other == nullptr) other = no_number;
      if (other != nullptr) wrong = other;
      return total;
    };
    if (const int32_t prompt = count(Field::kPromptTokens); prompt >= 0) {
      answer.prompt_tokens = prompt;
      found.ForAll(Field::kPromptTokensMore, [&](const Capture& capture) {
        if (IsKind(capture.token, Kind::kCount)) {
          answer.prompt_tokens = Sum(answer.prompt_tokens, ToCount(capture.token));
        }
      });
    }
    if (const int32_t cached = count(Field::kCachedTokens); cached >= 0) answer.cached_tokens = cached;
    if (const int32_t thought = count(Field::kReasoningTokens); thought >= 0)
      answer.reasoning_tokens = thought;

    int32_t ids = 0;
    if (found.ForEach(Field::kTokenIds, Kind::kTokens, nullptr, [&](const Capture& capture) {
          ids = Sum(ids, capture.token[0] == '[' ? std::max(0, capture.elements) : 1);
        }) != nullptr) {
      answer.token_ids = Sum(answer.token_ids, ids);
    }
    int32_t own = 0;
    const int32_t output = count(Field::kOutputTokens);
    if (output < 0) {
      // A count that comes later is then not of one event.
      if (kind != EventKind::kNone) continuous_ = false;
    } else if (!streamed || rules_.count_mode == CountMode::kFinal) {
      answer.output_tokens = output;
      if (!streamed) own = output;
    } else if (rules_.count_mode == CountMode::kPerChunk) {
      answer.output_tokens = Sum(answer.output_tokens, output);
      own = output;
    } else {
      Sequence& counting = SequenceAt(sequence);
      if (continuous_) own = std::max(0, output - counting.counted);
      // Never back: of an answer cut short the highest is the best known.
      const int32_t more = std::max(0, output - counting.counted);
      counting.counted += more;
      answer.output_tokens = Sum(answer.output_tokens, more);
    }
    return static_cast<uint32_t>(ids > 0 ? ids : own);
  }

  // A sum of counts, where -1 is none.
  static int32_t Sum(int32_t a, int32_t b) {
    const int64_t sum = static_cast<int64_t>(std::max(a, 0)) + std::max(b, 0);
    return static_cast<int32_t>(std::min<int64_t>(sum, std::numeric_limits<int32_t>::max()));
  }

  static void KeepFinishReason(std::string_view reason, Answer& answer) {
    const size_t size = std::min(reason.size(), sizeof answer.finish_reason - 1);
    std::memcpy(answer.finish_reason, reason.data(), size);
    std::memset(answer.finish_reason + size, 0, sizeof answer.finish_reason - size);
  }

  // Whether there is new text.
  bool Text(size_t which, std::string_view inside, bool streamed, Answer& answer, bool& valid) {
    const bool repeats = streamed && rules_.text_mode != TextMode::kDelta;
    const bool strips = (rules_.strip_prompt && !prompt_.empty()) || !rules_.strip_until.empty();
    if (inside.empty() && !repeats) return false;
    if (!repeats && !strips) {
      AppendText(inside, answer, valid);
      return true;
    }
    Sequence& sequence = SequenceAt(which);
    size_t not_output = 0;
    if (strips && !sequence.begun) not_output = NotOutput(inside);
    sequence.begun |= !inside.empty();
    if (!repeats) {
      inside.remove_prefix(not_output);
      AppendText(inside, answer, valid);
      return !inside.empty();
    }
    if (not_output > 0) sequence.text.Skip(inside.substr(0, not_output));
    const RepeatedText::Change change = sequence.text.Advance(inside, rules_.text_mode);
    valid &= change.valid;
    if (answer.text != nullptr) {
      answer.lone_surrogate |= change.lone_surrogate;
      if (change.dropped > 0 && !replaced_) {
        before_ = *answer.text;
        replaced_ = true;
      }
      answer.text->resize(answer.text->size() - std::min(change.dropped, answer.text->size()));
      answer.text->append(change.added);
    }
    return !change.added.empty();
  }

  // How much of a first text is the prompt, or what else comes before the answer.
  size_t NotOutput(std::string_view inside) {
    plain_.clear();
    bool lone = false;
    if (!AppendUnescaped(inside, plain_, lone)) return 0;
    if (!rules_.strip_until.empty()) {
      const size_t marker = plain_.rfind(rules_.strip_until);
      if (marker != std::string::npos) return RawSize(inside, marker + rules_.strip_until.size());
    }
    const bool repeated = rules_.strip_prompt && !prompt_.empty() && plain_.starts_with(prompt_);
    return repeated ? RawSize(inside, prompt_.size()) : 0;
  }

  static void AppendText(std::string_view inside, Answer& answer, bool& valid) {
    if (answer.text == nullptr) return;
    bool lone = false;
    valid &= AppendUnescaped(inside, *answer.text, lone);
    answer.lone_surrogate |= lone;
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

  // An error the server reports wins over a shape that is wrong.
  void FailSchema(std::string_view json, const std::string& wrong, Answer& answer) {
    if (const std::string message = ServerErrorMessage(*scratch_, json); !message.empty()) {
      answer.Fail(WireError::kServerErrorEvent, message);
    } else {
      answer.Fail(WireError::kSchema, wrong + ": " + Quote(json) + LooksLike(json, format_.name()));
    }
  }

  const WireFormat format_;
  const WireRules& rules_;
  const std::shared_ptr<JsonScratch> scratch_;
  std::vector<Capture> captures_;
  std::vector<Sequence> sequences_;
  size_t used_ = 0;  // of the sequences, by this answer
  std::string plain_;
  std::string before_;  // the answer's text before this event, where that replaced some of it
  bool replaced_ = false;
  std::string_view prompt_;
  bool payload_done_ = false;  // the terminal event came that is a mere payload
  bool continuous_ = true;     // every event with output so far had a count
};

}  // namespace

std::unique_ptr<StreamDecoder> MakeFieldDecoder(const WireFormat& format,
                                                std::shared_ptr<JsonScratch> scratch) {
  return std::make_unique<FieldDecoder>(format, std::move(scratch));
}

}  // namespace llmbench::wire
