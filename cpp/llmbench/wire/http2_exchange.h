// One request and its response over an HTTP/2 connection of their own, from bytes to bytes: for questions to
// a server beside a run, where nothing is timed.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "llmbench/wire/http2_session.h"

namespace llmbench::wire {

class Http2Exchange final : private Http2Stream {
 public:
  // `fields` as Http2Session::Submit takes them.
  Http2Exchange(const HeaderFields& fields, std::string body);
  ~Http2Exchange() override;

  // Takes bytes from the connection.
  void Receive(std::string_view bytes);
  // The connection has ended.
  void Close();
  // What is to be sent, the connection's preface first.
  std::string TakeOutput();

  // The response's head: 0 and nothing before it came. Interim heads are left out, and so are trailers.
  int status() const { return status_; }
  const HeaderFields& fields() const { return fields_; }
  // The body that came since the last call.
  std::string TakeBody();
  // The response is whole, or will not become so.
  bool over() const { return over_; }
  // Why it will not; "" otherwise.
  const std::string& error() const { return error_; }

 private:
  void OnFields(std::string_view lines) override;
  void OnData(std::string_view bytes) override;
  void OnEnd() override;
  void OnBroken(Http2Break kind, std::string_view why) override;
  void OnFramed(size_t bytes, bool all) override;
  void Fail(std::string_view why);

  const std::string request_body_;
  int status_ = 0;
  HeaderFields fields_;
  std::string body_;
  bool over_ = false;
  std::string error_;
  Http2Session session_;  // the last: its end may still call
};

}  // namespace llmbench::wire
