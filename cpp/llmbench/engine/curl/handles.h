// Owning handles for libcurl's C objects, and its one-time set-up.
#pragma once

#include <curl/curl.h>

#include <memory>
#include <string>

namespace llmbench::curl {

struct EasyDeleter {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct MultiDeleter {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};
struct ListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Easy = std::unique_ptr<CURL, EasyDeleter>;
using Multi = std::unique_ptr<CURLM, MultiDeleter>;
using List = std::unique_ptr<curl_slist, ListDeleter>;

// Sets libcurl up, once per process, from any thread.
void EnsureGlobalInit();

// The certificate file to trust: SSL_CERT_FILE, then where Linux distributions keep theirs; empty when there
// is none. A wheel's own libcurl was built elsewhere and does not know.
std::string FindCaFile();

}  // namespace llmbench::curl
