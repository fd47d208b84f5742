#include <algorithm>
#include <limits>
#include <utility>

#include "llmbench/sim/batching_model.h"
#include "llmbench/sim/fault_bytes.h"
#include "llmbench/sim/serving_loop.h"

namespace llmbench::sim {
namespace {

constexpr size_t kKeepInput = 64 * 1024;  // an input buffer larger than this is given back
constexpr size_t kMaxChoices = 65'536;

constexpr const char* kJson = "application/json";

// At most this many of seconds, without a needless fraction.
std::string SecondsText(double seconds) {
  std::string text = std::to_string(seconds);
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  return text;
}

}  // namespace

void ServingLoop::ServeInput(uint32_t slot) {
  const uint32_t generation = connections_[slot]->generation;
  while (true) {
    Connection* connection = Find(slot, generation);
    if (connection == nullptr || connection->busy || connection->dispatching || connection->closing) return;
    if (connection->in.empty()) return;
    switch (connection->parser.Advance(connection->in.data(), connection->in.size())) {
      case HttpRequestParser::State::kHead:
        return;
      case HttpRequestParser::State::kBody:
        if (connection->parser.request().expect_continue && !connection->continue_sent) {
          connection->continue_sent = true;
          if (!Write(slot, "HTTP/1.1 100 Continue\r\n\r\n")) return;
        }
        connection->in.reserve(connection->parser.expected_size() + GenerationRequestParser::kPadding);
        return;
      case HttpRequestParser::State::kError:
        connection->answer.closes = true;
        ReplyError(slot,
                   {connection->parser.error_status(), "BadRequestError", connection->parser.error(), ""});
        return;
      case HttpRequestParser::State::kComplete:
        Dispatch(slot);
        break;
    }
  }
}

void ServingLoop::Dispatch(uint32_t slot) {
  Connection& connection = *connections_[slot];
  const uint32_t generation = connection.generation;
  const HttpRequest& request = connection.parser.request();
  Answer& answer = connection.answer;
  ++connection.requests;
  answer = Answer();
  answer.request_id = request.request_id;
  answer.received_ns = connection.received_ns;
  answer.http_1_0 = request.http_1_0;
  answer.closes = !request.keep_alive || options_.close_after_reply ||
                  (options_.keep_alive_requests > 0 && connection.requests >= options_.keep_alive_requests);
  connection.dispatching = true;
  Route(slot);
  if (Find(slot, generation) == nullptr) return;
  connection.dispatching = false;
  connection.in.erase(0, connection.parser.consumed());
  if (connection.in.capacity() > kKeepInput && connection.in.empty()) std::string().swap(connection.in);
  connection.parser.Reset();
  connection.continue_sent = false;
}

void ServingLoop::Route(uint32_t slot) {
  const HttpRequest& request = connections_[slot]->parser.request();
  const std::string_view target = request.target;
  const bool get = request.method == "GET" || request.method == "HEAD";
  const bool post = request.method == "POST";
  if (static_cast<double>(turn_ns_ - started_ns_) < options_.startup_s * kNsPerSecond) {
    ReplyError(slot, {503, "unavailable_error", "Loading model", ""});
    return;
  }
  // Like vLLM, which guards only what is under /v1.
  if (!service_.api_key.empty() && target.substr(0, 3) == "/v1" &&
      request.authorization != "Bearer " + service_.api_key) {
    Reply(slot, 401, kJson, R"({"error":"Unauthorized"})", "");
    return;
  }
  const bool completions = target == "/v1/completions";
  if (completions || target == "/v1/chat/completions") {
    if (post) {
      Generate(slot, completions ? BodyKind::kCompletion : BodyKind::kChat);
    } else {
      Reply(slot, 405, kJson, R"({"detail":"Method Not Allowed"})", "allow: POST\r\n");
    }
  } else if (post && target == "/tokenize") {
    TokenizeOnly(slot);
  } else if (get && (target == "/health" || target == "/ping")) {
    Reply(slot, 200, "", "", "");
  } else if (get && target == "/version") {
    Reply(slot, 200, kJson, R"({"version":"llmbench-sim"})", "");
  } else if (get && target == "/v1/models") {
    ListModels(slot);
  } else if (get && target == "/metrics") {
    ShowMetrics(slot);
  } else {
    Reply(slot, 404, kJson, R"({"detail":"Not Found"})", "");
  }
}

void ServingLoop::ListModels(uint32_t slot) {
  const std::string& model = service_.deployment.model;
  std::string body = R"({"object":"list","data":[{"id":)";
  AppendJsonString(model, &body);
  body += R"(,"object":"model","created":0,"owned_by":"llmbench","root":)";
  AppendJsonString(model, &body);
  body += R"(,"parent":null,"max_model_len":)";
  body += max_model_len_ > 0 ? std::to_string(max_model_len_) : "null";
  body += "}]}";
  Reply(slot, 200, kJson, body, "");
}

void ServingLoop::ShowMetrics(uint32_t slot) {
  const Listener& listener = listeners_[connections_[slot]->listener];
  std::vector<const Metrics*> engines;
  for (uint32_t i = 0; i < listener.replicas; ++i)
    engines.push_back(&replicas_[listener.first + i]->ReadMetrics());
  Reply(slot, 200, "text/plain; version=0.0.4; charset=utf-8",
        MetricsPage(engines, service_.deployment.model), "");
}

void ServingLoop::TokenizeOnly(uint32_t slot) {
  Connection& connection = *connections_[slot];
  const ApiError error = ParseBody(connection, BodyKind::kTokenize, true);
  if (error.status != 0) {
    ReplyError(slot, error);
    return;
  }
  const Prompt& prompt = connection.answer.request.prompts[0];
  std::string body = "{\"count\":";
  AppendNumber(prompt.tokens, &body);
  body += ",\"max_model_len\":";
  AppendNumber(max_model_len_ > 0 ? max_model_len_ : std::numeric_limits<int32_t>::max(), &body);
  body += ",\"tokens\":[";
  for (size_t i = 0; i < prompt.ids.size(); ++i) {
    if (i > 0) body += ',';
    AppendNumber(prompt.ids[i], &body);
  }
  body += "],\"token_strs\":null}";
  Reply(slot, 200, kJson, body, "");
}

void ServingLoop::Reply(uint32_t slot, int status, std::string_view content_type, std::string_view body,
                        std::string_view extra) {
  Connection& connection = *connections_[slot];
  const bool head_only = connection.parser.request().method == "HEAD";
  reply_.clear();
  writer_.AppendReply(status, content_type, body, connection.answer.closes, extra, &reply_);
  if (head_only) reply_.resize(reply_.size() - body.size());
  if (!Write(slot, reply_)) return;
  if (status >= 300) LogTruth(connection, status, true);
  AfterReply(slot);
}

void ServingLoop::ReplyError(uint32_t slot, const ApiError& error) {
  Reply(slot, error.status, kJson, AnswerWriter::ErrorBody(error), "");
}

void ServingLoop::AfterReply(uint32_t slot) {
  Connection& connection = *connections_[slot];
  if (connection.answer.closes) {
    CloseWhenSent(slot);
    return;
  }
  if (service_.idle_close_ms.second <= 0) return;
  Replica& replica = *replicas_[listeners_[connection.listener].first];
  connection.idle_close_ns = MonotonicNs() + replica.DrawIdleNs();
  PushTimer(slot, connection.idle_close_ns, TimerKind::kIdleClose);
}

ApiError ServingLoop::ParseBody(Connection& connection, BodyKind kind, bool want_ids) {
  if (!connection.parser.request().body_is_json) {
    return {400, "BadRequestError", "Unsupported Media Type: Only 'application/json' is allowed", ""};
  }
  connection.in.reserve(connection.in.size() + GenerationRequestParser::kPadding);
  return body_parser_.Parse(connection.in.data() + connection.parser.body_offset(),
                            connection.parser.body_size(), kind, want_ids, &connection.answer.request);
}

ApiError ServingLoop::CheckLimits(const GenerationRequest& request) const {
  if (options_.strict_model && !request.model.empty() && request.model != service_.deployment.model) {
    return {404, "NotFoundError", "The model `" + request.model + "` does not exist.", "model"};
  }
  if (request.choices() > kMaxChoices) return {400, "BadRequestError", "too many prompts and choices", "n"};
  if (max_model_len_ == 0) return {};
  for (const Prompt& prompt : request.prompts) {
    const int64_t output = std::max<int64_t>(0, request.max_tokens);
    if (prompt.tokens + output <= max_model_len_ && prompt.tokens < max_model_len_) continue;
    const std::string part = request.chat ? "messages" : "prompt";
    return {400, "BadRequestError",
            "This model's maximum context length is " + std::to_string(max_model_len_) +
                " tokens. However, you requested " + std::to_string(prompt.tokens + output) + " tokens (" +
                std::to_string(prompt.tokens) + " in the " + part + ", " + std::to_string(output) +
                " in the completion). Please reduce the length of the " + part + " or completion.",
            ""};
  }
  return {};
}

uint32_t ServingLoop::LeastLoaded(Listener& listener) {
  uint32_t best = listener.first;
  int64_t best_load = std::numeric_limits<int64_t>::max();
  for (uint32_t i = 0; i < listener.replicas; ++i) {
    const uint32_t candidate = listener.first + (listener.turn + i) % listener.replicas;
    if (replicas_[candidate]->in_flight() >= best_load) continue;
    best = candidate;
    best_load = replicas_[candidate]->in_flight();
  }
  // Equals take turns.
  listener.turn = (listener.turn + 1) % listener.replicas;
  return best;
}

void ServingLoop::Generate(uint32_t slot, BodyKind kind) {
  Connection& connection = *connections_[slot];
  Answer& answer = connection.answer;
  const bool hashes_prompts = !options_.fixed && options_.prefix_caching;
  ApiError error = ParseBody(connection, kind, hashes_prompts);
  if (error.status == 0) error = CheckLimits(answer.request);
  if (const std::string& wanted = connection.parser.request().fault; error.status == 0 && !wanted.empty()) {
    absl::StatusOr<Fault> fault = ParseFault(wanted);
    if (fault.ok()) {
      answer.fault = *std::move(fault);
    } else {
      error = {400, "BadRequestError", "X-Sim-Fault: " + std::string(fault.status().message()), ""};
    }
  }
  if (error.status != 0) {
    ReplyError(slot, error);
    return;
  }
  answer.replica = LeastLoaded(listeners_[connection.listener]);
  ReplicaOf(answer).Begin(&answer);
  if (ReplyFault(slot)) return;
  StartAnswer(slot);
}

bool ServingLoop::ReplyFault(uint32_t slot) {
  Connection& connection = *connections_[slot];
  Answer& answer = connection.answer;
  const Fault& fault = answer.fault;
  switch (fault.kind) {
    case FaultKind::kStatus: {
      std::string extra;
      if (fault.status == 429 || fault.status == 503)
        extra = "retry-after: " + SecondsText(options_.retry_after_s) + "\r\n";
      if (fault.status < 400) extra = "location: /elsewhere\r\n";
      const ApiError error = {fault.status, ErrorTypeOf(fault.status), "injected fault", ""};
      const bool unauthorized = fault.status == 401;
      Reply(slot, fault.status, kJson,
            unauthorized ? R"({"error":"Unauthorized"})" : AnswerWriter::ErrorBody(error), extra);
      return true;
    }
    case FaultKind::kHtml:
    case FaultKind::kEmpty: {
      const bool html = fault.is(FaultKind::kHtml);
      const char* type = html                    ? "text/html"
                         : answer.request.stream ? "text/event-stream; charset=utf-8"
                                                 : kJson;
      LogTruth(connection, 200, false);
      Reply(slot, 200, type, html ? "<!DOCTYPE html><html><body><h1>Bad Gateway</h1></body></html>" : "", "");
      return true;
    }
    case FaultKind::kGarbage:
    case FaultKind::kBadLength:
    case FaultKind::kTwoLengths:
    case FaultKind::kHugeHeader:
    case FaultKind::kGzip:
      LogTruth(connection, 200, false);
      if (Write(slot, MalformedReply(fault))) CloseWhenSent(slot);
      return true;
    case FaultKind::kCloseEarly:
      LogTruth(connection, 0, false);
      Close(slot);
      return true;
    case FaultKind::kResetEarly:
      LogTruth(connection, 0, false);
      Reset(slot);
      return true;
    case FaultKind::kNoAnswer:
      connection.busy = true;
      ReplicaOf(answer).Entered();
      return true;
    case FaultKind::kErrorFirst:
      if (answer.request.stream) return false;
      LogTruth(connection, 200, false);
      Reply(slot, 200, kJson, WrongEvent(fault, ""), "");
      return true;
    case FaultKind::kNotStreamed:
      answer.request.stream = false;
      return false;
    case FaultKind::kContinues:
      for (int i = 0; i < 3; ++i) {
        if (!Write(slot, "HTTP/1.1 100 Continue\r\n\r\n")) return true;
      }
      return false;
    default:
      return false;
  }
}

}  // namespace llmbench::sim
