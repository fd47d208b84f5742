#include <time.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "llmbench/sim/batching_model.h"
#include "llmbench/sim/fault_bytes.h"
#include "llmbench/sim/json_text.h"
#include "llmbench/sim/serving_loop.h"

namespace llmbench::sim {
namespace {

constexpr size_t kKeepInput = 64 * 1024;  // an input buffer larger than this is given back
constexpr size_t kMaxChoices = 65'536;

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
        connection->answer.dialect = service_.dialects.front().get();
        connection->answer.http = &http_;
        Refuse(slot, {Refusal::kHttp, connection->parser.error_status(), connection->parser.error(), ""});
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
  answer.http = &http_;
  if (options_.document_framing == DocumentFraming::kClose) answer.closes = true;
  connection.dispatching = true;
  TakeRequest(slot);
  if (Find(slot, generation) == nullptr) return;
  connection.dispatching = false;
  connection.in.erase(0, connection.parser.consumed());
  if (connection.in.capacity() > kKeepInput && connection.in.empty()) std::string().swap(connection.in);
  connection.parser.Reset();
  connection.continue_sent = false;
}

Route ServingLoop::FindRoute(Connection& connection) {
  Route wrong;
  const Dialect* owner = service_.dialects.front().get();
  for (const auto& dialect : service_.dialects) {
    const Route route = dialect->Find(connection.parser.request());
    if (route.kind == Route::Kind::kNone) continue;
    if (route.kind == Route::Kind::kWrongMethod) {
      if (wrong.kind == Route::Kind::kNone) owner = dialect.get();
      wrong = route;
      continue;
    }
    connection.answer.dialect = dialect.get();
    return route;
  }
  connection.answer.dialect = owner;
  return wrong;
}

void ServingLoop::TakeRequest(uint32_t slot) {
  Connection& connection = *connections_[slot];
  const HttpRequest& request = connection.parser.request();
  const Route route = FindRoute(connection);
  const Dialect& dialect = *connection.answer.dialect;
  connection.answer.form = route.form;
  if (dialect.ClosesConnections()) connection.answer.closes = true;
  if (static_cast<double>(turn_ns_ - started_ns_) < options_.startup_s * kNsPerSecond) {
    Refuse(slot, {Refusal::kNotReady, 503, "Loading model", ""});
    return;
  }
  if (!service_.api_key.empty() && !dialect.MayPass(request, service_.api_key)) {
    Refuse(slot, {Refusal::kKey, 401, "Unauthorized", ""});
    return;
  }
  switch (route.kind) {
    case Route::Kind::kNone:
      Refuse(slot, {Refusal::kPath, 404, "Not Found", ""});
      break;
    case Route::Kind::kWrongMethod:
      Refuse(slot, {Refusal::kMethod, 405, "Method Not Allowed", ""});
      break;
    case Route::Kind::kGenerate:
      Generate(slot, route);
      break;
    case Route::Kind::kTokenize:
      TokenizeOnly(slot, route);
      break;
    case Route::Kind::kPage:
      SendReply(slot, dialect.Page(route.form, LoadOf(listeners_[connection.listener])));
      break;
    case Route::Kind::kMetrics:
      ShowMetrics(slot);
      break;
  }
}

Load ServingLoop::LoadOf(const Listener& listener) const {
  Load load;
  for (uint32_t i = 0; i < listener.replicas; ++i) {
    const Metrics& metrics = replicas_[listener.first + i]->ReadMetrics();
    load.running += metrics.running;
    load.waiting += metrics.waiting;
  }
  return load;
}

void ServingLoop::ShowMetrics(uint32_t slot) {
  Listener& listener = listeners_[connections_[slot]->listener];
  const MetricsNames names = MetricsNamesOf(options_);
  if (names == MetricsNames::kNone) {
    Refuse(slot, {Refusal::kPath, 404, "Not Found", ""});
    return;
  }
  std::vector<const Metrics*> engines;
  for (uint32_t i = 0; i < listener.replicas; ++i)
    engines.push_back(&replicas_[listener.first + i]->ReadMetrics());
  SendReply(slot, {200, "text/plain; version=0.0.4; charset=utf-8",
                   MetricsPage(engines, service_.deployment.model, names, &listener.scraped), ""});
}

void ServingLoop::TokenizeOnly(uint32_t slot, const Route& route) {
  Connection& connection = *connections_[slot];
  const ApiError error = ParseBody(connection, route, true);
  if (error) {
    Refuse(slot, error);
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
    AppendNumber(int64_t{prompt.ids[i]}, &body);
  }
  body += "],\"token_strs\":null}";
  SendReply(slot, {200, "application/json", std::move(body), ""});
}

void ServingLoop::SendReply(uint32_t slot, ServerReply reply) {
  Connection& connection = *connections_[slot];
  const int status = reply.status;
  const size_t held = connection.held.size();
  http_.Reply(connection.answer, reply, &connection.held);
  if (connection.parser.request().method == "HEAD") {
    connection.held.resize(connection.held.find("\r\n\r\n", held) + 4);
  }
  if (!Write(slot, connection.held)) return;
  connection.held.clear();
  if (status >= 300) LogTruth(connection, status, true);
  AfterReply(slot);
}

void ServingLoop::Refuse(uint32_t slot, const ApiError& error, std::string extra) {
  Connection& connection = *connections_[slot];
  const Answer& answer = connection.answer;
  ServerReply reply = StyledError(options_.error_body, error, answer.dialect->Error(error, answer));
  reply.extra += extra;
  // Some servers refuse in a stream.
  if (reply.status < 300) LogTruth(connection, reply.status, true);
  SendReply(slot, std::move(reply));
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

ApiError ServingLoop::ParseBody(Connection& connection, const Route& route, bool want_ids) {
  const BodyRules& rules = connection.answer.dialect->Rules(route.form);
  if (rules.needs_json_type && !connection.parser.request().body_is_json) {
    return {Refusal::kContentType, 400, "Unsupported Media Type: Only 'application/json' is allowed", ""};
  }
  connection.in.reserve(connection.in.size() + GenerationRequestParser::kPadding);
  return body_parser_.Parse(connection.in.data() + connection.parser.body_offset(),
                            connection.parser.body_size(), rules, want_ids, &connection.answer.request);
}

ApiError ServingLoop::CheckLimits(const Answer& answer) const {
  const GenerationRequest& request = answer.request;
  if (options_.strict_model && !request.model.empty() && request.model != service_.deployment.model) {
    return {Refusal::kModel, 404, "The model `" + request.model + "` does not exist.", "model"};
  }
  if (request.choices() > kMaxChoices) return {Refusal::kValue, 400, "too many prompts and choices", "n"};
  if (max_model_len_ == 0) return {};
  for (const Prompt& prompt : request.prompts) {
    const int64_t output = std::max<int64_t>(0, request.max_tokens);
    if (prompt.tokens + output <= max_model_len_ && prompt.tokens < max_model_len_) continue;
    const std::string part(answer.dialect->Rules(answer.form).prompt_field);
    return {Refusal::kTooLong, 400,
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

void ServingLoop::Generate(uint32_t slot, const Route& route) {
  Connection& connection = *connections_[slot];
  Answer& answer = connection.answer;
  const bool hashes_prompts = !options_.fixed && options_.prefix_caching;
  ApiError error = ParseBody(connection, route, hashes_prompts);
  if (!error && !route.model.empty()) answer.request.model = route.model;
  if (!error) error = answer.dialect->Take(route.form, connection.parser.request(), &answer.request);
  if (!error) error = CheckLimits(answer);
  if (const std::string& wanted = connection.parser.request().fault; !error && !wanted.empty()) {
    absl::StatusOr<Fault> fault = ParseFault(wanted);
    if (fault.ok()) {
      answer.fault = *std::move(fault);
    } else {
      error = {Refusal::kHttp, 400, "X-Sim-Fault: " + std::string(fault.status().message()), ""};
    }
  }
  if (error) {
    Refuse(slot, error);
    return;
  }
  if (answer.request_id.empty()) answer.request_id = answer.request.id;
  answer.replica = LeastLoaded(listeners_[connection.listener]);
  ReplicaOf(answer).Begin(&answer);
  if (ReplyFault(slot)) return;
  StartAnswer(slot);
}

std::string ServingLoop::RetryAfterLine() const {
  switch (options_.retry_after_form) {
    case RetryAfter::kSeconds:
      return "retry-after: " + SecondsText(options_.retry_after_s) + "\r\n";
    case RetryAfter::kDate: {
      const auto at = static_cast<time_t>(
          std::ceil(static_cast<double>(RealtimeNs()) / kNsPerSecond + options_.retry_after_s));
      return "retry-after: " + HttpDate(at) + "\r\n";
    }
    case RetryAfter::kMilliseconds:
      return "retry-after-ms: " + SecondsText(options_.retry_after_s * 1e3) + "\r\n";
  }
  return "";
}

bool ServingLoop::ReplyFault(uint32_t slot) {
  Connection& connection = *connections_[slot];
  Answer& answer = connection.answer;
  const Fault& fault = answer.fault;
  switch (fault.kind) {
    case FaultKind::kStatus: {
      std::string extra;
      if (fault.status == 429 || fault.status == 503) extra = RetryAfterLine();
      if (fault.status < 400) extra = "location: /elsewhere\r\n";
      const Refusal why = fault.status == 401 ? Refusal::kKey : Refusal::kInjected;
      Refuse(slot, {why, fault.status, "injected fault", ""}, extra);
      return true;
    }
    case FaultKind::kHtml:
    case FaultKind::kEmpty: {
      const bool html = fault.is(FaultKind::kHtml);
      const std::string_view type = html                    ? "text/html"
                                    : answer.request.stream ? answer.dialect->StreamType(answer)
                                                            : "application/json";
      LogTruth(connection, 200, false);
      SendReply(slot, {200, std::string(type),
                       html ? "<!DOCTYPE html><html><body><h1>Bad Gateway</h1></body></html>" : "", ""});
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
    case FaultKind::kErrorFirst: {
      if (answer.request.stream) return false;
      LogTruth(connection, 200, false);
      const ApiError error = InjectedFault();
      ServerReply reply = StyledError(options_.error_body, error, answer.dialect->Error(error, answer));
      reply.status = 200;
      SendReply(slot, std::move(reply));
      return true;
    }
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
