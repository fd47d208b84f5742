#include "llmbench/sim/http2_bridge.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#include "llmbench/sim/fastgen_grpc_messages.h"

namespace llmbench::sim {
namespace {

constexpr uint32_t kMaxStreams = 1000;
constexpr int32_t kWindow = 1 << 30;  // for request bodies

using Fields = std::vector<std::pair<std::string, std::string>>;

std::vector<nghttp2_nv> Lines(const Fields& fields) {
  std::vector<nghttp2_nv> lines;
  for (const auto& [name, value] : fields) {
    lines.push_back({reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
                     reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
                     NGHTTP2_NV_FLAG_NONE});
  }
  return lines;
}

std::string_view View(const uint8_t* bytes, size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

// "name: value" lines, names in lower case; those that belong to a connection are left out.
Fields ParseLines(std::string_view lines) {
  Fields fields;
  while (!lines.empty()) {
    const std::string_view line = lines.substr(0, lines.find("\r\n"));
    lines.remove_prefix(std::min(lines.size(), line.size() + 2));
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    std::string name(line.substr(0, colon));
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    if (name == "connection" || name == "keep-alive") continue;
    std::string_view value = line.substr(colon + 1);
    value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
    fields.emplace_back(std::move(name), value);
  }
  return fields;
}

}  // namespace

struct Http2Bridge::Stream {
  int32_t id = 0;
  // The request.
  std::string method, path, lines, body;
  bool grpc = false;
  bool taken = false;

  // The answer.
  enum class Part : uint8_t { kHead, kLength, kChunkSize, kChunk, kChunkEnd, kTrailers, kToEnd, kOver };
  Part part = Part::kHead;
  std::string in;   // not yet understood
  size_t left = 0;  // of the body or chunk
  bool grpc_answer = false, has_status = false;
  std::string out;    // of the body, not yet framed
  bool ends = false;  // nothing comes after `out`
  Fields trailers;
};

struct Http2Bridge::Callbacks {
  static int OnBegin(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    auto* const self = static_cast<Http2Bridge*>(user);
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    auto stream = std::make_unique<Stream>();
    stream->id = frame->hd.stream_id;
    self->streams_[frame->hd.stream_id] = std::move(stream);
    return 0;
  }

  static int OnHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name_bytes,
                      size_t name_size, const uint8_t* value_bytes, size_t value_size, uint8_t, void* user) {
    Stream* const stream = static_cast<Http2Bridge*>(user)->Find(frame->hd.stream_id);
    if (stream == nullptr) return 0;
    const std::string_view name = View(name_bytes, name_size), value = View(value_bytes, value_size);
    if (name == ":method") {
      stream->method = value;
    } else if (name == ":path") {
      stream->path = value;
    } else if (name == ":authority") {
      stream->lines.append("host: ").append(value).append("\r\n");
    } else if (name == "content-type" && value.substr(0, 16) == "application/grpc") {
      stream->grpc = true;
    } else if (name[0] != ':' && name != "content-length" && name != "te") {
      stream->lines.append(name).append(": ").append(value).append("\r\n");
    }
    return 0;
  }

  static int OnData(nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t size, void* user) {
    if (Stream* const stream = static_cast<Http2Bridge*>(user)->Find(id)) stream->body += View(data, size);
    return 0;
  }

  static int OnFrame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    auto* const self = static_cast<Http2Bridge*>(user);
    if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) return 0;
    Stream* const stream = self->Find(frame->hd.stream_id);
    if (stream == nullptr || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
    std::string body = std::exchange(stream->body, {});
    std::string bytes = stream->method + " " + stream->path + " HTTP/1.1\r\n" + stream->lines;
    if (stream->grpc) {
      body = FastgenRequestToJson(body);
      bytes += "content-type: application/json\r\n";
    }
    bytes += "connection: close\r\n";
    if (!body.empty() || stream->method == "POST") {
      bytes += "content-length: " + std::to_string(body.size()) + "\r\n";
    }
    bytes += "\r\n" + body;
    stream->taken = true;
    self->requests_->push_back({stream->id, std::move(bytes)});
    return 0;
  }

