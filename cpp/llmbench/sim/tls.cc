#include "llmbench/sim/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <utility>

namespace llmbench::sim {
namespace {

struct Free {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(SSL* session) const { SSL_free(session); }
};

absl::Status Unusable(const char* option, const std::string& file) {
  char why[256] = "unknown error";
  if (const unsigned long error = ERR_peek_last_error(); error != 0)
    ERR_error_string_n(error, why, sizeof why);
  ERR_clear_error();
  return absl::InvalidArgumentError(std::string("sim option '") + option + "' is '" + file +
                                    "', which cannot be used: " + why + ".");
}

// Of what a client offers: HTTP/2, else HTTP/1.1.
int SelectProtocol(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
                   unsigned int in_size, void*) {
  static constexpr unsigned char kOurs[] = "\x02h2\x08http/1.1";
  unsigned char* chosen;
  if (SSL_select_next_proto(&chosen, out_size, kOurs, sizeof kOurs - 1, in, in_size) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_NOACK;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

}  // namespace

struct TlsContext::Impl {
  std::unique_ptr<SSL_CTX, Free> context;
};

TlsContext::TlsContext(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsContext::~TlsContext() = default;

absl::StatusOr<std::unique_ptr<TlsContext>> TlsContext::Load(const std::string& certificate,
                                                             const std::string& key) {
  auto impl = std::make_unique<Impl>();
  impl->context.reset(SSL_CTX_new(TLS_server_method()));
  SSL_CTX* context = impl->context.get();
  if (SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) != 1)
    return Unusable("tls_cert", certificate);
  if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1)
    return Unusable("tls_key", key);
  if (SSL_CTX_check_private_key(context) != 1) return Unusable("tls_key", key);
  SSL_CTX_set_alpn_select_cb(context, SelectProtocol, nullptr);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  return std::unique_ptr<TlsContext>(new TlsContext(std::move(impl)));
}

struct TlsSession::Impl {
  std::unique_ptr<SSL, Free> session;
  BIO* in;  // both owned by the session
  BIO* out;
};

TlsSession::TlsSession(const TlsContext& context) : impl_(std::make_unique<Impl>()) {
  impl_->session.reset(SSL_new(context.impl_->context.get()));
  impl_->in = BIO_new(BIO_s_mem());
  impl_->out = BIO_new(BIO_s_mem());
  SSL_set_bio(impl_->session.get(), impl_->in, impl_->out);
  SSL_set_accept_state(impl_->session.get());
}

TlsSession::~TlsSession() = default;

TlsSession::State TlsSession::Receive(const char* data, size_t size, std::string* plain,
                                      std::string* to_send) {
  BIO_write(impl_->in, data, static_cast<int>(size));
  char buffer[16 * 1024];
  State state = State::kOpen;
  while (true) {
    size_t n = 0;
    ERR_clear_error();
    const int ok = SSL_read_ex(impl_->session.get(), buffer, sizeof buffer, &n);
    if (ok == 1) {
      plain->append(buffer, n);
      continue;
    }
    const int why = SSL_get_error(impl_->session.get(), ok);
    if (why == SSL_ERROR_ZERO_RETURN) state = State::kEnded;
    if (why != SSL_ERROR_ZERO_RETURN && why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
      state = State::kBroken;
    break;
  }
  TakeOutput(to_send);
  return state;
}

void TlsSession::Encrypt(const char* data, size_t size, std::string* to_send) {
  // A memory BIO takes everything.
  size_t written = 0;
  SSL_write_ex(impl_->session.get(), data, size, &written);
  TakeOutput(to_send);
}

void TlsSession::End(std::string* to_send) {
  SSL_shutdown(impl_->session.get());
  TakeOutput(to_send);
}

void TlsSession::TakeOutput(std::string* to_send) {
  char* bytes;
  const long size = BIO_get_mem_data(impl_->out, &bytes);
  if (size > 0) to_send->append(bytes, static_cast<size_t>(size));
  BIO_reset(impl_->out);
}

}  // namespace llmbench::sim
