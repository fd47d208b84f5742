#include "llmbench/wire/http_parser.h"

// Beast asserts that the bytes of a last chunk are at least five when it looks at them a second time; a torn
// line makes them four. It handles that correctly.
#define BOOST_DISABLE_ASSERTS

#include <time.h>

#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/field.hpp>
#include <cstring>
#include <limits>
#include <optional>

#include "llmbench/wire/escape.h"
#include "llmbench/wire/retry_after.h"

namespace llmbench::wire {
namespace {

namespace http = boost::beast::http;
using boost::beast::error_code;

std::string_view View(boost::beast::string_view s) { return {s.data(), s.size()}; }

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool EqualsIgnoreCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return Lower(x) == Lower(y); });
}

// More than 15 when it is none.
unsigned HexDigit(char c) {
  const auto decimal = static_cast<unsigned>(c - '0');
  if (decimal <= 9) return decimal;
  const auto letter = static_cast<unsigned>((c | 32) - 'a');
  return letter <= 5 ? letter + 10 : 16;
}

bool EndsWithIgnoreCase(std::string_view s, std::string_view end) {
  return s.size() >= end.size() && EqualsIgnoreCase(s.substr(s.size() - end.size()), end);
}

// Position behind the empty line that ends a header, npos while there is none. Bare LF counts as a line's end
// here so that a malformed header is refused when it ends, not when the connection does.
size_t FindHeaderEnd(std::string_view s, size_t from) {
  for (size_t at = from; (at = s.find('\n', at)) != std::string_view::npos; ++at) {
    if (at + 1 < s.size() && s[at + 1] == '\n') return at + 2;
    if (at + 2 < s.size() && s[at + 1] == '\r' && s[at + 2] == '\n') return at + 3;
  }
  return std::string_view::npos;
}

// The header fields that matter here, and the body piece of the put() just made.
struct Fields {
  std::string_view body;
  bool chunk_begun = false;  // a chunk's header was read, none of its bytes
  bool chunk_ended = false;  // all of a chunk's bytes were read, nothing of what follows
  uint64_t chunk_left = 0;   // bytes of the chunk that are still to come
  bool header_done = false;
  int status = 0;
  int version = 0;
  std::string content_type, content_encoding, location, error_trailer;
  RetryAfter retry;

  // For the next response. What its header's fields say stays, in case it has the same ones.
  void Reset() {
    status = version = 0;
    header_done = chunk_begun = chunk_ended = false;
    chunk_left = 0;
    error_trailer.clear();
    body = {};
  }
  void Clear() {
    Reset();
    for (std::string* s :
         {&content_type, &content_encoding, &location, &retry.after, &retry.after_ms, &retry.date}) {
      s->clear();
    }
  }
};

// Lists in Transfer-Encoding: whatever is not chunked changes the bytes of the body.
std::string_view OtherCoding(std::string_view list) {
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    std::string_view coding = list.substr(0, comma);
    list.remove_prefix(std::min(comma + 1, list.size()));
    coding.remove_prefix(std::min(coding.find_first_not_of(" \t"), coding.size()));
    coding = coding.substr(0, coding.find_last_not_of(" \t") + 1);
    if (!coding.empty() && !EqualsIgnoreCase(coding, "chunked") && !EqualsIgnoreCase(coding, "identity"))
      return coding;
  }
  return {};
}

class Parser : public http::basic_parser<false> {
 public:
  explicit Parser(Fields& fields) : fields_(fields) {
    eager(false);  // at most one header or one piece of body per put()
    // No limit. boost::none would say so too, but Beast of Boost 1.74 compares every Content-Length with it,
    // and nothing is smaller than none.
    body_limit(std::numeric_limits<std::uint64_t>::max());
    header_limit(
        std::numeric_limits<std::uint32_t>::max());  // HttpParser counts the bytes of a header itself
  }

