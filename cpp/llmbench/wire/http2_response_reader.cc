#include "llmbench/wire/http2_response_reader.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "llmbench/wire/escape.h"
#include "llmbench/wire/http2_session.h"

namespace llmbench::wire {
namespace {

// A whole number that is not negative, else -1.
int64_t Number(std::string_view text) {
  int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= 0 ? value : -1;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

}  // namespace

std::string_view GrpcStatusName(int status) {
  static constexpr std::array<std::string_view, 17> kNames = {
      "OK",        "CANCELLED",       "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
      "NOT_FOUND", "ALREADY_EXISTS",  "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
      "ABORTED",   "OUT_OF_RANGE",    "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
      "DATA_LOSS", "UNAUTHENTICATED",
  };
  return status >= 0 && static_cast<size_t>(status) < kNames.size() ? kNames[static_cast<size_t>(status)]
                                                                    : std::string_view();
}

std::string DecodeGrpcMessage(std::string_view encoded) {
  std::string message;
  for (size_t i = 0; i < encoded.size(); ++i) {
    if (encoded[i] == '%' && i + 2 < encoded.size()) {
      const int high = HexDigit(encoded[i + 1]), low = HexDigit(encoded[i + 2]);
      if (high >= 0 && low >= 0) {
        message += static_cast<char>(high << 4 | low);
        i += 2;
        continue;
      }
    }
    message += encoded[i];
  }
  return message;
}

Http2ResponseReader::Http2ResponseReader(const WireFormat& format, std::shared_ptr<JsonScratch> scratch,
                                         ReaderLimits limits)
    : body_(format, std::move(scratch), limits), grpc_(format.rules().framing == StreamFraming::kGrpc) {}

void Http2ResponseReader::Start(bool streamed, std::string* text, std::string_view prompt) {
  body_.Start(streamed, text, prompt);
  piece_ = Piece::kHeaders;
  any_bytes_ = interim_ = false;
  status_ = 0;
  for (std::string* field : {&content_type_, &content_encoding_, &location_, &error_trailer_, &grpc_status_,
                             &grpc_message_, &retry_.after, &retry_.after_ms, &retry_.date}) {
    field->clear();
  }
}

bool Http2ResponseReader::Feed(const char* data, size_t size, EventSink& sink) {
  any_bytes_ = true;
  if (body_.complete()) return body_.good();
  switch (piece_) {
    case Piece::kHeaders:
      OnFields({data, size});
      break;
    case Piece::kBody:
      body_.OnBody({data, size}, sink);
      break;
    case Piece::kEnd:
      OnEnd(sink);
      break;
  }
  return body_.good();
}

void Http2ResponseReader::OnFields(std::string_view lines) {
  bool head = false, interim = false;
  ForEachField(lines, [&](std::string_view name, std::string_view value) {
    if (interim) return;
    if (name != ":status") {
      OnField(name, value);
      return;
    }
    const auto code = static_cast<int>(std::max<int64_t>(0, Number(value)));
    interim = code / 100 == 1;
    if (interim) {
      interim_ = true;
    } else {
      status_ = code;
      head = true;
    }
  });
  if (head) OnHead();
}

void Http2ResponseReader::OnField(std::string_view name, std::string_view value) {
  if (name == "content-type") content_type_ = value;
  if (name == "content-encoding" && value != "identity") content_encoding_ = value;
  if (name == "location") location_ = value;
  if (name == "grpc-status") grpc_status_ = value;
  if (name == "grpc-message") grpc_message_ = value;
  if (name == "retry-after") retry_.after = value;
  if (name == "retry-after-ms") retry_.after_ms = value;
  if (name == "date") retry_.date = value;
  if (name.size() > 6 && name.substr(name.size() - 6) == "-error") {
    error_trailer_ = std::string(name) + ": " + std::string(value);
  }
}

void Http2ResponseReader::OnHead() {
  body_.OnHead({.status = status_,
                .content_type = content_type_,
                .content_encoding = content_encoding_,
                .location = location_});
  if (grpc_ && status_ / 100 == 2 && content_type_.substr(0, 16) != "application/grpc") {
    body_.Fail(WireError::kContentType, "the answer is " +
                                            (content_type_.empty() ? "of no stated type" : content_type_) +
                                            ", not application/grpc");
  }
}

void Http2ResponseReader::OnEnd(EventSink& sink) {
  if (!grpc_ || status_ / 100 != 2) {
    body_.OnEnd({.error = error_trailer_}, sink);
    return;
  }
  if (grpc_status_.empty()) {
    Break(WireError::kTruncated, "the stream ended without a grpc-status");
    return;
  }
  const int64_t status = Number(grpc_status_);
  if (status != 0) {
    const std::string_view name = GrpcStatusName(static_cast<int>(std::min<int64_t>(status, 99)));
    std::string what = "grpc-status " + grpc_status_;
    if (!name.empty()) what.append(" ").append(name);
    if (!grpc_message_.empty()) what += ": " + DecodeGrpcMessage(grpc_message_);
    body_.Fail(WireError::kServerErrorEvent, what);
  }
  body_.OnEnd({}, sink);
}

void Http2ResponseReader::Break(WireError error, std::string_view why) {
  any_bytes_ = any_bytes_ || error == WireError::kProtocol;
  body_.OnCut(error, why);
}

void Http2ResponseReader::Close(bool reset, EventSink&) {
  if (body_.complete()) return;
  const char* const how = reset ? "the connection was reset " : "the connection was closed ";
  const WireError error = status_ > 0  ? (reset ? WireError::kResetMidStream : WireError::kTruncated)
                          : reset      ? WireError::kResetBeforeHeaders
                          : any_bytes_ ? WireError::kTruncated
                                       : WireError::kEmptyReply;
  body_.OnCut(error, std::string(how) + (status_ > 0 ? "within the response" : "without a response"));
}

}  // namespace llmbench::wire
