// How long the whole summary of a large run takes, intervals and all, and how much memory.
//
//   summary_scale make FILE [REQUESTS [EVENTS [TOKENS]]]   a result of REQUESTS requests (1 000 000) of
//   EVENTS
//                                                          events (100) with TOKENS tokens each (1)
//   summary_scale FILE                                     summarizes it; one line: seconds, peak memory
//
// TTFT is the sojourn time in a queue at 70 % utilisation and a request's gaps share a pace that drifts over
// the run: correlated over thousands of requests, which is what costs.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>

#include "llmbench/aggregate/run_summary.h"
#include "llmbench/base/clock.h"
#include "llmbench/record/event_blob.h"
#include "llmbench/record/recorder.h"
#include "llmbench/record/result_writer.h"

namespace {

using namespace llmbench;

int Make(const std::string& path, int64_t requests, int events, uint32_t tokens) {
  auto writer = ResultWriter::Create({.path = path, .run_json = "{}", .endpoints = {"u"}, .models = {"m"}});
  if (!writer.ok()) {
    std::fprintf(stderr, "%s\n", std::string(writer.status().message()).c_str());
    return 1;
  }
  Recorder* recorder = (*writer)->AddRecorder();
  (*writer)->Start();
  std::mt19937_64 random(1);
  std::exponential_distribution<double> exponential;
  std::normal_distribution<double> normal;
  constexpr double kMeanGapNs = 1e6, kUtilisation = 0.7, kDrift = 0.999;
  double arrival_ns = 0, sojourn_ns = 0, pace = 0;
  EventBlobWriter blob;
  for (int64_t i = 0; i < requests; ++i) {
    const double gap_ns = exponential(random) * kMeanGapNs;
    arrival_ns += gap_ns;
    sojourn_ns = std::max(0.0, sojourn_ns - gap_ns) + exponential(random) * kUtilisation * kMeanGapNs;
    pace = kDrift * pace + std::sqrt(1 - kDrift * kDrift) * normal(random);
    RequestRecord r;
    r.id = i;
    r.scheduled_ns = r.slot_ns = r.connected_ns = r.sent_ns = std::llround(arrival_ns);
    r.send_done_ns = r.sent_ns + 5000;
    r.first_byte_ns = r.first_token_ns = r.first_answer_ns = r.sent_ns + std::llround(sojourn_ns);
    blob.Reset(r.sent_ns);
    int64_t t_ns = r.first_token_ns;
    for (int k = 0; k < events; ++k) {
      if (k > 0)
        t_ns += static_cast<int64_t>(1e7 * (1 + 0.2 * pace * pace) *
                                     (0.7 + 0.6 * static_cast<double>(random() >> 11) * 0x1p-53));
      blob.Append(t_ns, tokens, kEventKernelStamp);
    }
    r.last_token_ns = t_ns;
    r.end_ns = t_ns + 50'000;
    r.events = events;
    r.output_tokens = events * static_cast<int32_t>(tokens);
    r.prompt_tokens = r.asked_tokens = 100;
    r.attempts = 1;
    r.status = 200;
    r.outcome = Outcome::kOk;
    r.token_source = TokenSource::kUsage;
    std::memcpy(r.finish_reason, "length", 6);
    recorder->Append(r, blob.bytes(), {}, {});
    // The writer is slower than this loop, and drops rows rather than fill the memory.
    if (i % 1000 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  if (const absl::Status stored = (*writer)->Finish(); !stored.ok()) {
    std::fprintf(stderr, "%s\n", std::string(stored.message()).c_str());
    return 1;
  }
  return 0;
}

int Measure(const std::string& path) {
  const auto begin = std::chrono::steady_clock::now();
  const auto digest = RunDigest::Load(path);
  const auto found = digest.ok() ? digest->Summarize({}) : absl::StatusOr<RunSummary>(digest.status());
  if (!found.ok()) {
    std::fprintf(stderr, "%s\n", std::string(found.status().message()).c_str());
    return 1;
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const RunSummary& summary = *found;
  const Interval& tail = summary.latency_ms.at("itl").percentile_intervals.back();
  std::printf("%llu requests, %llu gaps: %.1f s (%.1f s of CPU), %.0f MB; ITL p99 from %.4g values' worth\n",
              static_cast<unsigned long long>(summary.requests),
              static_cast<unsigned long long>(summary.latency_ms.at("icl").n), seconds,
              static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                  1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec),
              static_cast<double>(usage.ru_maxrss) / 1024, tail.n_eff);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const bool make = argc >= 3 && std::strcmp(argv[1], "make") == 0;
  if (make) {
    return Make(argv[2], argc > 3 ? std::atoll(argv[3]) : 1'000'000, argc > 4 ? std::atoi(argv[4]) : 100,
                argc > 5 ? static_cast<uint32_t>(std::atoi(argv[5])) : 1);
  }
  if (argc == 2) return Measure(argv[1]);
  std::fprintf(stderr,
               "usage: summary_scale make FILE [REQUESTS [EVENTS [TOKENS]]]\n       summary_scale FILE\n");
  return 2;
}
