#include "random_stream.h"

#include <algorithm>
#include <functional>
#include <map>
#include <utility>

namespace llmbench::wire {
namespace {

class Maker {
 public:
  explicit Maker(std::mt19937& random) : random_(random) {}

  size_t Below(size_t limit) { return random_() % limit; }
  bool Chance(size_t one_in) { return Below(one_in) == 0; }

  // A piece of text with all that framings and JSON stumble over; maybe empty.
  std::string Text() {
    static const std::string kPieces[] = {"a",
                                          " flows",
                                          "é",
                                          "😀",
                                          "\u2028",
                                          "\u0085",
                                          "\"",
                                          "\\",
                                          "\n",
                                          "\r\n",
                                          std::string(1, '\0'),
                                          "{",
                                          "}",
                                          "[",
                                          "]",
                                          "data: ",
                                          "[DONE]",
                                          "\\u00e9",
                                          ",",
                                          ":",
                                          "\ufffd",
                                          "\x7f",
                                          "\t",
                                          "}{",
                                          "/",
                                          "<script>",
                                          "日本",
                                          "\x01"};
    std::string text;
    for (size_t i = Below(5); i > 0; --i) text += kPieces[Below(std::size(kPieces))];
    return text;
  }

  // A JSON string, characters escaped where they must be and sometimes where they need not be.
  std::string Quoted(std::string_view text) {
    std::string json = "\"";
    for (size_t i = 0; i < text.size();) {
      const auto lead = static_cast<unsigned char>(text[i]);
      const size_t length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
      uint32_t point = lead < 0x80 ? lead : lead & (0x7f >> length);
      for (size_t k = 1; k < length; ++k)
        point = point << 6 | (static_cast<unsigned char>(text[i + k]) & 0x3f);
      const bool must = point < 0x20 || point == '"' || point == '\\';
      if (!must && !Chance(6)) {
        json += text.substr(i, length);
      } else if (must && Chance(2) && Short(point) != '\0') {
        json += '\\';
        json += Short(point);
      } else if (point < 0x10000) {
        Escape(point, json);
      } else {
        Escape(0xd800 + ((point - 0x10000) >> 10), json);
        Escape(0xdc00 + ((point - 0x10000) & 0x3ff), json);
      }
      i += length;
    }
    return json + '"';
  }

  // An object of the members given, with others no decoder knows among them.
  std::string Object(std::vector<std::string> members) {
    static const char* const kOthers[] = {"\"created\":1763917200.5e-3", "\"model\":\"m\"",
                                          "\"x\":{\"text\":\"no\"}", "\"y\":[1,[\"}\",{\"z\":null}]]",
                                          "\"ok\":true"};
    if (Chance(3))
      members.insert(members.begin() + static_cast<ptrdiff_t>(Below(members.size() + 1)),
                     kOthers[Below(std::size(kOthers))]);
    std::string json = "{";
    for (size_t i = 0; i < members.size(); ++i) json += (i == 0 ? "" : Chance(3) ? ", " : ",") + members[i];
    return json + '}';
  }

  // An SSE stream of these payloads.
  std::string Sse(const std::vector<std::string>& payloads) {
    static const char* const kEnds[] = {"\n", "\n", "\r\n", "\r"};
    const std::string end = kEnds[Below(std::size(kEnds))];
    const std::string data = Chance(2) ? "data: " : "data:";
    std::string stream = Chance(4) ? "\xef\xbb\xbf" : "";
    for (const std::string& payload : payloads) {
      if (Chance(5)) stream += ": ping - 1" + end + (Chance(2) ? end : "");
      if (Chance(5)) stream += "event: message" + end;
      if (Chance(8)) stream += "id: 7" + end + "retry: 100" + end;
      stream += data + payload + end + end;
      if (Chance(8)) stream += ":" + end + end;
    }
    return stream;
  }

  // Lines, or NULs between them.
  std::string Lines(const std::vector<std::string>& payloads, bool nul) {
    const std::string end = nul ? std::string(1, '\0') : Chance(3) ? "\r\n" : "\n";
    std::string stream;
    for (const std::string& payload : payloads) stream += payload + end + (Chance(6) ? end : "");
    if (Chance(4)) {
      while (stream.ends_with('\n') || stream.ends_with('\r') || stream.ends_with('\0')) stream.pop_back();
    }
    return stream;
  }

