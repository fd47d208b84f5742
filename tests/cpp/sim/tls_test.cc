#include "llmbench/sim/tls.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <unistd.h>

#include <filesystem>

#include "http_client.h"
#include "llmbench/sim/server.h"

namespace llmbench::sim {
namespace {

// A self-signed certificate in two files that are gone with it.
class Certificate {
 public:
  Certificate() {
    const std::string stem = testing::TempDir() + "llmbench-sim-" + std::to_string(getpid());
    certificate = stem + "-cert.pem";
    key = stem + "-key.pem";
    EVP_PKEY* pair = EVP_EC_gen("P-256");
    X509* x509 = X509_new();
    X509_gmtime_adj(X509_getm_notBefore(x509), 0);
    X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
    X509_set_pubkey(x509, pair);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>("localhost"), -1, -1, 0);
    X509_set_issuer_name(x509, X509_get_subject_name(x509));
    X509_sign(x509, pair, EVP_sha256());
    std::FILE* file = std::fopen(certificate.c_str(), "w");
    PEM_write_X509(file, x509);
    std::fclose(file);
    file = std::fopen(key.c_str(), "w");
    PEM_write_PrivateKey(file, pair, nullptr, nullptr, 0, nullptr, nullptr);
    std::fclose(file);
    X509_free(x509);
    EVP_PKEY_free(pair);
  }
  ~Certificate() {
    std::filesystem::remove(certificate);
    std::filesystem::remove(key);
  }

  std::string certificate;
  std::string key;
};

TEST(TlsTest, AnswersOverTls) {
  const Certificate files;
  for (const int slice : {0, 7}) {
    Options options;
    options.fixed = true;
    options.ttft_ms = 0;
    options.itl_ms = 0;
    options.close_after_reply = true;
    options.slice_bytes = slice;
    options.tls_cert = files.certificate;
    options.tls_key = files.key;
    const auto server = Server::Create(options).value();
    const int port = server->Start().value()[0];
    EXPECT_EQ(server->Urls()[0].substr(0, 8), "https://");

    HttpClient client(port);
    SSL_CTX* context = SSL_CTX_new(TLS_client_method());
    SSL* session = SSL_new(context);
    SSL_set_fd(session, client.fd());
    ASSERT_EQ(SSL_connect(session), 1);
    const std::string body = R"({"prompt":"a","max_tokens":3,"stream":true})";
    const std::string request =
        "POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: " +
        std::to_string(body.size()) + "\r\n\r\n" + body;
    SSL_write(session, request.data(), static_cast<int>(request.size()));
    std::string answer;
    char buffer[4096];
    int n;
    while ((n = SSL_read(session, buffer, sizeof buffer)) > 0) answer.append(buffer, static_cast<size_t>(n));
    EXPECT_EQ(SSL_get_error(session, n), SSL_ERROR_ZERO_RETURN);  // a farewell, not a cut
    EXPECT_NE(answer.find("HTTP/1.1 200 OK"), std::string::npos) << answer;
    EXPECT_EQ(answer.substr(answer.size() - 5), "0\r\n\r\n");
    SSL_free(session);
    SSL_CTX_free(context);

    HttpClient plain(port);
    plain.Send("GET / HTTP/1.1\r\n\r\n");
    EXPECT_EQ(plain.Read().status, 0);  // no HTTP for who speaks no TLS
  }
}

TEST(TlsTest, UnusableFilesAreNamed) {
  const Certificate files;
  const struct {
    std::string certificate;
    std::string key;
    const char* named;
  } kCases[] = {{"/nonexistent", files.key, "tls_cert"},
                {files.certificate, "/nonexistent", "tls_key"},
                {files.key, files.key, "tls_cert"}};
  for (const auto& c : kCases) {
    const auto context = TlsContext::Load(c.certificate, c.key);
    EXPECT_EQ(context.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(context.status().message().find(c.named), std::string::npos) << context.status();
  }
}

}  // namespace
}  // namespace llmbench::sim