  static int OnClose(nghttp2_session*, int32_t id, uint32_t, void* user) {
    auto* const self = static_cast<Http2Bridge*>(user);
    const Stream* const stream = self->Find(id);
    if (stream == nullptr) return 0;
    if (stream->taken && self->given_up_ != nullptr) self->given_up_->push_back(id);
    self->streams_.erase(id);
    return 0;
  }

  static ssize_t Read(nghttp2_session* session, int32_t id, uint8_t* out, size_t room, uint32_t* flags,
                      nghttp2_data_source*, void* user) {
    Stream* const stream = static_cast<Http2Bridge*>(user)->Find(id);
    if (stream == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (stream->out.empty() && !stream->ends) return NGHTTP2_ERR_DEFERRED;
    const size_t size = std::min(room, stream->out.size());
    std::memcpy(out, stream->out.data(), size);
    stream->out.erase(0, size);
    if (stream->out.empty() && stream->ends) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (!stream->trailers.empty()) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        const auto lines = Lines(stream->trailers);
        nghttp2_submit_trailer(session, id, lines.data(), lines.size());
      }
    }
    return static_cast<ssize_t>(size);
  }
};

Http2Bridge::Http2Bridge() {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, &Callbacks::OnBegin);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, &Callbacks::OnHeader);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, &Callbacks::OnData);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, &Callbacks::OnFrame);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, &Callbacks::OnClose);
  nghttp2_session_server_new(&session_, callbacks, this);
  nghttp2_session_callbacks_del(callbacks);
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, kMaxStreams},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, static_cast<uint32_t>(kWindow)},
  };
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, std::size(settings));
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kWindow);
}

Http2Bridge::~Http2Bridge() { nghttp2_session_del(session_); }

Http2Bridge::Stream* Http2Bridge::Find(int32_t id) {
  const auto at = streams_.find(id);
  return at == streams_.end() ? nullptr : at->second.get();
}

bool Http2Bridge::Receive(std::string_view bytes, std::vector<Request>* requests,
                          std::vector<int32_t>* given_up) {
  requests_ = requests;
  given_up_ = given_up;
  const ssize_t taken =
      nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  requests_ = nullptr;
  given_up_ = nullptr;
  return taken >= 0 &&
         (nghttp2_session_want_read(session_) != 0 || nghttp2_session_want_write(session_) != 0);
}

void Http2Bridge::TakeOutput(std::string* out) {
  const uint8_t* data;
  for (ssize_t size; (size = nghttp2_session_mem_send(session_, &data)) > 0;) {
    out->append(View(data, static_cast<size_t>(size)));
  }
}

void Http2Bridge::Answer(int32_t id, std::string_view bytes) {
  Stream* const stream = Find(id);
  if (stream == nullptr || stream->part == Stream::Part::kOver) return;
  stream->in += bytes;
  while (stream->part == Stream::Part::kHead) {
    const size_t end = stream->in.find("\r\n\r\n");
    if (end == std::string::npos) return;
    const std::string head = stream->in.substr(0, end + 2);
    stream->in.erase(0, end + 4);
    OnHead(stream, head);
    if (Find(id) == nullptr) return;
  }
  OnBody(stream);
}

void Http2Bridge::OnHead(Stream* stream, std::string_view head) {
  const size_t line_end = head.find("\r\n");
  int status = 0;
  if (head.size() > 12 && head.substr(0, 5) == "HTTP/") {
    std::from_chars(head.data() + 9, head.data() + 12, status);
  }
  if (status < 100 || status > 999) return Reset(stream->id);
  Fields fields = ParseLines(head.substr(line_end + 2));
  fields.insert(fields.begin(), {":status", std::to_string(status)});
  if (status / 100 == 1) {
    const auto lines = Lines(fields);
    nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, stream->id, nullptr, lines.data(), lines.size(),
                           nullptr);
    return;
  }
  stream->part = Stream::Part::kToEnd;
  for (const auto& [name, value] : fields) {
    if (name == "transfer-encoding") stream->part = Stream::Part::kChunkSize;
    if (name == "grpc-status") stream->has_status = true;
    if (name == "content-type") stream->grpc_answer = value.substr(0, 16) == "application/grpc";
    if (name != "content-length") continue;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), stream->left);
    if (error != std::errc() || end != value.data() + value.size()) return Reset(stream->id);
    stream->part = Stream::Part::kLength;
  }
  std::erase_if(fields, [](const auto& field) { return field.first == "transfer-encoding"; });
  const bool empty = stream->part == Stream::Part::kLength && stream->left == 0;
  const auto lines = Lines(fields);
  if (empty) {
    stream->part = Stream::Part::kOver;
    nghttp2_submit_response(session_, stream->id, lines.data(), lines.size(), nullptr);
    return;
  }
  const nghttp2_data_provider provider = {.source = {.ptr = nullptr}, .read_callback = &Callbacks::Read};
  nghttp2_submit_response(session_, stream->id, lines.data(), lines.size(), &provider);
}

