#include "llmbench/sim/answer_writer.h"

#include <time.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "llmbench/sim/toy_tokenizer.h"

namespace llmbench::sim {
namespace {

constexpr const char* kPlainWords[] = {
    "time",   "water", "light", "house", "river", "stone", "green", "small", "great", "night", "paper",
    "music",  "table", "world", "field", "north", "bread", "cloud", "dance", "earth", "flame", "glass",
    "heart",  "ideas", "jolly", "kites", "lemon", "maple", "noble", "ocean", "piano", "quiet", "roads",
    "sugar",  "train", "under", "voice", "wheat", "young", "zebra", "apple", "beach", "chair", "dream",
    "eagle",  "frost", "grape", "horse", "inner", "judge", "known", "larch", "month", "ninth", "orbit",
    "pearls", "queen", "raven", "sheep", "tower", "unity", "vivid", "willow"};

// Multi-byte and astral characters, and line separators that are no line ends to an event stream.
constexpr const char* kUnicodeWords[] = {
    "caf\u00e9", "\u6f22\u5b57", "\u043c\u0438\u0440", "\U0001f600", "a\u2028b", "c\u2029d",
    "e\u0085f",  "na\u00efve",   "\U0001d54f",         "\u2264",     "plain",    "\ufeffmark"};
constexpr const char* kEscapedWords[] = {"caf\\u00e9",     "\\u6f22\\u5b57", "\\u043c\\u0438\\u0440",
                                         "\\ud83d\\ude00", "a\\u2028b",      "c\\u2029d",
                                         "e\\u0085f",      "tab\\there",     "\\ud835\\udd4f",
                                         "\\\"quoted\\\"", "line\\nbreak",   "nul\\u0000nul"};
constexpr const char* kSurrogateWords[] = {"lone\\ud83d", "\\ude00low", "plain"};

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

uint64_t Hash(std::string_view text) {
  uint64_t hash = 14695981039346656037u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return hash;
}

}  // namespace

void AppendNumber(int64_t value, std::string* out) {
  char digits[24];
  out->append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}

void AppendJsonString(std::string_view text, std::string* out) {
  static constexpr char kHex[] = "0123456789abcdef";
  out->push_back('"');
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out->push_back('\\');
      out->push_back(c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out->append("\\u00");
      out->push_back(kHex[c >> 4]);
      out->push_back(kHex[c & 15]);
    } else {
      out->push_back(c);
    }
  }
  out->push_back('"');
}

AnswerWriter::AnswerWriter(const Options& options, std::string served_model)
    : options_(options), served_model_(std::move(served_model)) {
  const auto use = [this](const auto& words) {
    for (const char* word : words) {
      words_.push_back(std::string(" ") + word);
      std::vector<uint32_t> ids;
      Tokenize(word, &ids);
      word_ids_.push_back(ids.front());
    }
  };
  switch (options_.text) {
    case TextStyle::kPlain:
      use(kPlainWords);
      break;
    case TextStyle::kUnicode:
      use(kUnicodeWords);
      break;
    case TextStyle::kEscaped:
      use(kEscapedWords);
      break;
    case TextStyle::kSurrogates:
      use(kSurrogateWords);
      break;
  }
  if (options_.line_ending == LineEnding::kCrLf) line_end_ = "\r\n";
  if (options_.line_ending == LineEnding::kCr) line_end_ = "\r";
  comments_ = ListContains(options_.dress, "comments");
  bom_ = ListContains(options_.dress, "bom");
  ids_ = ListContains(options_.dress, "ids");
  if (ListContains(options_.dress, "nospace")) data_ = "data:";
}

