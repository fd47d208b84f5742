#include "llmbench/wire/http2_session.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cstring>

#include "llmbench/wire/escape.h"

namespace llmbench::wire {
namespace {

constexpr int32_t kStreamWindow = 16 * 1024 * 1024;
constexpr int32_t kConnectionWindow = 1024 * 1024 * 1024;

nghttp2_nv Field(const std::pair<std::string, std::string>& field) {
  const auto bytes = [](const std::string& s) {
    return reinterpret_cast<uint8_t*>(const_cast<char*>(s.data()));
  };
  return {bytes(field.first), bytes(field.second), field.first.size(), field.second.size(),
          NGHTTP2_NV_FLAG_NONE};
}

std::string_view View(const uint8_t* bytes, size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

}  // namespace

// What nghttp2 calls: each hands on to the stream, if somebody still waits for it.
struct Http2Session::Callbacks {
  static Http2Stream* Of(nghttp2_session* session, int32_t id) {
    return static_cast<Http2Stream*>(nghttp2_session_get_stream_user_data(session, id));
  }
  static void Forget(nghttp2_session* session, int32_t id) {
    nghttp2_session_set_stream_user_data(session, id, nullptr);
  }

  static int OnHeader(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name,
                      size_t name_size, const uint8_t* value, size_t value_size, uint8_t, void* user) {
    Http2Stream* const stream = Of(session, frame->hd.stream_id);
    if (stream == nullptr || frame->hd.type != NGHTTP2_HEADERS) return 0;
    std::string& fields = stream->fields_;
    if (fields.size() + name_size + value_size > static_cast<Http2Session*>(user)->max_header_bytes_) {
      stream->fields_too_large_ = true;
      return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;  // ends the stream
    }
    fields.append(View(name, name_size)).append(": ").append(View(value, value_size)).append("\n");
    return 0;
  }

  static int OnData(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* data, size_t size, void*) {
    if (Http2Stream* const stream = Of(session, id); stream != nullptr) stream->OnData(View(data, size));
    return 0;
  }

  static int OnFrame(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    auto* const self = static_cast<Http2Session*>(user);
    if (frame->hd.type == NGHTTP2_SETTINGS) self->established_ = true;
    if (frame->hd.type == NGHTTP2_GOAWAY) self->goaway_received_ = true;
    Http2Stream* const stream = frame->hd.stream_id > 0 ? Of(session, frame->hd.stream_id) : nullptr;
    if (stream == nullptr) return 0;
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
        stream->OnFields(stream->fields_);
        stream->fields_.clear();
        [[fallthrough]];
      case NGHTTP2_DATA:
        if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
        Forget(session, frame->hd.stream_id);
        // Nobody needs the rest of the request.
        if (!stream->unsent_.empty()) {
          nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
        }
        stream->OnEnd();
        return 0;
      case NGHTTP2_RST_STREAM:
        stream->reset_by_peer_ = true;
        return 0;
      default:
        return 0;
    }
  }

  static int OnClose(nghttp2_session* session, int32_t id, uint32_t code, void* user) {
    Http2Stream* const stream = Of(session, id);
    if (stream == nullptr) return 0;
    Forget(session, id);
    const auto* const self = static_cast<Http2Session*>(user);
    const std::string name = nghttp2_http2_strerror(code);
    if (code == NGHTTP2_REFUSED_STREAM) {
      stream->OnBroken(Http2Break::kUnprocessed, "the server refused the stream (REFUSED_STREAM)");
    } else if (stream->reset_by_peer_) {
      stream->OnBroken(Http2Break::kReset, "the server reset the stream (" + name + ")");
    } else if (stream->fields_too_large_) {
      stream->OnBroken(Http2Break::kHeaderTooLarge,
                       "the header is larger than " + std::to_string(self->max_header_bytes_) + " bytes");
    } else {
      stream->OnBroken(Http2Break::kProtocol, "the response breaks the rules of HTTP/2 (" + name + ")" +
                                                  (self->error_.empty() ? "" : ": " + self->error_));
    }
    return 0;
  }

