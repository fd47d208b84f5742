#include "llmbench/engine/curl/connector.h"

#include <fcntl.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <string_view>
#include <utility>

#include "llmbench/engine/curl/tls_connection.h"

namespace llmbench::curl {
namespace {

constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

bool OursToFix(long os_errno) {
  return os_errno == EMFILE || os_errno == ENFILE || os_errno == EADDRNOTAVAIL || os_errno == ENOBUFS;
}

Outcome OutcomeOf(CURLcode code, CURL* easy, long socket_errno) {
  long os_errno = socket_errno;
  if (os_errno == 0) curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os_errno);
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
      return Outcome::kDns;
    case CURLE_OPERATION_TIMEDOUT:
      return Outcome::kTimeoutConnect;
    case CURLE_PEER_FAILED_VERIFICATION: {
      long verify = 0;
      curl_easy_getinfo(easy, CURLINFO_SSL_VERIFYRESULT, &verify);
      return verify == X509_V_ERR_CERT_HAS_EXPIRED ? Outcome::kTlsExpired : Outcome::kTlsVerify;
    }
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_USE_SSL_FAILED:
      return Outcome::kTlsHandshake;
    case CURLE_SSL_CERTPROBLEM:
      return Outcome::kTlsClientCert;
    default:
      return OursToFix(os_errno) ? Outcome::kClientLimit : Outcome::kConnectRefused;
  }
}

// Whether a handshake failed as it does where nobody speaks TLS: something else came, or nothing, or the end.
bool LooksLikePlainHttp(std::string_view error) {
  for (const char* sign : {"wrong version number", "packet length too long", "record layer failure",
                           "unexpected eof", "SSL_ERROR_SYSCALL", "Connection reset"}) {
    if (error.find(sign) != std::string_view::npos) return true;
  }
  return false;
}

constexpr unsigned char kHttp2Offer[] = {2, 'h', '2'};

// The connection's TLS session, null where there is none or it is not OpenSSL's.
SSL* SessionOf(CURL* easy) {
  curl_tlssessioninfo* session = nullptr;
  if (curl_easy_getinfo(easy, CURLINFO_TLS_SSL_PTR, &session) != CURLE_OK || session == nullptr ||
      session->backend != CURLSSLBACKEND_OPENSSL) {
    return nullptr;
  }
  return static_cast<SSL*>(session->internals);
}

// Where a TLS context keeps the flag that OnCertificateWanted raises.
int CertificateWantedIndex() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

// The server asks for the client's certificate, of which there is none.
int OnCertificateWanted(SSL* session, X509**, EVP_PKEY**) {
  void* const wanted = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(session), CertificateWantedIndex());
  if (wanted != nullptr) *static_cast<bool*>(wanted) = true;
  return 0;
}

// What server and client agreed to speak over TLS; "" when the server did not say.
std::string AgreedProtocol(CURL* easy) {
  const SSL* const session = SessionOf(easy);
  if (session == nullptr) return {};
  const unsigned char* name = nullptr;
  unsigned int size = 0;
  SSL_get0_alpn_selected(session, &name, &size);
  return {reinterpret_cast<const char*>(name), size};
}

}  // namespace

struct Connector::Attempt {
  Easy easy{curl_easy_init()};
  uint64_t ticket = 0;
  int socket_errno = 0;      // why socket() failed; libcurl does not tell
  bool http2 = false;        // to be offered
  bool handshaking = false;  // TCP stands, TLS has begun
  bool certificate_wanted = false;
  char error[CURL_ERROR_SIZE] = {};

  // libcurl has made the connection's TLS context.
  static CURLcode OnTlsContext(CURL*, void* context, void* attempt) {
    auto* const self = static_cast<Attempt*>(attempt);
    auto* const tls = static_cast<SSL_CTX*>(context);
    self->handshaking = true;
    SSL_CTX_set_ex_data(tls, CertificateWantedIndex(), &self->certificate_wanted);
    SSL_CTX_set_client_cert_cb(tls, &OnCertificateWanted);
    const bool failed = self->http2 && SSL_CTX_set_alpn_protos(tls, kHttp2Offer, sizeof kHttp2Offer) != 0;
    return failed ? CURLE_SSL_CONNECT_ERROR : CURLE_OK;
  }
};

Connector::Connector(const Endpoint& endpoint, const std::vector<std::string>& addresses, int64_t timeout_ns,
                     EventLoop* loop, EventLoop::Tag tag_bits, bool http2)
    : endpoint_(endpoint),
      timeout_ns_(timeout_ns),
      loop_(loop),
      tag_bits_(tag_bits),
      ca_file_(endpoint.ca_file.empty() ? FindCaFile() : endpoint.ca_file),
      http2_(http2),
      deadline_ns_(kNever) {
  EnsureGlobalInit();
  multi_.reset(curl_multi_init());
  curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETFUNCTION, &Connector::OnCurlSocket);
  curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi_.get(), CURLMOPT_TIMERFUNCTION, &Connector::OnCurlTimer);
  curl_multi_setopt(multi_.get(), CURLMOPT_TIMERDATA, this);
  if (!addresses.empty()) {
    std::string entry = endpoint_.host + ":" + std::to_string(endpoint_.port) + ":";
    for (size_t i = 0; i < addresses.size(); ++i) {
      const bool v6 = addresses[i].find(':') != std::string::npos;
      entry += (i ? "," : "") + (v6 ? "[" + addresses[i] + "]" : addresses[i]);
    }
    resolve_.reset(curl_slist_append(nullptr, entry.c_str()));
  }
}