void AnswerWriter::Begin(Answer* answer) {
  answer->first_word = Hash(answer->id) % words_.size();
  std::string& front = answer->event_front;
  front.clear();
  front += "{\"id\":";
  AppendJsonString(answer->id, &front);
  if (!answer->request.chat) {
    front += ",\"object\":\"text_completion\"";
  } else if (answer->request.stream) {
    front += ",\"object\":\"chat.completion.chunk\"";
  } else {
    front += ",\"object\":\"chat.completion\"";
  }
  front += ",\"created\":";
  AppendNumber(answer->created_s, &front);
  front += ",\"model\":";
  AppendModel(*answer, &front);
  front += ",\"choices\":[";
}

void AnswerWriter::AppendModel(const Answer& answer, std::string* out) const {
  AppendJsonString(answer.request.model.empty() ? served_model_ : answer.request.model, out);
}

void AnswerWriter::AppendHeadLines(int status, std::string_view content_type, std::string* out) {
  timespec now;
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  if (now.tv_sec != date_s_) {
    date_s_ = now.tv_sec;
    tm parts;
    gmtime_r(&now.tv_sec, &parts);
    char text[64];
    date_.assign(text, strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts));
  }
  *out += "HTTP/1.1 ";
  AppendNumber(status, out);
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

void AnswerWriter::AppendStreamHead(const Answer& answer, std::string* out) {
  AppendHeadLines(200, "text/event-stream; charset=utf-8", out);
  if (!answer.request_id.empty()) {
    *out += "x-request-id: ";
    *out += answer.request_id;
    *out += "\r\n";
  }
  const bool chunked = options_.framing == Framing::kChunked && !answer.http_1_0;
  if (chunked) *out += "transfer-encoding: chunked\r\n";
  if (answer.closes || !chunked) *out += "connection: close\r\n";
  *out += "\r\n";
  if (bom_) AppendChunk(answer, "\xef\xbb\xbf", out);
}

void AnswerWriter::AppendChunk(const Answer& answer, std::string_view bytes, std::string* out) const {
  if (options_.framing == Framing::kClose || answer.http_1_0) {
    *out += bytes;
    return;
  }
  char size[20];
  out->append(size, std::to_chars(size, size + sizeof size, bytes.size(), 16).ptr);
  *out += "\r\n";
  *out += bytes;
  *out += "\r\n";
}

void AnswerWriter::AppendEvent(const Answer& answer, std::string_view payload, std::string* out) {
  event_.clear();
  if (comments_) {
    event_ += ": ping";
    event_ += line_end_;
    event_ += line_end_;
  }
  if (ids_) {
    event_ += "event: message";
    event_ += line_end_;
    event_ += "id: ";
    AppendNumber(answer.events, &event_);
    event_ += line_end_;
    event_ += "retry: 1000";
    event_ += line_end_;
  }
  event_ += data_;
  event_ += payload;
  event_ += line_end_;
  event_ += line_end_;
  AppendChunk(answer, event_, out);
}

size_t AnswerWriter::WordAt(const Answer& answer, size_t choice, int64_t token) const {
  return (answer.first_word + choice * 7 + static_cast<size_t>(token)) % words_.size();
}

int64_t AnswerWriter::ReasoningTokens(const Answer& answer) const {
  return answer.request.chat ? options_.reasoning_tokens : 0;
}

void AnswerWriter::AppendText(const Answer& answer, size_t choice, int64_t first, int64_t count,
                              std::string* out) const {
  for (int64_t i = first; i < first + count; ++i) *out += words_[WordAt(answer, choice, i)];
}

void AnswerWriter::AppendTokenIds(const Answer& answer, size_t choice, int64_t first, int64_t count,
                                  std::string* out) const {
  if (!answer.request.return_token_ids) return;
  *out += ",\"token_ids\":[";
  for (int64_t i = first; i < first + count; ++i) {
    if (i > first) *out += ',';
    AppendNumber(word_ids_[WordAt(answer, choice, i)], out);
  }
  *out += ']';
}