  // One after another, with line ends within them and maybe space between them.
  std::string Documents(const std::vector<std::string>& payloads) {
    std::string stream;
    for (const std::string& payload : payloads) {
      bool in_string = false;
      for (size_t i = 0; i < payload.size(); ++i) {
        const char c = payload[i];
        if (c == '"') in_string = !in_string;
        stream += c;
        if (in_string && c == '\\') stream += payload[++i];
        if (!in_string && (c == '{' || c == '[' || c == ',') && Chance(3)) stream += "\n  ";
      }
      if (Chance(5)) stream += Chance(2) ? "\n" : " \r\n";
    }
    return stream;
  }

  // The body behind a header, framed by one of the three ways HTTP has.
  void Http(std::string_view type, const std::string& body, RandomStream& stream) {
    std::string head = Chance(6) ? "HTTP/1.1 100 Continue\r\n\r\n" : "";
    head += "HTTP/1.1 200 OK\r\nServer: s\r\n";
    if (!type.empty()) head += "Content-Type: " + std::string(type) + "\r\n";
    switch (Below(4)) {
      case 0:
        head += "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
        break;
      case 1:
        head += "Connection: close\r\n\r\n" + body;
        stream.to_close = true;
        break;
      default:
        head += "Transfer-Encoding: chunked\r\n\r\n";
        for (size_t at = 0; at < body.size();) {
          const size_t size = std::min(body.size() - at, 1 + Below(Chance(2) ? 8 : 400));
          char digits[20];
          std::snprintf(digits, sizeof digits, Chance(2) ? "%zx" : "%04zX", size);
          head += digits + std::string(Chance(8) ? ";x=\"1\"" : "") + "\r\n" + body.substr(at, size) + "\r\n";
          at += size;
        }
        head += Chance(4) ? "0\r\nX-Trailer: 1\r\n\r\n" : "0\r\n\r\n";
    }
    stream.bytes = head;
  }

 private:
  static char Short(uint32_t point) {
    switch (point) {
      case '"':
      case '\\':
        return static_cast<char>(point);
      case '\n':
        return 'n';
      case '\r':
        return 'r';
      case '\t':
        return 't';
      default:
        return '\0';
    }
  }
  static void Escape(uint32_t unit, std::string& json) {
    char digits[16];
    std::snprintf(digits, sizeof digits, "\\u%04x", unit);
    json += digits;
  }