 private:
  void on_request_impl(http::verb, boost::beast::string_view, boost::beast::string_view, int,
                       error_code&) override {}
  void on_response_impl(int status, boost::beast::string_view, int version, error_code&) override {
    fields_.status = status;
    fields_.version = version;
  }
  void on_field_impl(http::field field, boost::beast::string_view name, boost::beast::string_view value,
                     error_code&) override {
    if (fields_.header_done) {
      if (EndsWithIgnoreCase(View(name), "-error") && fields_.error_trailer.empty()) {
        fields_.error_trailer.append(View(name)).append(": ").append(View(value));
      }
      return;
    }
    switch (field) {
      case http::field::content_type:
        fields_.content_type = View(value);
        break;
      case http::field::content_encoding:
        if (!EqualsIgnoreCase(View(value), "identity")) fields_.content_encoding = View(value);
        break;
      case http::field::transfer_encoding:
        if (fields_.content_encoding.empty()) fields_.content_encoding = OtherCoding(View(value));
        break;
      case http::field::location:
        fields_.location = View(value);
        break;
      case http::field::retry_after:
        fields_.retry.after = View(value);
        break;
      case http::field::date:
        fields_.retry.date = View(value);
        break;
      default:
        if (field == http::field::unknown && EqualsIgnoreCase(View(name), "retry-after-ms")) {
          fields_.retry.after_ms = View(value);
        }
    }
  }
  void on_header_impl(error_code&) override { fields_.header_done = true; }
  void on_body_init_impl(boost::optional<std::uint64_t> const&, error_code&) override {}
  std::size_t on_body_impl(boost::beast::string_view body, error_code&) override {
    fields_.body = View(body);
    return body.size();
  }
  void on_chunk_header_impl(std::uint64_t size, boost::beast::string_view, error_code&) override {
    fields_.chunk_begun = size > 0;
    fields_.chunk_left = size;
    fields_.chunk_ended = false;
  }
  std::size_t on_chunk_body_impl(std::uint64_t left, boost::beast::string_view body, error_code&) override {
    fields_.body = View(body);
    fields_.chunk_begun = false;
    fields_.chunk_left = left - body.size();
    fields_.chunk_ended = fields_.chunk_left == 0;
    return body.size();
  }
  void on_finish_impl(error_code&) override {}

  Fields& fields_;
};

// A header that came whole. Within a second a server's headers are the same as a rule: then only the lines
// that say how the body is framed need to be parsed again, the fields are known.
struct KnownHeader {
  // More are not tried, should no two be alike.
  static constexpr uint8_t kMaxMisses = 8;
  static constexpr size_t kMaxBytes = 4096;

  std::string bytes;
  std::string framing;  // a header of its status line and these lines
  uint8_t misses = 0;   // in a row

  void Learn(std::string_view header) {
    if (misses == kMaxMisses || header.size() > kMaxBytes) return;
    ++misses;
    framing.clear();
    for (std::string_view left = header; !left.empty();) {
      const std::string_view line = left.substr(0, left.find('\n') + 1);
      left.remove_prefix(line.size());
      if (line[0] == ' ' || line[0] == '\t') return;  // part of the line before
      if (line.size() == header.size() - left.size() || line.size() <= 2 || IsFraming(line)) framing += line;
    }
    bytes = header;
  }

 private:
  static bool IsFraming(std::string_view line) {
    const std::string_view name = line.substr(0, line.find(':'));
    for (const char* framing :
         {"connection", "proxy-connection", "content-length", "transfer-encoding", "upgrade"}) {
      if (EqualsIgnoreCase(name, framing)) return true;
    }
    return false;
  }
};

}  // namespace

class HttpParser::Message : public InLargePages {
 public:
  explicit Message(size_t max_header_bytes) : max_header_bytes_(max_header_bytes) { Reset(); }

  void Reset() {
    fields.Reset();
    parser.emplace(fields);
    stage_ = Stage::kHeader;
    tail_.clear();
    header_bytes_ = framing_bytes_ = 0;
    header_done_ = interim_ = false;
    error = WireError::kNone;
    error_text.clear();
  }

  Step Advance(std::string_view& input, std::string_view& body) {
    switch (stage_) {
      case Stage::kHeader:
        return AdvanceHeader(input);
      case Stage::kBody:
        return AdvanceBody(input, body);
      case Stage::kComplete:
        return Step::kComplete;
      case Stage::kError:
        break;
    }
    return Step::kError;
  }

  Step Close() {
    switch (stage_) {
      case Stage::kHeader: {
        if (tail_.empty()) return Step::kNeedMore;
        known_.bytes.clear();
        error_code ec;
        parser->put({tail_.data(), tail_.size()}, ec);
        if (ec && ec != http::error::need_more) return Fail(WireError::kProtocol, ec.message(), tail_);
        return Step::kNeedMore;
      }
      case Stage::kBody:
        if (!parser->need_eof()) return Step::kNeedMore;
        stage_ = Stage::kComplete;
        return Step::kComplete;
      case Stage::kComplete:
        return Step::kComplete;
      case Stage::kError:
        break;
    }
    return Step::kError;
  }

  // What every piece of a body touches: the first lines of this object.
  void Prefetch() const {
    for (size_t offset = 0; offset < sizeof(Message) - sizeof(Fields) + 64; offset += 64) {
      __builtin_prefetch(reinterpret_cast<const char*>(this) + offset);
    }
  }

