#include "llmbench/wire/http2_session.h"

#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace llmbench::wire {
namespace {

constexpr size_t kMaxHeader = 64 * 1024;

// What a stream was told, in order: "fields(…)", "data(…)", "end", "broken(…)", "framed".
struct Stream : Http2Stream {
  void OnFields(std::string_view lines) override { Note("fields(" + std::string(lines) + ")"); }
  void OnData(std::string_view bytes) override { Note("data(" + std::string(bytes) + ")"); }
  void OnEnd() override { Note("end"); }
  void OnBroken(Http2Break kind, std::string_view why) override {
    broken = kind;
    Note("broken(" + std::string(why) + ")");
  }
  void OnFramed(size_t bytes, bool all) override {
    framed += bytes;
    all_framed = all_framed || all;
  }
  void Note(const std::string& what) { log += (log.empty() ? "" : " ") + what; }

  std::string log;
  Http2Break broken = Http2Break::kReset;
  size_t framed = 0;
  bool all_framed = false;
};

using Fields = std::vector<std::pair<std::string, std::string>>;

TEST(ForEachField, GivesNamesAndValuesInOrder) {
  const struct {
    std::string_view lines;
    Fields expected;
  } kCases[] = {
      {"", {}},
      {":status: 200\ncontent-type: t\n", {{":status", "200"}, {"content-type", "t"}}},
      {"a: 1\na: 2\n", {{"a", "1"}, {"a", "2"}}},
      {"date: Tue, 1 Jan: 10:00\n", {{"date", "Tue, 1 Jan: 10:00"}}},  // the first ": " parts them
      {"empty: \nlast: no line end", {{"empty", ""}, {"last", "no line end"}}},
      {"\n\na: 1\n\n", {{"a", "1"}}},
      {"a:1\nno colon\n: nameless\n:\nb: 2\n", {{"b", "2"}}},
      {":: x\n", {{":", "x"}}},
  };
  for (const auto& row : kCases) {
    Fields fields;
    ForEachField(row.lines,
                 [&](std::string_view name, std::string_view value) { fields.emplace_back(name, value); });
    EXPECT_EQ(fields, row.expected) << row.lines;
  }
}

// The other end, by nghttp2's own server side.
class Server {
 public:
  explicit Server(uint32_t max_streams = 100) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                      const uint8_t* value, size_t value_size, uint8_t, void* self) {
          static_cast<Server*>(self)->requests[frame->hd.stream_id] +=
              std::string(reinterpret_cast<const char*>(name), name_size) + ": " +
              std::string(reinterpret_cast<const char*>(value), value_size) + "\n";
          return 0;
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        callbacks, [](nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t size, void* self) {
          static_cast<Server*>(self)->bodies[id].append(reinterpret_cast<const char*>(data), size);
          return 0;
        });
    nghttp2_session_callbacks_set_on_stream_close_callback(
        callbacks, [](nghttp2_session*, int32_t id, uint32_t code, void* self) {
          static_cast<Server*>(self)->closed[id] = code;
          return 0;
        });
    nghttp2_session_server_new(&session, callbacks, this);
    nghttp2_session_callbacks_del(callbacks);
    const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, max_streams}};
    nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, 1);
  }
  ~Server() { nghttp2_session_del(session); }

  static std::vector<nghttp2_nv> Lines(const Fields& fields) {
    std::vector<nghttp2_nv> lines;
    for (const auto& [name, value] : fields) {
      lines.push_back({reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
                       reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
                       0});
    }
    return lines;
  }
  void Head(int32_t id, const Fields& fields, bool end = false) {
    const auto lines = Lines(fields);
    nghttp2_submit_headers(session, end ? NGHTTP2_FLAG_END_STREAM : NGHTTP2_FLAG_NONE, id, nullptr,
                           lines.data(), lines.size(), nullptr);
  }
  void Body(int32_t id, const std::string& bytes, bool end) {
    unsent = bytes;
    end_ = end;
    const nghttp2_data_provider provider = {
        .source = {.ptr = this},
        .read_callback = [](nghttp2_session*, int32_t, uint8_t* out, size_t room, uint32_t* flags,
                            nghttp2_data_source* source, void*) -> ssize_t {
          auto* const self = static_cast<Server*>(source->ptr);
          const size_t size = std::min(room, self->unsent.size());
          std::copy_n(self->unsent.data(), size, out);
          self->unsent.erase(0, size);
          if (self->unsent.empty()) *flags |= NGHTTP2_DATA_FLAG_EOF;
          if (!self->end_) *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
          return static_cast<ssize_t>(size);
        }};
    nghttp2_submit_data(session, NGHTTP2_FLAG_END_STREAM, id, &provider);
  }
  std::string Output() {
    std::string out;
    const uint8_t* data;
    for (ssize_t size; (size = nghttp2_session_mem_send(session, &data)) > 0;) {
      out.append(reinterpret_cast<const char*>(data), static_cast<size_t>(size));
    }
    return out;
  }
  void Input(const std::string& bytes) {
    ASSERT_EQ(nghttp2_session_mem_recv(session, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()),
              static_cast<ssize_t>(bytes.size()));
  }

  nghttp2_session* session = nullptr;
  std::map<int32_t, std::string> requests, bodies;
  std::map<int32_t, uint32_t> closed;
  std::string unsent;

 private:
  bool end_ = false;
};