  std::mt19937& random_;
};

// One event of a stream to be: its text and how many tokens made it.
struct Piece {
  std::string text;
  uint32_t tokens = 1;
};

struct Format {
  std::string rules;
  bool tells_tokens = false;  // every event says how many tokens it carries
  // Writes the response for the pieces, and says what it says of the whole answer.
  std::function<void(Maker&, const std::vector<Piece>&, RandomStream&)> write;
};

std::string Number(std::string_view key, int64_t value) {
  return '"' + std::string(key) + "\":" + std::to_string(value);
}

// The stream's payloads: `event` for every piece with the text and tokens up to it, then `last`.
template <typename Event>
std::vector<std::string> Payloads(const std::vector<Piece>& pieces, Event&& event) {
  std::vector<std::string> payloads;
  std::string so_far;
  int64_t tokens = 0;
  for (const Piece& piece : pieces) {
    so_far += piece.text;
    tokens += piece.tokens;
    payloads.push_back(event(piece, so_far, tokens));
  }
  return payloads;
}

int32_t Total(const std::vector<Piece>& pieces) {
  uint32_t total = 0;
  for (const Piece& piece : pieces) total += piece.tokens;
  return static_cast<int32_t>(total);
}

std::string Ids(uint32_t count, bool as_strings) {
  std::string ids = "[";
  for (uint32_t i = 0; i < count; ++i)
    ids += (i == 0 ? "" : ",") + std::string(as_strings ? "\"311\"" : "311");
  return ids + ']';
}

constexpr const char* kSse = "text/event-stream";

void WriteOpenAi(Maker& m, const std::vector<Piece>& pieces, RandomStream& s, bool chat) {
  const auto choice = [&](const std::string& member, const char* finish) {
    return "\"choices\":[" + m.Object({"\"index\":0", member, std::string("\"finish_reason\":") + finish}) +
           ']';
  };
  const auto text = [&](std::string_view t) {
    return chat ? "\"delta\":{\"content\":" + m.Quoted(t) + '}' : "\"text\":" + m.Quoted(t);
  };
  auto payloads = Payloads(pieces, [&](const Piece& piece, const std::string&, int64_t) {
    return m.Object({choice(text(piece.text), "null")});
  });
  if (chat)
    payloads.insert(payloads.begin(), m.Object({choice("\"delta\":{\"role\":\"assistant\"}", "null")}));
  payloads.push_back(m.Object({choice(text(""), "\"length\"")}));
  payloads.push_back(m.Object(
      {"\"choices\":[]",
       "\"usage\":" + m.Object({Number("prompt_tokens", 3), Number("completion_tokens", Total(pieces))})}));
  payloads.push_back("[DONE]");
  s.finish_reason = "length";
  s.output_tokens = Total(pieces);
  m.Http(kSse, m.Sse(payloads), s);
}

void WriteResponses(Maker& m, const std::vector<Piece>& pieces, RandomStream& s) {
  auto payloads = Payloads(pieces, [&](const Piece& piece, const std::string&, int64_t) {
    return m.Object({"\"type\":\"response.output_text.delta\"", "\"delta\":" + m.Quoted(piece.text)});
  });
  payloads.insert(payloads.begin(),
                  "{\"type\":\"response.created\",\"response\":{\"status\":\"in_progress\",\"error\":null}}");
  payloads.push_back(m.Object({"\"type\":\"response.output_text.done\"", "\"text\":" + m.Quoted(s.text)}));
  payloads.push_back(m.Object(
      {"\"type\":\"response.completed\"",
       "\"response\":" + m.Object({"\"status\":\"completed\"",
                                   "\"usage\":" + m.Object({Number("input_tokens", 3),
                                                            Number("output_tokens", Total(pieces))})})}));
  s.finish_reason = "completed";
  s.output_tokens = Total(pieces);
  m.Http(kSse, m.Sse(payloads), s);
}

void WriteAnthropic(Maker& m, const std::vector<Piece>& pieces, RandomStream& s) {
  auto payloads = Payloads(pieces, [&](const Piece& piece, const std::string&, int64_t) {
    return m.Object({"\"type\":\"content_block_delta\"", "\"index\":0",
                     "\"delta\":{\"type\":\"text_delta\",\"text\":" + m.Quoted(piece.text) + '}'});
  });
  payloads.insert(payloads.begin(),
                  R"({"type":"message_start","message":{"usage":{"input_tokens":3,"output_tokens":1}}})");
  payloads.push_back(R"({"type":"ping"})");
  payloads.push_back(
      R"({"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":)" +
      std::to_string(Total(pieces)) + "}}");
  payloads.push_back(R"({"type":"message_stop"})");
  s.finish_reason = "end_turn";
  s.output_tokens = Total(pieces);
  m.Http(kSse, m.Sse(payloads), s);
}

void WriteVllmGenerate(Maker& m, const std::vector<Piece>& pieces, RandomStream& s, bool nul) {
  s.prompt = m.Text();
  const auto payloads = Payloads(pieces, [&](const Piece&, const std::string& so_far, int64_t) {
    return m.Object({"\"text\":[" + m.Quoted(s.prompt + so_far) + ']'});
  });
  m.Http("", m.Lines(payloads, nul), s);
}

void WriteTgi(Maker& m, const std::vector<Piece>& pieces, RandomStream& s) {
  const auto event = [&](std::string_view text, const std::string& whole, const std::string& details) {
    return m.Object({"\"token\":{\"id\":311,\"text\":" + m.Quoted(text) + ",\"special\":false}",
                     "\"generated_text\":" + whole, "\"details\":" + details});
  };
  auto payloads = Payloads(pieces, [&](const Piece& piece, const std::string&, int64_t) {
    return event(piece.text, "null", "null");
  });
  s.output_tokens = s.token_ids = Total(pieces) + 1;
  s.text += "!";
  s.events.push_back({EventKind::kAnswer, 1});
  payloads.push_back(
      event("!", m.Quoted(s.text),
            R"({"finish_reason":"length","generated_tokens":)" + std::to_string(s.output_tokens) + '}'));
  s.finish_reason = "length";
  m.Http(kSse, m.Sse(payloads), s);
}

void WriteTriton(Maker& m, const std::vector<Piece>& pieces, RandomStream& s, bool cumulative) {
  if (cumulative) s.prompt = m.Text();
  const auto payloads = Payloads(pieces, [&](const Piece& piece, const std::string& so_far, int64_t) {
    return m.Object({"\"text_output\":" + m.Quoted(cumulative ? s.prompt + so_far : piece.text)});
  });
  m.Http(kSse, m.Sse(payloads), s);
}

void WriteSglang(Maker& m, const std::vector<Piece>& pieces, RandomStream& s, bool cumulative) {
  const auto event = [&](std::string_view text, const std::string& finish, int64_t tokens) {
    return m.Object(
        {"\"text\":" + m.Quoted(text),
         "\"meta_info\":" + m.Object({"\"finish_reason\":" + finish, Number("completion_tokens", tokens)})});
  };
  auto payloads = Payloads(pieces, [&](const Piece& piece, const std::string& so_far, int64_t tokens) {
    return event(cumulative ? so_far : piece.text, "null", tokens);
  });
  s.output_tokens = Total(pieces) + 1;
  payloads.push_back(event(cumulative ? s.text : "", R"({"type":"stop","matched":2})", s.output_tokens));
  payloads.push_back("[DONE]");
  s.finish_reason = "stop";
  m.Http(kSse, m.Sse(payloads), s);
}

void WriteLlamaCpp(Maker& m, const std::vector<Piece>& pieces, RandomStream& s) {
  const auto event = [&](std::string_view text, const std::string& stop, int64_t tokens) {
    return m.Object({"\"content\":" + m.Quoted(text), stop, Number("tokens_predicted", tokens)});
  };
  auto payloads = Payloads(pieces, [&](const Piece& piece, const std::string&, int64_t tokens) {
    return event(piece.text, "\"stop\":false", tokens);
  });
  s.output_tokens = Total(pieces);
  payloads.push_back(event("", R"("stop":true,"stop_type":"limit")", s.output_tokens));
  s.finish_reason = "limit";
  m.Http(kSse, m.Sse(payloads), s);
}

void WriteOllama(Maker& m, const std::vector<Piece>& pieces, RandomStream& s, bool chat) {
  const auto text = [&](std::string_view t) {
    return chat ? "\"message\":{\"role\":\"assistant\",\"content\":" + m.Quoted(t) + '}'
                : "\"response\":" + m.Quoted(t);
  };
  auto payloads = Payloads(pieces, [&](const Piece& piece, const std::string&, int64_t) {
    return m.Object({text(piece.text), "\"done\":false"});
  });
  s.output_tokens = Total(pieces);
  payloads.push_back(
      m.Object({text(""), R"("done":true,"done_reason":"length")", Number("eval_count", s.output_tokens)}));
  s.finish_reason = "length";
  m.Http("application/x-ndjson", m.Lines(payloads, false), s);
}

void WriteMii(Maker& m, const std::vector<Piece>& pieces, RandomStream& s) {
  auto payloads = Payloads(pieces, [&](const Piece& piece, const std::string&, int64_t) {
    return m.Object({"\"text\":[" + m.Quoted(piece.text) + ']'});
  });
  payloads.push_back("[DONE]");
  m.Http(kSse, m.Sse(payloads), s);
}

void WriteJetStream(Maker& m, const std::vector<Piece>& pieces, RandomStream& s) {
  const auto payloads = Payloads(pieces, [&](const Piece& piece, const std::string&, int64_t) {
    return "{\"text\":" + m.Quoted(piece.text) + '}';
  });
  m.Http(kSse, m.Documents(payloads), s);
}

void WriteJetStreamV1(Maker& m, const std::vector<Piece>& pieces, RandomStream& s) {
  auto payloads = Payloads(pieces, [&](const Piece& piece, const std::string&, int64_t) {
    return "{\"streamContent\":{\"samples\":[{\"text\":" + m.Quoted(piece.text) +
           ",\"tokenIds\":" + Ids(piece.tokens, m.Chance(2)) + "}]}}";
  });
  payloads.push_back(R"({"streamContent":{"samples":[]}})");
  s.token_ids = Total(pieces);
  m.Http(kSse, m.Documents(payloads), s);
}

void WriteTemplate(Maker& m, const std::vector<Piece>& pieces, RandomStream& s) {
  auto payloads = Payloads(pieces, [&](const Piece& piece, const std::string&, int64_t) {
    return m.Object({"\"out\":{\"piece\":" + m.Quoted(piece.text) + '}', Number("n", piece.tokens)});
  });
  payloads.push_back(R"({"state":"over","why":"enough"})");
  s.finish_reason = "enough";
  s.output_tokens = Total(pieces);
  m.Http("application/json", m.Lines(payloads, false), s);
}

const std::map<std::string, Format, std::less<>>& Formats() {
  using Pieces = const std::vector<Piece>&;
  static const std::map<std::string, Format, std::less<>> formats = {
      {"openai-completions",
       {"", false, [](Maker& m, Pieces p, RandomStream& s) { WriteOpenAi(m, p, s, false); }}},
      {"openai-chat", {"", false, [](Maker& m, Pieces p, RandomStream& s) { WriteOpenAi(m, p, s, true); }}},
      {"openai-responses", {"", false, WriteResponses}},
      {"anthropic-messages", {"", false, WriteAnthropic}},
      {"vllm-generate",
       {"", false, [](Maker& m, Pieces p, RandomStream& s) { WriteVllmGenerate(m, p, s, true); }}},
      {"vllm-generate lines",
       {"", false, [](Maker& m, Pieces p, RandomStream& s) { WriteVllmGenerate(m, p, s, false); }}},
      {"tgi", {"", true, WriteTgi}},
      {"triton", {"", false, [](Maker& m, Pieces p, RandomStream& s) { WriteTriton(m, p, s, false); }}},
      {"triton accumulated",
       {R"({"text_mode":"cumulative","strip_prompt":true})", false,
        [](Maker& m, Pieces p, RandomStream& s) { WriteTriton(m, p, s, true); }}},
      {"sglang", {"", true, [](Maker& m, Pieces p, RandomStream& s) { WriteSglang(m, p, s, true); }}},
      {"sglang incremental",
       {R"({"text_mode":"delta"})", true,
        [](Maker& m, Pieces p, RandomStream& s) { WriteSglang(m, p, s, false); }}},
      {"llamacpp", {"", true, WriteLlamaCpp}},
      {"ollama", {"", false, [](Maker& m, Pieces p, RandomStream& s) { WriteOllama(m, p, s, false); }}},
      {"ollama-chat", {"", false, [](Maker& m, Pieces p, RandomStream& s) { WriteOllama(m, p, s, true); }}},
      {"mii-generate", {"", false, WriteMii}},
      {"jetstream", {"", false, WriteJetStream}},
      {"jetstream-v1", {"", true, WriteJetStreamV1}},
      {"template",
       {R"({"framing":"ndjson","text":"/out/piece","output_tokens":"/n","count_mode":"per_chunk","finish_reason":"/why","done":{"/state":"over"}})",
        true, WriteTemplate}},
  };
  return formats;
}

}  // namespace

const std::vector<std::string>& RandomStreamNames() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const auto& [name, format] : Formats()) all.push_back(name);
    return all;
  }();
  return names;
}

RandomStream MakeRandomStream(std::string_view name, std::mt19937& random) {
  const Format& format = Formats().find(name)->second;
  Maker maker(random);
  RandomStream stream;
  stream.format = name.substr(0, name.find(' '));
  stream.rules = format.rules;
  std::vector<Piece> pieces(1 + maker.Below(12));
  for (Piece& piece : pieces) {
    piece.text = maker.Text();
    // One token an event is all that TGI's format can say.
    piece.tokens = stream.format == "tgi" ? 1 : 1 + static_cast<uint32_t>(maker.Below(3));
  }
  pieces.back().text += "x";  // an answer without any text is no answer
  for (const Piece& piece : pieces) {
    stream.text += piece.text;
    if (!piece.text.empty() || format.tells_tokens) {
      stream.events.push_back({piece.text.empty() ? EventKind::kNone : EventKind::kAnswer,
                               format.tells_tokens ? piece.tokens : 0});
    }
  }
  format.write(maker, pieces, stream);
  return stream;
}

}  // namespace llmbench::wire