void Http2Bridge::OnBody(Stream* stream) {
  std::string& in = stream->in;
  size_t at = 0;
  const auto line = [&](size_t* end) {
    *end = in.find("\r\n", at);
    return *end != std::string::npos;
  };
  for (bool more = true; more;) {
    size_t end;
    switch (stream->part) {
      case Stream::Part::kLength:
      case Stream::Part::kChunk: {
        const size_t size = std::min(stream->left, in.size() - at);
        stream->out.append(in, at, size);
        at += size;
        stream->left -= size;
        if (stream->left > 0) {
          more = false;
        } else if (stream->part == Stream::Part::kLength) {
          End(stream, true);
        } else {
          stream->part = Stream::Part::kChunkEnd;
        }
        break;
      }
      case Stream::Part::kChunkSize: {
        if (!line(&end)) {
          more = false;
          break;
        }
        const auto [stop, error] = std::from_chars(in.data() + at, in.data() + end, stream->left, 16);
        if (error != std::errc() || stop == in.data() + at) return Reset(stream->id);
        at = end + 2;
        stream->part = stream->left > 0 ? Stream::Part::kChunk : Stream::Part::kTrailers;
        break;
      }
      case Stream::Part::kChunkEnd:
        if (in.size() - at < 2) {
          more = false;
          break;
        }
        at += 2;
        stream->part = Stream::Part::kChunkSize;
        break;
      case Stream::Part::kTrailers:
        if (!line(&end)) {
          more = false;
          break;
        }
        if (end == at) {
          End(stream, true);
        } else {
          for (auto& field : ParseLines(std::string_view(in).substr(at, end - at))) {
            stream->trailers.push_back(std::move(field));
          }
        }
        at = end + 2;
        break;
      case Stream::Part::kToEnd:
        stream->out.append(in, at, std::string::npos);
        at = in.size();
        more = false;
        break;
      case Stream::Part::kHead:
      case Stream::Part::kOver:
        more = false;
        break;
    }
  }
  in.erase(0, at);
  Resume(stream);
}

void Http2Bridge::End(Stream* stream, bool whole) {
  stream->part = Stream::Part::kOver;
  stream->ends = true;
  if (whole && stream->grpc_answer && !stream->has_status) stream->trailers.emplace_back("grpc-status", "0");
}

void Http2Bridge::Resume(Stream* stream) {
  if (!stream->out.empty() || stream->ends) nghttp2_session_resume_data(session_, stream->id);
}

void Http2Bridge::Close(int32_t id) {
  Stream* const stream = Find(id);
  if (stream == nullptr || stream->part == Stream::Part::kOver) return;
  if (stream->part == Stream::Part::kHead) return Reset(id);
  const bool to_end = stream->part == Stream::Part::kToEnd;  // a body without a length ends so
  if (!to_end && !stream->grpc_answer) return Reset(id);
  End(stream, to_end);
  Resume(stream);
}

void Http2Bridge::Reset(int32_t id) {
  if (Stream* const stream = Find(id)) stream->part = Stream::Part::kOver;
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, NGHTTP2_INTERNAL_ERROR);
}

void Http2Bridge::Abandon(int32_t id) {
  const Stream* const stream = Find(id);
  if (stream != nullptr && stream->part != Stream::Part::kOver) Reset(id);
}

void Http2Bridge::GoAway() {
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_),
                        NGHTTP2_NO_ERROR, nullptr, 0);
}

}  // namespace llmbench::sim