struct Http2SessionTest : testing::Test {
  // Everything both ends have to say.
  void Exchange() {
    for (;;) {
      std::string to_server;
      client.TakeOutput(&to_server);
      const std::string to_client = server.Output();
      if (to_server.empty() && to_client.empty()) return;
      server.Input(to_server);
      if (!to_client.empty()) status = client.Receive(to_client);
    }
  }
  int32_t Submit(Stream& stream, std::string_view body = "ask") {
    return client.Submit({{":method", "POST"}, {":scheme", "http"}, {":authority", "h:1"}, {":path", "/p"}},
                         {{"x-request-id", "r1"}}, body, &stream);
  }

  Http2Session client{kMaxHeader};
  Server server;
  absl::Status status;
};

TEST_F(Http2SessionTest, ARequestAndItsResponseWithTrailers) {
  Stream stream;
  const int32_t id = Submit(stream);
  ASSERT_GT(id, 0);
  EXPECT_FALSE(client.established());
  Exchange();
  EXPECT_TRUE(client.established());
  EXPECT_EQ(server.requests[id],
            ":method: POST\n:scheme: http\n:authority: h:1\n:path: /p\nx-request-id: r1\n");
  EXPECT_EQ(server.bodies[id], "ask");
  EXPECT_TRUE(stream.all_framed);
  EXPECT_GT(stream.framed, size_t{9 + 9 + 3});

  server.Head(id, {{":status", "200"}, {"content-type", "t"}});
  server.Body(id, "abc", false);
  Exchange();
  server.Body(id, "d", false);
  Exchange();
  server.Head(id, {{"grpc-status", "0"}}, true);
  Exchange();
  EXPECT_EQ(stream.log,
            "fields(:status: 200\ncontent-type: t\n) data(abc) data(d) fields(grpc-status: 0\n) end");
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(Http2SessionTest, AnInterimResponseComesFirst) {
  Stream stream;
  const int32_t id = Submit(stream);
  Exchange();
  server.Head(id, {{":status", "100"}});
  server.Head(id, {{":status", "204"}}, true);
  Exchange();
  EXPECT_EQ(stream.log, "fields(:status: 100\n) fields(:status: 204\n) end");
}

TEST_F(Http2SessionTest, ABodyOverTheServersWindowWaitsForIt) {
  const std::string body(200'000, 'x');  // the window is 65 535 bytes until the server widens it
  Stream stream;
  const int32_t id = Submit(stream, body);
  std::string out;
  client.TakeOutput(&out);
  EXPECT_FALSE(stream.all_framed);
  server.Input(out);
  Exchange();
  EXPECT_TRUE(stream.all_framed);
  EXPECT_EQ(server.bodies[id], body);
}

TEST_F(Http2SessionTest, TheServersLimitIsKnown) {
  Server strict(7);
  std::string out;
  client.TakeOutput(&out);
  strict.Input(out);
  EXPECT_TRUE(client.Receive(strict.Output()).ok());
  EXPECT_EQ(client.max_streams(), 7);
}

TEST_F(Http2SessionTest, StreamsThatTheServerResets) {
  Stream reset, refused;
  const int32_t first = Submit(reset), second = Submit(refused);
  Exchange();
  server.Head(first, {{":status", "200"}});
  nghttp2_submit_rst_stream(server.session, NGHTTP2_FLAG_NONE, first, NGHTTP2_INTERNAL_ERROR);
  nghttp2_submit_rst_stream(server.session, NGHTTP2_FLAG_NONE, second, NGHTTP2_REFUSED_STREAM);
  Exchange();
  EXPECT_NE(reset.log.find("broken(the server reset the stream (INTERNAL_ERROR))"), std::string::npos)
      << reset.log;
  EXPECT_EQ(reset.broken, Http2Break::kReset);
  EXPECT_EQ(refused.broken, Http2Break::kUnprocessed);
  EXPECT_FALSE(client.closing());
}

TEST_F(Http2SessionTest, AServerThatGoesAwayDidNothingWithWhatItHasNotSeen) {
  Stream seen, unseen;
  const int32_t first = Submit(seen);
  Exchange();
  nghttp2_submit_goaway(server.session, NGHTTP2_FLAG_NONE, first, NGHTTP2_NO_ERROR, nullptr, 0);
  const std::string goaway = server.Output();
  Submit(unseen);
  EXPECT_TRUE(client.Receive(goaway).ok());
  EXPECT_TRUE(client.closing());
  EXPECT_EQ(Submit(unseen), -1);
  Exchange();
  EXPECT_EQ(unseen.broken, Http2Break::kUnprocessed);
  server.Head(first, {{":status", "200"}}, true);
  EXPECT_TRUE(client.Receive(server.Output()).ok());
  EXPECT_EQ(seen.log, "fields(:status: 200\n) end");
}

TEST_F(Http2SessionTest, ACancelledStreamIsNotToldAnything) {
  auto stream = std::make_unique<Stream>();
  const int32_t id = Submit(*stream);
  Exchange();
  server.Head(id, {{":status", "200"}});
  const std::string late = server.Output();
  client.Cancel(id);
  stream.reset();
  EXPECT_TRUE(client.Receive(late).ok());
  Exchange();
  EXPECT_EQ(server.closed[id], uint32_t{NGHTTP2_CANCEL});
  EXPECT_TRUE(status.ok());
}

TEST_F(Http2SessionTest, AnAnswerBeforeTheRequestIsWholeEndsBoth) {
  const std::string body(200'000, 'x');
  Stream stream;
  const int32_t id = Submit(stream, body);
  std::string out;
  client.TakeOutput(&out);
  server.Input(out.substr(0, 30'000));
  server.Head(id, {{":status", "413"}}, true);
  EXPECT_TRUE(client.Receive(server.Output()).ok());
  EXPECT_EQ(stream.log, "fields(:status: 413\n) end");
  out.clear();
  client.TakeOutput(&out);
  EXPECT_LT(out.size(), size_t{100});  // no more of the body
}

TEST(Http2Session, AHeaderThatIsTooLargeEndsItsStreamAlone) {
  Http2Session client(10'000);
  Server server;
  Stream stream, other;
  const Fields request = {{":method", "POST"}, {":scheme", "http"}, {":authority", "h:1"}, {":path", "/p"}};
  const int32_t id = client.Submit(request, {}, "ask", &stream);
  const int32_t next = client.Submit(request, {}, "ask", &other);
  std::string out;
  client.TakeOutput(&out);
  server.Input(out);
  server.Head(id, {{":status", "200"}, {"a", std::string(6'000, 'y')}, {"b", std::string(6'000, 'y')}});
  server.Head(next, {{":status", "200"}}, true);
  EXPECT_TRUE(client.Receive(server.Output()).ok());
  out.clear();
  client.TakeOutput(&out);  // the reset, with which the stream ends
  EXPECT_EQ(stream.log, "broken(the header is larger than 10000 bytes)");
  EXPECT_EQ(stream.broken, Http2Break::kHeaderTooLarge);
  EXPECT_EQ(other.log, "fields(:status: 200\n) end");
}

TEST_F(Http2SessionTest, AServerThatSpeaksHttp1) {
  Stream stream;
  Submit(stream);
  std::string out;
  client.TakeOutput(&out);
  const absl::Status refused = client.Receive("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
  EXPECT_FALSE(refused.ok());
  EXPECT_NE(refused.message().find("does not speak HTTP/2: it answered \"HTTP/1.1 400 Bad"),
            absl::string_view::npos)
      << refused;
  EXPECT_FALSE(client.established());
}

TEST_F(Http2SessionTest, AServerThatBreaksTheRules) {
  Stream stream;
  Submit(stream);
  Exchange();
  const std::string data_on_stream_0("\0\0\1\0\0\0\0\0\0x", 10);
  EXPECT_FALSE(client.Receive(data_on_stream_0).ok());
  EXPECT_TRUE(client.closing());
}

TEST_F(Http2SessionTest, AnySlicingOfTheBytes) {
  Stream stream;
  const int32_t id = Submit(stream);
  Exchange();
  server.Head(id, {{":status", "200"}});
  server.Body(id, "abc", true);
  const std::string bytes = server.Output();
  for (const char& byte : bytes) ASSERT_TRUE(client.Receive({&byte, 1}).ok());
  EXPECT_EQ(stream.log, "fields(:status: 200\n) data(a) data(b) data(c) end");
}

}  // namespace
}  // namespace llmbench::wire