Connector::~Connector() { CancelAll(); }

std::unique_ptr<Connector::Attempt> Connector::MakeAttempt() {
  if (!idle_.empty()) {
    auto attempt = std::move(idle_.back());
    idle_.pop_back();
    return attempt;
  }
  auto attempt = std::make_unique<Attempt>();
  CURL* easy = attempt->easy.get();
  curl_easy_setopt(easy, CURLOPT_URL, endpoint_.Url().c_str());
  curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  // An empty string, not null: libcurl would otherwise take a proxy from the environment.
  curl_easy_setopt(easy, CURLOPT_PROXY, endpoint_.proxy.c_str());
  curl_easy_setopt(easy, CURLOPT_HTTPPROXYTUNNEL, 1L);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(std::max<int64_t>(0, timeout_ns_ / kNsPerMs)));
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, attempt->error);
  curl_easy_setopt(easy, CURLOPT_PRIVATE, attempt.get());
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, &Connector::OpenSocket);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, attempt.get());
  if (resolve_) curl_easy_setopt(easy, CURLOPT_RESOLVE, resolve_.get());
  if (!endpoint_.unix_socket.empty()) {
    curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, endpoint_.unix_socket.c_str());
  }
  if (!ca_file_.empty()) {
    curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file_.c_str());
    curl_easy_setopt(easy, CURLOPT_PROXY_CAINFO, ca_file_.c_str());
  }
  if (endpoint_.tls) {
    attempt->http2 = http2_;
    // Not by libcurl's own ALPN: it would then expect to speak HTTP/2 itself.
    if (http2_) curl_easy_setopt(easy, CURLOPT_SSL_ENABLE_ALPN, 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, &Attempt::OnTlsContext);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, attempt.get());
  }
  if (endpoint_.insecure) {
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
  }
  return attempt;
}

void Connector::Open(uint64_t ticket) {
  ++connecting_;
  if (active_.size() < kMaxConnecting) {
    Start(ticket);
  } else {
    waiting_.push_back(ticket);
  }
}

void Connector::Start(uint64_t ticket) {
  auto attempt = MakeAttempt();
  attempt->ticket = ticket;
  attempt->socket_errno = 0;
  attempt->handshaking = attempt->certificate_wanted = false;
  attempt->error[0] = '\0';
  active_.push_back(std::move(attempt));
  Attempt* const started = active_.back().get();
  if (const CURLMcode code = curl_multi_add_handle(multi_.get(), started->easy.get()); code != CURLM_OK) {
    std::strncpy(started->error, curl_multi_strerror(code), sizeof started->error - 1);
    Finish(started, CURLE_FAILED_INIT);
  }
}

void Connector::StartWaiting() {
  while (!waiting_.empty() && active_.size() < kMaxConnecting) {
    const uint64_t ticket = waiting_.front();
    waiting_.pop_front();
    Start(ticket);
  }
}

curl_socket_t Connector::OpenSocket(void* attempt, curlsocktype, curl_sockaddr* address) {
  const int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  if (fd >= 0) return fd;
  static_cast<Attempt*>(attempt)->socket_errno = errno;
  return CURL_SOCKET_BAD;
}

void Connector::CancelAll() {
  for (auto& attempt : active_) curl_multi_remove_handle(multi_.get(), attempt->easy.get());
  active_.clear();
  waiting_.clear();
  opened_.clear();
  connecting_ = 0;
  deadline_ns_ = kNever;
}

int Connector::OnCurlSocket(CURL*, curl_socket_t fd, int what, void* self, void* known) {
  auto* const connector = static_cast<Connector*>(self);
  const EventLoop::Tag tag = connector->tag_bits_ | static_cast<uint32_t>(fd);
  if (what == CURL_POLL_REMOVE) {
    connector->loop_->Remove(fd);
    return 0;
  }
  const uint32_t events = ((what & CURL_POLL_IN) ? EPOLLIN : 0u) | ((what & CURL_POLL_OUT) ? EPOLLOUT : 0u);
  if (known != nullptr) {
    connector->loop_->Modify(fd, events, tag);
  } else if (connector->loop_->Add(fd, events, tag).ok()) {
    curl_multi_assign(connector->multi_.get(), fd, connector);
  }
  return 0;
}

