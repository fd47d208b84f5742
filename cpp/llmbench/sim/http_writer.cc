#include "llmbench/sim/http_writer.h"

#include <time.h>

#include <charconv>

#include "llmbench/sim/json_text.h"

namespace llmbench::sim {

const char* ReasonPhrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 307:
      return "Temporary Redirect";
    case 308:
      return "Permanent Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 422:
      return "Unprocessable Content";
    case 424:
      return "Failed Dependency";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Status";
  }
}

std::string HttpDate(int64_t realtime_s) {
  const time_t seconds = realtime_s;
  tm parts;
  gmtime_r(&seconds, &parts);
  char text[64];
  return std::string(text, strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts));
}

Http1Writer::Http1Writer(const Options& options)
    : document_framing_(options.document_framing),
      extensions_(ListContains(options.dress, "extensions")),
      trailers_(ListContains(options.dress, "trailers")) {}

void Http1Writer::Lines(int status, std::string_view content_type, std::string* out) {
  timespec now;
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  if (now.tv_sec != date_s_) {
    date_s_ = now.tv_sec;
    date_ = HttpDate(date_s_);
  }
  *out += "HTTP/1.1 ";
  AppendNumber(int64_t{status}, out);
  *out += ' ';
  *out += ReasonPhrase(status);
  *out += "\r\ndate: ";
  *out += date_;
  *out += "\r\nserver: llmbench-sim\r\n";
  if (!content_type.empty()) {
    *out += "content-type: ";
    *out += content_type;
    *out += "\r\n";
  }
}

void Http1Writer::Head(const Answer& answer, std::string_view content_type, std::string_view extra,
                       int64_t length, std::string* out) {
  Lines(200, content_type, out);
  if (!answer.request_id.empty()) {
    *out += "x-request-id: ";
    *out += answer.request_id;
    *out += "\r\n";
  }
  *out += extra;
  if (length >= 0) {
    *out += "content-length: ";
    AppendNumber(length, out);
    *out += "\r\n";
  } else if (answer.chunked) {
    *out += "transfer-encoding: chunked\r\n";
    if (trailers_) *out += "trailer: x-stream-end\r\n";
  }
  if (answer.closes) *out += "connection: close\r\n";
  *out += "\r\n";
}

void Http1Writer::Chunk(std::string_view bytes, std::string* out) const {
  char size[20];
  out->append(size, std::to_chars(size, size + sizeof size, bytes.size(), 16).ptr);
  if (extensions_) *out += ";name=\"value\"";
  *out += "\r\n";
  *out += bytes;
  *out += "\r\n";
}

void Http1Writer::Body(const Answer& answer, std::string_view bytes, std::string* out) const {
  if (bytes.empty()) return;
  if (answer.chunked) {
    Chunk(bytes, out);
  } else {
    *out += bytes;
  }
}

void Http1Writer::End(const Answer& answer, std::string* out) const {
  if (!answer.chunked) return;
  *out += '0';
  if (extensions_) *out += ";last";
  *out += "\r\n";
  if (trailers_) *out += "x-stream-end: true\r\n";
  if (answer.fault.is(FaultKind::kTrailers)) *out += "x-stream-error: injected fault\r\n";
  *out += "\r\n";
}

void Http1Writer::Reply(const Answer& answer, const ServerReply& reply, std::string* out) {
  Lines(reply.status, reply.content_type, out);
  *out += reply.extra;
  if (document_framing_ == DocumentFraming::kChunked && !answer.http_1_0) {
    *out += "transfer-encoding: chunked\r\n";
  } else if (document_framing_ == DocumentFraming::kLength || !answer.closes) {
    *out += "content-length: ";
    AppendNumber(static_cast<int64_t>(reply.body.size()), out);
    *out += "\r\n";
  }
  *out += answer.closes ? "connection: close\r\n\r\n" : "\r\n";
  if (document_framing_ == DocumentFraming::kChunked && !answer.http_1_0) {
    if (!reply.body.empty()) Chunk(reply.body, out);
    *out += "0\r\n\r\n";
  } else {
    *out += reply.body;
  }
}

}  // namespace llmbench::sim