void AnswerWriter::AppendUsage(const Answer& answer, std::string* out) const {
  const int64_t prompt = answer.request.prompt_tokens();
  const int64_t output = answer.output_tokens();
  *out += "{\"prompt_tokens\":";
  AppendNumber(prompt, out);
  *out += ",\"total_tokens\":";
  AppendNumber(prompt + output, out);
  *out += ",\"completion_tokens\":";
  AppendNumber(output, out);
  if (options_.cached_tokens) {
    *out += ",\"prompt_tokens_details\":{\"cached_tokens\":";
    AppendNumber(answer.cached_tokens, out);
    *out += '}';
  }
  if (const int64_t reasoning = ReasoningTokens(answer); reasoning > 0) {
    int64_t sum = 0;
    for (const Choice& choice : answer.choices) sum += std::min(choice.sent, reasoning);
    *out += ",\"completion_tokens_details\":{\"reasoning_tokens\":";
    AppendNumber(sum, out);
    *out += '}';
  }
  *out += '}';
}

void AnswerWriter::AppendRole(const Answer& answer, size_t choice, std::string* out) {
  payload_ = answer.event_front;
  payload_ += "{\"index\":";
  AppendNumber(static_cast<int64_t>(choice), &payload_);
  payload_ +=
      ",\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}]";
  if (answer.request.continuous_usage) {
    payload_ += ",\"usage\":";
    AppendUsage(answer, &payload_);
  }
  payload_ += '}';
  AppendEvent(answer, payload_, out);
}

void AnswerWriter::AppendTokens(const Answer& answer, size_t choice, int64_t first, int64_t count,
                                bool finish, std::string* out) {
  payload_ = answer.event_front;
  payload_ += "{\"index\":";
  AppendNumber(static_cast<int64_t>(choice), &payload_);
  if (answer.request.chat) {
    payload_ += ",\"delta\":{";
    const int64_t reasoning = std::clamp<int64_t>(ReasoningTokens(answer) - first, 0, count);
    if (reasoning > 0) {
      payload_ += options_.reasoning_field == ReasoningField::kReasoning ? "\"reasoning\":\""
                                                                         : "\"reasoning_content\":\"";
      AppendText(answer, choice, first, reasoning, &payload_);
      payload_ += reasoning < count ? "\"," : "\"";
    }
    if (reasoning < count) {
      payload_ += "\"content\":\"";
      AppendText(answer, choice, first + reasoning, count - reasoning, &payload_);
      payload_ += '"';
    }
    payload_ += '}';
  } else {
    payload_ += ",\"text\":\"";
    AppendText(answer, choice, first, count, &payload_);
    payload_ += '"';
  }
  payload_ += ",\"logprobs\":null,\"finish_reason\":";
  if (finish) {
    payload_ += '"';
    payload_ += answer.choices[choice].finish_reason();
    payload_ += "\",\"stop_reason\":null";
  } else {
    payload_ += "null";
  }
  AppendTokenIds(answer, choice, first, count, &payload_);
  payload_ += "}]";
  if (answer.request.return_token_ids && first == 0) {
    const Prompt& prompt = answer.request.prompts[choice / static_cast<size_t>(answer.request.n)];
    payload_ += ",\"prompt_token_ids\":[";
    for (size_t i = 0; i < prompt.ids.size(); ++i) {
      if (i > 0) payload_ += ',';
      AppendNumber(prompt.ids[i], &payload_);
    }
    payload_ += ']';
  }
  if (answer.request.continuous_usage) {
    payload_ += ",\"usage\":";
    AppendUsage(answer, &payload_);
  } else if (!answer.request.chat) {
    payload_ += ",\"usage\":null";
  }
  payload_ += '}';
  AppendEvent(answer, payload_, out);
}

void AnswerWriter::AppendFinish(const Answer& answer, size_t choice, std::string* out) {
  payload_ = answer.event_front;
  payload_ += "{\"index\":";
  AppendNumber(static_cast<int64_t>(choice), &payload_);
  payload_ += answer.request.chat ? ",\"delta\":{}" : ",\"text\":\"\"";
  payload_ += ",\"logprobs\":null,\"finish_reason\":\"";
  payload_ += answer.choices[choice].finish_reason();
  payload_ += "\",\"stop_reason\":null}]}";
  AppendEvent(answer, payload_, out);
}

