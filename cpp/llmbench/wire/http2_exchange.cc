#include "llmbench/wire/http2_exchange.h"

#include <charconv>
#include <utility>

namespace llmbench::wire {
namespace {

constexpr size_t kMaxHeaderBytes = 256 * 1024;

}  // namespace

Http2Exchange::Http2Exchange(const HeaderFields& fields, std::string body)
    : request_body_(std::move(body)), session_(kMaxHeaderBytes) {
  if (session_.Submit(fields, {}, request_body_, this) < 0) Fail("the request cannot be written as HTTP/2");
}

Http2Exchange::~Http2Exchange() = default;

void Http2Exchange::Receive(std::string_view bytes) {
  if (over_) return;
  const absl::Status status = session_.Receive(bytes);
  if (!status.ok()) Fail({status.message().data(), status.message().size()});
}

void Http2Exchange::Close() {
  if (!over_)
    Fail(status_ > 0 ? "the connection was closed within the response"
                     : "the connection was closed without a response");
}

std::string Http2Exchange::TakeOutput() {
  std::string out;
  session_.TakeOutput(&out);
  return out;
}

std::string Http2Exchange::TakeBody() { return std::exchange(body_, {}); }

void Http2Exchange::OnFields(std::string_view lines) {
  if (status_ > 0) return;  // trailers
  int status = 0;
  HeaderFields fields;
  ForEachField(lines, [&](std::string_view name, std::string_view value) {
    if (name == ":status") {
      std::from_chars(value.data(), value.data() + value.size(), status);
    } else {
      fields.emplace_back(name, value);
    }
  });
  if (status / 100 == 1) return;
  status_ = status;
  fields_ = std::move(fields);
}

void Http2Exchange::OnData(std::string_view bytes) { body_ += bytes; }

void Http2Exchange::OnEnd() { over_ = true; }

void Http2Exchange::OnBroken(Http2Break, std::string_view why) { Fail(why); }

void Http2Exchange::OnFramed(size_t, bool) {}

void Http2Exchange::Fail(std::string_view why) {
  if (over_) return;
  over_ = true;
  error_ = why;
}

}  // namespace llmbench::wire