int Connector::OnCurlTimer(CURLM*, long timeout_ms, void* self) {
  // Only stored: a timer system call per change would cost more than all the rest.
  static_cast<Connector*>(self)->deadline_ns_ =
      timeout_ms < 0 ? kNever : MonotonicNs() + timeout_ms * kNsPerMs;
  return 0;
}

void Connector::OnSocket(int fd, uint32_t epoll_events) {
  int what = 0;
  if (epoll_events & EPOLLIN) what |= CURL_CSELECT_IN;
  if (epoll_events & EPOLLOUT) what |= CURL_CSELECT_OUT;
  if (epoll_events & (EPOLLERR | EPOLLHUP)) what |= CURL_CSELECT_ERR;
  int running = 0;
  curl_multi_socket_action(multi_.get(), fd, what, &running);
  CollectFinished();
}

void Connector::OnTime(int64_t now_ns) {
  if (now_ns < deadline_ns_) return;
  deadline_ns_ = kNever;
  int running = 0;
  curl_multi_socket_action(multi_.get(), CURL_SOCKET_TIMEOUT, 0, &running);
  CollectFinished();
}

void Connector::CollectFinished() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    char* attempt = nullptr;
    const CURLcode code = message->data.result;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &attempt);
    Finish(reinterpret_cast<Attempt*>(attempt), code);
  }
  StartWaiting();
}

void Connector::Finish(Attempt* attempt, CURLcode code) {
  const auto at =
      std::find_if(active_.begin(), active_.end(), [&](const auto& a) { return a.get() == attempt; });
  std::unique_ptr<Attempt> owner = std::move(*at);
  *at = std::move(active_.back());
  active_.pop_back();
  --connecting_;

  CURL* const easy = owner->easy.get();
  Opened opened{.ticket = owner->ticket, .connection = nullptr, .error = {}};
  if (code != CURLE_OK) {
    opened.outcome = OutcomeOf(code, easy, owner->socket_errno);
    opened.error = owner->socket_errno != 0  ? std::strerror(owner->socket_errno)
                   : owner->error[0] != '\0' ? owner->error
                                             : curl_easy_strerror(code);
    if (opened.outcome == Outcome::kTimeoutConnect && owner->handshaking) {
      opened.outcome = Outcome::kTlsHandshake;
      opened.error = "no answer to the TLS handshake: does the server speak http?";
    } else if (opened.outcome == Outcome::kTlsHandshake && owner->certificate_wanted) {
      opened.outcome = Outcome::kTlsClientCert;
      opened.error = kCertificateWanted;
    } else if (opened.outcome == Outcome::kTlsHandshake && LooksLikePlainHttp(opened.error)) {
      opened.error += ": does the server speak http?";
    }
    curl_multi_remove_handle(multi_.get(), easy);
    idle_.push_back(std::move(owner));
    opened_.push_back(std::move(opened));
    return;
  }
  curl_off_t connect_us = 0, tls_us = 0;
  curl_easy_getinfo(easy, CURLINFO_CONNECT_TIME_T, &connect_us);
  curl_easy_getinfo(easy, CURLINFO_APPCONNECT_TIME_T, &tls_us);
  opened.connect_ns = connect_us * kNsPerUs;
  opened.tls_ns = std::max<curl_off_t>(0, tls_us - connect_us) * kNsPerUs;
  curl_socket_t fd = CURL_SOCKET_BAD;
  curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &fd);
  const bool tls = endpoint_.tls || endpoint_.proxy.rfind("https://", 0) == 0;
  if (tls) {
    // All of these lived in the attempt.
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, nullptr);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, nullptr);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, nullptr);
    opened.connection =
        std::make_unique<TlsConnection>(std::move(owner->easy), multi_.get(), fd, owner->certificate_wanted);
    // Only now, attached, does the handle know its session.
    if (const SSL* session = SessionOf(easy)) {
      SSL_CTX_set_ex_data(SSL_get_SSL_CTX(session), CertificateWantedIndex(), nullptr);
    }
    if (const std::string agreed = http2_ && endpoint_.tls ? AgreedProtocol(easy) : "h2"; agreed != "h2") {
      opened.connection.reset();
      opened.outcome = Outcome::kProtocol;
      opened.error = "the server does not agree to HTTP/2 (ALPN: " + (agreed.empty() ? "nothing" : agreed) +
                     "): leave --http2 out";
    }
  } else {
    const int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    const int dup_errno = errno;
    curl_multi_remove_handle(multi_.get(), easy);
    idle_.push_back(std::move(owner));
    if (own >= 0) {
      opened.connection = std::make_unique<PlainConnection>(own);
    } else {
      opened.outcome = Outcome::kClientLimit;
      opened.error = std::strerror(dup_errno);
    }
  }
  opened_.push_back(std::move(opened));
}

void Connector::TakeOpened(std::vector<Opened>& out) {
  out.clear();
  out.swap(opened_);
}

}  // namespace llmbench::curl
