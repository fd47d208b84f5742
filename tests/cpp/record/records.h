// Rows and files for the tests of this stage.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "llmbench/record/event_blob.h"
#include "llmbench/record/request_record.h"

namespace llmbench {

// A directory that goes away with the test.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "llmbench-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// An ok row with every column filled, each with a value of its own.
inline RequestRecord FullRecord(int64_t id) {
  RequestRecord r;
  r.id = id;
  const int64_t t = id * 1'000'000;
  r.scheduled_ns = t;
  r.slot_ns = t + 1;
  r.connected_ns = t + 2;
  r.sent_ns = t + 3;
  r.send_done_ns = t + 4;
  r.first_byte_ns = t + 5;
  r.first_token_ns = t + 6;
  r.first_answer_ns = t + 7;
  r.last_token_ns = t + 8;
  r.end_ns = t + 9;
  r.dns_ns = 10;
  r.connect_ns = 11;
  r.tls_ns = 12;
  r.bytes_in = 5'000'000'000;
  r.bytes_out = 14;
  r.workload = 15;
  r.endpoint = 1;
  r.model = 0;
  r.session = 16;
  r.turn = 17;
  r.worker = 18;
  r.connection = 19;
  r.attempts = 2;
  r.status = 200;
  r.prompt_tokens = 21;
  r.cached_tokens = 22;
  r.asked_tokens = 23;
  r.output_tokens = 24;
  r.reasoning_tokens = 25;
  r.events = 3;
  r.merged_events = 1;
  r.flags = kReusedConnection | kSlotWaited;
  r.phase = Phase::kDrain;
  r.outcome = Outcome::kOk;
  r.token_source = TokenSource::kUsage;
  std::memcpy(r.finish_reason, "length", 6);
  return r;
}

// `count` events, `gap_ns` apart, of one token each.
inline std::vector<uint8_t> Blob(int64_t origin_ns, int count, int64_t gap_ns, uint32_t tokens = 1) {
  EventBlobWriter blob;
  blob.Reset(origin_ns);
  for (int i = 1; i <= count; ++i) blob.Append(origin_ns + i * gap_ns, tokens, kEventKernelStamp);
  return {blob.bytes().begin(), blob.bytes().end()};
}

}  // namespace llmbench