void AnswerWriter::AppendTail(const Answer& answer, std::string* out) {
  if (answer.request.include_usage || options_.force_usage) {
    payload_ = answer.event_front;
    payload_ += "],\"usage\":";
    AppendUsage(answer, &payload_);
    payload_ += '}';
    AppendEvent(answer, payload_, out);
  }
  if (options_.send_done && !answer.fault.is(FaultKind::kNoDone)) AppendEvent(answer, "[DONE]", out);
  if (answer.fault.is(FaultKind::kDoubleDone)) AppendEvent(answer, "[DONE]", out);
  AppendEnd(answer, out);
}

void AnswerWriter::AppendEnd(const Answer& answer, std::string* out) {
  if (options_.framing == Framing::kClose || answer.http_1_0) return;
  *out += answer.fault.is(FaultKind::kTrailers) ? "0\r\nx-stream-error: injected fault\r\n\r\n" : "0\r\n\r\n";
}

void AnswerWriter::AppendWhole(const Answer& answer, std::string* out) {
  std::string body = answer.event_front;
  for (size_t i = 0; i < answer.choices.size(); ++i) {
    const Choice& choice = answer.choices[i];
    if (i > 0) body += ',';
    body += "{\"index\":";
    AppendNumber(static_cast<int64_t>(i), &body);
    if (answer.request.chat) {
      const int64_t reasoning = std::min(ReasoningTokens(answer), choice.sent);
      body += ",\"message\":{\"role\":\"assistant\"";
      if (reasoning > 0) {
        body += options_.reasoning_field == ReasoningField::kReasoning ? ",\"reasoning\":\""
                                                                       : ",\"reasoning_content\":\"";
        AppendText(answer, i, 0, reasoning, &body);
        body += '"';
      }
      if (reasoning < choice.sent) {
        body += ",\"content\":\"";
        AppendText(answer, i, reasoning, choice.sent - reasoning, &body);
        body += "\"}";
      } else {
        body += ",\"content\":null}";
      }
    } else {
      body += ",\"text\":\"";
      AppendText(answer, i, 0, choice.sent, &body);
      body += '"';
    }
    body += ",\"logprobs\":null,\"finish_reason\":\"";
    body += choice.finish_reason();
    body += "\",\"stop_reason\":null";
    AppendTokenIds(answer, i, 0, choice.sent, &body);
    body += '}';
  }
  body += "],\"usage\":";
  AppendUsage(answer, &body);
  body += '}';
  std::string extra;
  if (!answer.request_id.empty()) extra = "x-request-id: " + answer.request_id + "\r\n";
  AppendReply(200, "application/json", body, answer.closes, extra, out);
}

void AnswerWriter::AppendReply(int status, std::string_view content_type, std::string_view body, bool closes,
                               std::string_view extra, std::string* out) {
  AppendHeadLines(status, content_type, out);
  *out += extra;
  *out += "content-length: ";
  AppendNumber(static_cast<int64_t>(body.size()), out);
  *out += closes ? "\r\nconnection: close\r\n\r\n" : "\r\n\r\n";
  *out += body;
}

std::string AnswerWriter::ErrorBody(const ApiError& error) {
  std::string body = "{\"error\":{\"message\":";
  AppendJsonString(error.message, &body);
  body += ",\"type\":";
  AppendJsonString(error.type, &body);
  body += ",\"param\":";
  if (error.param.empty()) {
    body += "null";
  } else {
    AppendJsonString(error.param, &body);
  }
  body += ",\"code\":";
  AppendNumber(error.status, &body);
  body += "}}";
  return body;
}

void AnswerWriter::AppendError(const ApiError& error, bool closes, std::string_view extra, std::string* out) {
  AppendReply(error.status, "application/json", ErrorBody(error), closes, extra, out);
}

}  // namespace llmbench::sim
