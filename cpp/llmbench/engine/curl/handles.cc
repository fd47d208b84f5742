#include "llmbench/engine/curl/handles.h"

#include <unistd.h>

#include <cstdlib>
#include <mutex>

namespace llmbench::curl {

void EnsureGlobalInit() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

std::string FindCaFile() {
  if (const char* given = std::getenv("SSL_CERT_FILE"); given != nullptr && *given != '\0') return given;
  for (const char* path : {
           "/etc/ssl/certs/ca-certificates.crt",                 // Debian, Ubuntu, Arch, Gentoo
           "/etc/pki/tls/certs/ca-bundle.crt",                   // Fedora, RHEL 6
           "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  // RHEL 7 and later
           "/etc/ssl/ca-bundle.pem",                             // openSUSE
           "/etc/ssl/cert.pem",                                  // Alpine
       }) {
    if (access(path, R_OK) == 0) return path;
  }
  return {};
}

}  // namespace llmbench::curl