  bool Begun() const {
    if (stage_ != Stage::kBody) return false;
    if (fields.chunk_begun) return true;
    if (tail_.size() == 2 && tail_[0] == '\r' && tail_[1] == '\n') return false;  // as a rule
    std::string_view tail = tail_;
    if (tail.starts_with("\r\n")) tail.remove_prefix(2);
    return !tail.empty() && tail != "\r" && tail[0] != '0';  // not what ends a chunk or the body
  }

  std::string_view Field(const std::string& field) const {
    return header_done_ ? std::string_view(field) : std::string_view();
  }
  bool Interim() const { return interim_; }
  bool HeaderDone() const { return header_done_; }
  bool Failed() const { return stage_ == Stage::kError; }

 private:
  enum class Stage : uint8_t { kHeader, kBody, kComplete, kError };
  static constexpr std::string_view kLineEnd = "\r\n";

  // In the order in which they matter to a piece of a body.
  const size_t max_header_bytes_;
  Stage stage_ = Stage::kHeader;
  bool header_done_ = false;
  bool interim_ = false;      // a 1xx header came
  std::string tail_;          // of a header, of a chunk's header or of the trailers
  size_t header_bytes_ = 0;   // of 1xx headers before this one
  size_t framing_bytes_ = 0;  // since the last byte of body

 public:
  std::optional<Parser> parser;
  Fields fields;
  WireError error = WireError::kNone;
  std::string error_text;

 private:
  KnownHeader known_;

  Step Fail(WireError e, const std::string& what, std::string_view where) {
    stage_ = Stage::kError;
    error = e;
    error_text = what + ": " + Quote(where);
    return Step::kError;
  }

  Step FailTooLarge(std::string_view where) {
    return Fail(WireError::kHeaderTooLarge,
                "the response header is larger than " + std::to_string(max_header_bytes_) + " bytes", where);
  }

  Step EndHeader() {
    stage_ = parser->is_done() ? Stage::kComplete : Stage::kBody;
    header_done_ = true;
    return Step::kHeader;
  }

  // Beast sees whole headers only: what it refuses then does not depend on the slicing.
  Step AdvanceHeader(std::string_view& input) {
    static constexpr std::string_view kPrefix = "HTTP/1.";
    if (!known_.bytes.empty() && tail_.empty() && !interim_ && input.starts_with(known_.bytes)) {
      error_code ec;
      parser->put({known_.framing.data(), known_.framing.size()}, ec);
      input.remove_prefix(known_.bytes.size());
      known_.misses = 0;
      return EndHeader();
    }
    while (!input.empty()) {
      const size_t held = tail_.size();
      const size_t scanned = held < 2 ? 0 : held - 2;
      if (held > 0) tail_.append(input);
      const std::string_view bytes = held > 0 ? std::string_view(tail_) : input;

      const size_t known = std::min(bytes.size(), kPrefix.size());
      if (bytes.substr(0, known) != kPrefix.substr(0, known)) {
        return Fail(WireError::kProtocol, "not an HTTP/1 response", bytes);
      }
      const size_t end = FindHeaderEnd(bytes, scanned);
      if (std::min(end, bytes.size()) + header_bytes_ > max_header_bytes_) return FailTooLarge(bytes);
      if (end == std::string_view::npos) {
        if (held == 0) tail_.assign(input);
        input = {};
        return Step::kNeedMore;
      }
      const std::string_view header = bytes.substr(0, end);
      fields.Clear();
      known_.bytes.clear();
      error_code ec;
      const size_t used = parser->put({header.data(), header.size()}, ec);
      if (!ec && used != header.size()) ec = http::error::bad_field;
      if (ec == http::error::need_more) ec = http::error::bad_line_ending;
      if (ec) return Fail(WireError::kProtocol, ec.message(), header);
      const int status = fields.status;
      if (status == 101) return Fail(WireError::kProtocol, "the server switched protocols unasked", header);
      header_bytes_ += end;
      if (status / 100 != 1) known_.Learn(header);
      input.remove_prefix(end - held);
      tail_.clear();
      if (status / 100 != 1) return EndHeader();
      interim_ = true;
      fields.Clear();
      parser.emplace(fields);
    }
    return Step::kNeedMore;
  }

