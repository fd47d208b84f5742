#include "llmbench/wire/fastgen_grpc_decoder.h"

#include <simdjson.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>

#include "llmbench/wire/escape.h"

namespace llmbench::wire {
namespace {

// Walks the fields of one message.
class Fields {
 public:
  explicit Fields(std::string_view message) : rest_(message) {}

  // The next field; false at the end and when the message is no good.
  bool Next() {
    if (rest_.empty() || broken_) return false;
    uint64_t tag;
    if (!Varint(&tag)) return false;
    number_ = tag >> 3;
    wire_type_ = static_cast<int>(tag & 7);
    if (number_ == 0) return Break();
    switch (wire_type_) {
      case kVarint:
        return Varint(&value_);
      case kLength: {
        uint64_t size;
        return Varint(&size) && Take(size, &bytes_);
      }
      case kFixed64:
        return Take(8, &bytes_);
      case kFixed32:
        return Take(4, &bytes_);
      default:
        return Break();  // groups were given up long ago
    }
  }

  bool broken() const { return broken_; }
  bool IsBytes(uint64_t number) const { return number_ == number && wire_type_ == kLength; }
  bool IsNumber(uint64_t number) const { return number_ == number && wire_type_ == kVarint; }
  std::string_view bytes() const { return bytes_; }
  // A count: what does not fit is no count.
  int32_t count() const {
    return static_cast<int32_t>(
        std::clamp<int64_t>(static_cast<int64_t>(value_), 0, std::numeric_limits<int32_t>::max()));
  }

 private:
  static constexpr int kVarint = 0, kFixed64 = 1, kLength = 2, kFixed32 = 5;

  bool Break() {
    broken_ = true;
    return false;
  }

  bool Varint(uint64_t* value) {
    *value = 0;
    for (size_t i = 0; i < std::min<size_t>(10, rest_.size()); ++i) {
      const auto byte = static_cast<unsigned char>(rest_[i]);
      *value |= uint64_t{byte & 0x7fu} << (7 * i);
      if (byte < 0x80) {
        rest_.remove_prefix(i + 1);
        return true;
      }
    }
    return Break();
  }

  bool Take(uint64_t size, std::string_view* bytes) {
    if (size > rest_.size()) return Break();
    *bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }

  std::string_view rest_;
  bool broken_ = false;
  uint64_t number_ = 0;
  int wire_type_ = 0;
  uint64_t value_ = 0;
  std::string_view bytes_;
};

struct Reply {
  std::string_view text, finish_reason;
  int32_t prompt_tokens = 0;
  int32_t generated_tokens = 0;
};

// False when it is no good.
bool ReadReply(std::string_view message, Reply* reply) {
  Fields fields(message);
  while (fields.Next()) {
    if (fields.IsBytes(1)) reply->text = fields.bytes();
    if (fields.IsBytes(2)) reply->finish_reason = fields.bytes();
    if (fields.IsNumber(3)) reply->prompt_tokens = fields.count();
    if (fields.IsNumber(4)) reply->generated_tokens = fields.count();
  }
  return !fields.broken();
}

class FastGenGrpcDecoder final : public StreamDecoder {
 public:
  void Reset(std::string_view) override { counted_ = 0; }

  StreamEvent Decode(std::string_view payload, Answer& answer) override {
    const size_t text_size = answer.text != nullptr ? answer.text->size() : 0;
    StreamEvent event;
    if (DecodeReplies(payload, answer, &event)) return event;
    if (answer.text != nullptr) answer.text->resize(text_size);  // a broken message brings none
    return {};
  }

  void DecodeError(std::string_view payload, Answer& answer) override {
    answer.Fail(WireError::kContentEncoding, payload);
  }

  // A message's length says where it ends: what lacks its end is never whole.
  bool IsWhole(std::string_view) override { return false; }

  StreamEvent DecodeDocument(std::string_view body, Answer& answer) override {
    Fields fields(body);
    StreamEvent event;
    int replies = 0;
    int64_t prompt_tokens = 0, output_tokens = 0;
    bool good = true;
    while (good && fields.Next()) {
      if (!fields.IsBytes(1)) continue;
      Reply reply;
      good = Read(body, fields.bytes(), &reply, answer);
      ++replies;
      if (!reply.text.empty()) event.kind = EventKind::kAnswer;
      prompt_tokens += reply.prompt_tokens;
      output_tokens += reply.generated_tokens;
    }
    if (!good || !Check(body, fields, replies, answer)) {
      if (answer.text != nullptr) answer.text->clear();
      return {};
    }
    constexpr int64_t kMax = std::numeric_limits<int32_t>::max();
    answer.prompt_tokens = static_cast<int32_t>(std::min(prompt_tokens, kMax));
    answer.output_tokens = static_cast<int32_t>(std::min(output_tokens, kMax));
    event.tokens = static_cast<uint32_t>(answer.output_tokens);
    return event;
  }

 private:
  // The replies of one message of a stream; false when it is no good.
  bool DecodeReplies(std::string_view payload, Answer& answer, StreamEvent* event) {
    Fields fields(payload);
    int replies = 0;
    while (fields.Next()) {
      if (!fields.IsBytes(1)) continue;
      Reply reply;
      if (!Read(payload, fields.bytes(), &reply, answer)) return false;
      // The prompts of a stream are one, but nothing keeps a server from sending two pieces at once.
      ++replies;
      if (!reply.text.empty()) event->kind = EventKind::kAnswer;
      event->tokens += static_cast<uint32_t>(std::max(0, reply.generated_tokens - counted_));
      counted_ = std::max(counted_, reply.generated_tokens);
      answer.output_tokens = counted_;
      if (reply.prompt_tokens > 0) answer.prompt_tokens = reply.prompt_tokens;
    }
    return Check(payload, fields, replies, answer);
  }

  // One reply, with what every reply tells put down; false when it is no good.
  bool Read(std::string_view whole, std::string_view message, Reply* reply, Answer& answer) {
    if (!ReadReply(message, reply)) {
      return answer.Fail(WireError::kBadEvent, "the reply is no protobuf message: " + Quote(whole));
    }
    if (!simdjson::validate_utf8(reply->text.data(), reply->text.size()) ||
        !simdjson::validate_utf8(reply->finish_reason.data(), reply->finish_reason.size())) {
      return answer.Fail(WireError::kBadEvent, "invalid UTF-8: " + Quote(whole));
    }
    if (answer.text != nullptr) answer.text->append(reply->text);
    if (!reply->finish_reason.empty() && reply->finish_reason != "none" && answer.finish_reason[0] == '\0') {
      const size_t size = std::min(reply->finish_reason.size(), sizeof answer.finish_reason - 1);
      std::memcpy(answer.finish_reason, reply->finish_reason.data(), size);
      std::memset(answer.finish_reason + size, 0, sizeof answer.finish_reason - size);
    }
    return true;
  }

  static bool Check(std::string_view whole, const Fields& fields, int replies, Answer& answer) {
    if (fields.broken())
      return answer.Fail(WireError::kBadEvent, "the message is no protobuf message: " + Quote(whole));
    if (replies == 0) return answer.Fail(WireError::kSchema, "response (1): missing: " + Quote(whole));
    return true;
  }

  int32_t counted_ = 0;  // tokens generated according to the last reply
};

}  // namespace

std::unique_ptr<StreamDecoder> MakeFastGenGrpcDecoder() { return std::make_unique<FastGenGrpcDecoder>(); }

}  // namespace llmbench::wire