  static int OnFrameSent(nghttp2_session* session, const nghttp2_frame* frame, void*) {
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
    Http2Stream* const stream = Of(session, frame->hd.stream_id);
    if (stream == nullptr) return 0;
    constexpr size_t kFrameHeader = 9;
    stream->OnFramed(frame->hd.length + kFrameHeader, (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0);
    return 0;
  }

  static int OnError(nghttp2_session*, int, const char* text, size_t size, void* user) {
    static_cast<Http2Session*>(user)->error_ = OneLine({text, size});
    return 0;
  }

  static ssize_t ReadBody(nghttp2_session* session, int32_t id, uint8_t* out, size_t room, uint32_t* flags,
                          nghttp2_data_source*, void*) {
    Http2Stream* const stream = Of(session, id);
    if (stream == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;  // has ended
    const size_t size = std::min(room, stream->unsent_.size());
    std::memcpy(out, stream->unsent_.data(), size);
    stream->unsent_.remove_prefix(size);
    if (stream->unsent_.empty()) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(size);
  }

  // One table for all sessions; never freed.
  static const nghttp2_session_callbacks* Table() {
    static const nghttp2_session_callbacks* const table = [] {
      nghttp2_session_callbacks* made = nullptr;
      nghttp2_session_callbacks_new(&made);
      nghttp2_session_callbacks_set_on_header_callback(made, &OnHeader);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, &OnData);
      nghttp2_session_callbacks_set_on_frame_recv_callback(made, &OnFrame);
      nghttp2_session_callbacks_set_on_stream_close_callback(made, &OnClose);
      nghttp2_session_callbacks_set_on_frame_send_callback(made, &OnFrameSent);
      nghttp2_session_callbacks_set_error_callback2(made, &OnError);
      return made;
    }();
    return table;
  }
};

Http2Session::Http2Session(size_t max_header_bytes) : max_header_bytes_(max_header_bytes) {
  nghttp2_session_client_new(&session_, Callbacks::Table(), this);
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindow},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<uint32_t>(max_header_bytes)},
  };
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, std::size(settings));
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kConnectionWindow);
}

Http2Session::~Http2Session() { nghttp2_session_del(session_); }

int32_t Http2Session::Submit(const HeaderFields& fields, const HeaderFields& extra, std::string_view body,
                             Http2Stream* stream) {
  if (closing()) return -1;
  std::vector<nghttp2_nv> all;
  all.reserve(fields.size() + extra.size());
  for (const auto& field : fields) all.push_back(Field(field));
  for (const auto& field : extra) all.push_back(Field(field));
  stream->unsent_ = body;
  stream->fields_.clear();
  stream->fields_too_large_ = stream->reset_by_peer_ = false;
  const nghttp2_data_provider provider = {.source = {.ptr = nullptr}, .read_callback = &Callbacks::ReadBody};
  return nghttp2_submit_request(session_, nullptr, all.data(), all.size(), body.empty() ? nullptr : &provider,
                                stream);
}

void Http2Session::Cancel(int32_t id) {
  if (Callbacks::Of(session_, id) == nullptr) return;
  Callbacks::Forget(session_, id);
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
}

void Http2Session::GoAway() { nghttp2_session_terminate_session(session_, NGHTTP2_NO_ERROR); }

absl::Status Http2Session::Receive(std::string_view bytes) {
  const ssize_t taken =
      nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  if (taken < 0) {
    return absl::InternalError(error_.empty() ? nghttp2_strerror(static_cast<int>(taken)) : error_);
  }
  // What nghttp2 finds wrong with a connection it tells the peer; then it wants no more.
  Drain();
  if (nghttp2_session_want_read(session_) != 0 || goaway_received_) return absl::OkStatus();
  if (!established_) {
    const std::string_view line = bytes.substr(0, bytes.find_first_of("\r\n"));
    return absl::InternalError("the server does not speak HTTP/2: it answered " + Quote(line) +
                               "; check the port, or leave --http2 out");
  }
  return absl::InternalError(error_.empty() ? "the server broke the rules of HTTP/2" : error_);
}

void Http2Session::Drain() {
  const uint8_t* data;
  for (ssize_t size; (size = nghttp2_session_mem_send(session_, &data)) > 0;) {
    out_.append(View(data, static_cast<size_t>(size)));
  }
}

void Http2Session::TakeOutput(std::string* out) {
  Drain();
  if (out->empty()) {
    out->swap(out_);
  } else {
    out->append(out_);
  }
  out_.clear();
}

bool Http2Session::closing() const {
  return goaway_received_ || nghttp2_session_check_request_allowed(session_) == 0;
}

int64_t Http2Session::max_streams() const {
  return nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

}  // namespace llmbench::wire