  // A whole chunk with a plain header, which is nearly every one there is, behind a chunk that was whole:
  // Beast waits for a chunk's header before it and after it and need not see it. Its line end, if it is here,
  // is kept in the tail as it would be otherwise. kComplete: the last chunk, without trailers. kNeedMore: it
  // is something else, and nothing was taken.
  Step TakeChunk(std::string_view& input, std::string_view& body) {
    const char* at = input.data();
    const char* const end = at + input.size();
    const bool line_end_held = !tail_.empty();
    if (line_end_held ? tail_ != kLineEnd : !input.starts_with(kLineEnd)) return Step::kNeedMore;
    if (!line_end_held) at += 2;
    const char* const digits = at;
    size_t size = 0;
    for (const char* const stop = at + std::min<ptrdiff_t>(end - at, 6); at < stop; ++at) {
      const unsigned digit = HexDigit(*at);
      if (digit > 15) break;
      size = size << 4 | digit;
    }
    if (at == digits || end - at < 2 || at[0] != '\r' || at[1] != '\n') return Step::kNeedMore;
    at += 2;
    const bool last = size == 0;
    if (static_cast<size_t>(end - at) < size) return Step::kNeedMore;
    body = {at, size};
    at += size;
    if (end - at >= 2 && at[0] == '\r' && at[1] == '\n') {
      at += 2;
      if (!line_end_held) tail_ = kLineEnd;
    } else if (last) {
      return Step::kNeedMore;
    } else if (line_end_held) {
      tail_.clear();
    }
    input.remove_prefix(static_cast<size_t>(at - input.data()));
    if (!last) return Step::kBody;
    tail_.clear();
    stage_ = Stage::kComplete;
    return Step::kComplete;
  }

  // Bytes of body go to Beast as they come. What is around a chunk goes there in whole lines: what Beast
  // makes of it then does not depend on the slicing. What it cannot use yet, as the line end before a chunk's
  // size, is kept in the tail until the next line.
  Step AdvanceBody(std::string_view& input, std::string_view& body) {
    while (!input.empty()) {
      if (fields.chunk_ended) {
        const Step step = TakeChunk(input, body);
        if (step != Step::kNeedMore) {
          framing_bytes_ = tail_.size();
          return step;
        }
      }
      error_code ec;
      const std::string_view before = input;
      if (!parser->chunked() || fields.chunk_left > 0) {
        input.remove_prefix(parser->put({input.data(), input.size()}, ec));
      } else {
        const size_t line = std::min(input.find('\n'), input.size() - 1) + 1;
        tail_.append(input.substr(0, line));
        input.remove_prefix(line);
        if (tail_.back() == '\n') {
          parser->put({tail_.data(), tail_.size()}, ec);
          if (!ec) tail_.clear();
        }
      }
      if (ec && ec != http::error::need_more) {
        return Fail(WireError::kProtocol, ec.message(), tail_.empty() ? before : std::string_view(tail_));
      }
      // Without body the bytes taken are a chunk's header or trailers, in however many pieces they come.
      framing_bytes_ = fields.body.empty() ? framing_bytes_ + before.size() - input.size() : 0;
      if (framing_bytes_ > max_header_bytes_) return FailTooLarge(before);
      if (!fields.body.empty()) {
        body = fields.body;
        fields.body = {};
        if (parser->is_done()) stage_ = Stage::kComplete;
        return Step::kBody;
      }
      if (parser->is_done()) {
        stage_ = Stage::kComplete;
        return Step::kComplete;
      }
    }
    return Step::kNeedMore;
  }
};

HttpParser::HttpParser(size_t max_header_bytes) : message_(std::make_unique<Message>(max_header_bytes)) {}
HttpParser::~HttpParser() = default;

void HttpParser::Reset() { message_->Reset(); }
void HttpParser::Prefetch() const { message_->Prefetch(); }
HttpParser::Step HttpParser::Advance(std::string_view& input, std::string_view& body) {
  return message_->Advance(input, body);
}
HttpParser::Step HttpParser::Close() { return message_->Close(); }
bool HttpParser::begun() const { return message_->Begun(); }

int HttpParser::status() const { return message_->HeaderDone() ? message_->fields.status : 0; }
bool HttpParser::interim() const { return message_->Interim(); }
bool HttpParser::http10() const { return message_->HeaderDone() && message_->fields.version == 10; }
bool HttpParser::keep_alive() const {
  return message_->HeaderDone() && !message_->Failed() && message_->parser->keep_alive();
}

std::string_view HttpParser::content_type() const { return message_->Field(message_->fields.content_type); }
std::string_view HttpParser::content_encoding() const {
  return message_->Field(message_->fields.content_encoding);
}
std::string_view HttpParser::location() const { return message_->Field(message_->fields.location); }
std::string_view HttpParser::error_trailer() const { return message_->fields.error_trailer; }

int64_t HttpParser::retry_after_s() const {
  return message_->HeaderDone() ? message_->fields.retry.seconds() : -1;
}

WireError HttpParser::error() const { return message_->error; }
std::string_view HttpParser::error_text() const { return message_->error_text; }

}  // namespace llmbench::wire
