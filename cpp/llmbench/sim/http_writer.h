// How an answer stands on its connection: the head, the pieces of a body, its end. Formats only.
//
// An answer names its writer (Answer::http), so that answers that share a connection, or come over another
// version of HTTP, can be put differently.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "llmbench/sim/answer.h"
#include "llmbench/sim/options.h"

namespace llmbench::sim {

// A reply as a dialect words it.
struct ServerReply {
  int status = 200;
  std::string content_type = "application/json";  // empty: none
  std::string body;
  std::string extra;  // whole header lines, each with its line end
};

// "Not Found"
const char* ReasonPhrase(int status);
// "Mon, 23 Nov 2026 20:19:54 GMT"
std::string HttpDate(int64_t realtime_s);

class HttpWriter {
 public:
  virtual ~HttpWriter() = default;

  // Of a streamed answer, in this order. `length` is that of the body where it is known, else -1.
  virtual void Head(const Answer& answer, std::string_view content_type, std::string_view extra,
                    int64_t length, std::string* out) = 0;
  virtual void Body(const Answer& answer, std::string_view bytes, std::string* out) const = 0;
  virtual void End(const Answer& answer, std::string* out) const = 0;

  // A whole reply.
  virtual void Reply(const Answer& answer, const ServerReply& reply, std::string* out) = 0;
};

// Not thread-safe: one per serving loop.
class Http1Writer final : public HttpWriter {
 public:
  explicit Http1Writer(const Options& options);

  void Head(const Answer& answer, std::string_view content_type, std::string_view extra, int64_t length,
            std::string* out) override;
  void Body(const Answer& answer, std::string_view bytes, std::string* out) const override;
  void End(const Answer& answer, std::string* out) const override;
  void Reply(const Answer& answer, const ServerReply& reply, std::string* out) override;

 private:
  void Lines(int status, std::string_view content_type, std::string* out);
  void Chunk(std::string_view bytes, std::string* out) const;

  const DocumentFraming document_framing_;
  const bool extensions_;
  const bool trailers_;
  int64_t date_s_ = -1;
  std::string date_;
};

}  // namespace llmbench::sim
