// What one finished request costs to record: the worker's copy into its block, and the writer's two inserts,
// live statistics and share of the commits. Time per iteration of each is time per row; an argument is the
// number of events the row carries.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "llmbench/aggregate/live_stats.h"
#include "llmbench/record/block_recorder.h"
#include "llmbench/record/event_blob.h"
#include "llmbench/record/record_table.h"
#include "llmbench/record/result_writer.h"

namespace llmbench {
namespace {

RequestRecord Row(int64_t id) {
  RequestRecord r;
  r.id = id;
  r.scheduled_ns = r.slot_ns = id * 100'000;
  r.connected_ns = r.sent_ns = r.scheduled_ns + 20'000;
  r.send_done_ns = r.sent_ns + 8'000;
  r.first_byte_ns = r.first_token_ns = r.first_answer_ns = r.sent_ns + 50 * kNsPerMs;
  r.last_token_ns = r.first_token_ns + 630 * kNsPerMs;
  r.end_ns = r.last_token_ns + 100'000;
  r.workload = static_cast<int32_t>(id % 1000);
  r.connection = 12;
  r.attempts = 1;
  r.status = 200;
  r.prompt_tokens = 512;
  r.cached_tokens = 0;
  r.asked_tokens = r.output_tokens = r.events = 64;
  r.bytes_in = 16'000;
  r.bytes_out = 3'000;
  r.flags = kReusedConnection;
  r.outcome = Outcome::kOk;
  r.token_source = TokenSource::kUsage;
  std::memcpy(r.finish_reason, "length", 6);
  return r;
}

std::vector<uint8_t> Events(int64_t count) {
  EventBlobWriter blob;
  blob.Reset(0);
  for (int64_t i = 1; i <= count; ++i) blob.Append(i * 10 * kNsPerMs + i % 7 * 1000, 1, kEventKernelStamp);
  return {blob.bytes().begin(), blob.bytes().end()};
}

// A result file in a directory that goes away.
class ScratchFile {
 public:
  ScratchFile() {
    directory_ = (std::filesystem::temp_directory_path() / "llmbench-XXXXXX").string();
    if (mkdtemp(directory_.data()) == nullptr) std::abort();
  }
  ~ScratchFile() { std::filesystem::remove_all(directory_); }
  std::string path() const { return directory_ + "/a.llmbench"; }

 private:
  std::string directory_;
};

std::unique_ptr<ResultWriter> Writer(const ScratchFile& file, RecordObserver* observer) {
  auto writer = ResultWriter::Create({.path = file.path(),
                                      .run_json = "{}",
                                      .endpoints = {"http://127.0.0.1:8000"},
                                      .models = {"m"},
                                      .observer = observer});
  if (!writer.ok()) std::abort();
  return *std::move(writer);
}

void AppendToBlock(benchmark::State& state) {
  BlockRecorder recorder;
  const std::vector<uint8_t> events = Events(state.range(0));
  const RequestRecord row = Row(1);
  for (auto _ : state) {
    recorder.Append(row, events, {}, {});
    while (RowBlock* block = recorder.Take()) recorder.GiveBack(block);
  }
}
BENCHMARK(AppendToBlock)->Arg(0)->Arg(1)->Arg(64)->Arg(1000);

void AppendEvent(benchmark::State& state) {
  EventBlobWriter blob;
  int64_t t_ns = 0, n = 0;
  blob.Reset(0);
  for (auto _ : state) {
    if (++n % 1000 == 0) blob.Reset(t_ns);
    blob.Append(t_ns += 10'001'234, 1, kEventKernelStamp);
  }
}
BENCHMARK(AppendEvent);

void AppendClientSample(benchmark::State& state) {
  BlockRecorder recorder;
  for (auto _ : state) {
    recorder.AppendSample(ClientSample::kReadLateness, 6'000);
    while (RowBlock* block = recorder.Take()) recorder.GiveBack(block);
  }
}
BENCHMARK(AppendClientSample);

// Everything the writer does for a batch of rows, down to the one clean file at the end.
void WriteRows(benchmark::State& state) {
  const std::vector<uint8_t> events = Events(state.range(0));
  const int64_t rows = state.range(0) < 1000 ? 100'000 : 20'000;
  for (auto _ : state) {
    state.PauseTiming();
    const ScratchFile file;
    LiveStats stats;
    auto writer = Writer(file, &stats);
    Recorder* recorder = writer->AddRecorder();
    // Completions come a little out of order.
    for (int64_t i = 0; i < rows; ++i) recorder->Append(Row(i ^ 5), events, {}, {});
    state.ResumeTiming();
    if (!writer->Finish().ok()) state.SkipWithError("rows were lost");
    state.PauseTiming();
    writer.reset();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * rows);
  state.counters["per_row"] = benchmark::Counter(static_cast<double>(state.iterations() * rows),
                                                 benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(WriteRows)->Arg(0)->Arg(1)->Arg(64)->Arg(1000)->Unit(benchmark::kMillisecond)->Iterations(1);

void LoadTable(benchmark::State& state) {
  constexpr int64_t kRows = 100'000;
  const ScratchFile file;
  {
    const std::vector<uint8_t> events = Events(state.range(0));
    auto writer = Writer(file, nullptr);
    Recorder* recorder = writer->AddRecorder();
    for (int64_t i = 0; i < kRows; ++i) recorder->Append(Row(i), events, {}, {});
    if (!writer->Finish().ok()) state.SkipWithError("rows were lost");
  }
  for (auto _ : state) benchmark::DoNotOptimize(RecordTable::Load(file.path()));
  state.counters["per_row"] = benchmark::Counter(static_cast<double>(state.iterations() * kRows),
                                                 benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(LoadTable)->Arg(1)->Arg(64)->Unit(benchmark::kMillisecond);

void ObserveRow(benchmark::State& state) {
  LiveStats stats;
  const std::vector<uint8_t> events = Events(state.range(0));
  const RequestRecord row = Row(1);
  for (auto _ : state) stats.OnRecord(row, events);
}
BENCHMARK(ObserveRow)->Arg(1)->Arg(64);

}  // namespace
}  // namespace llmbench

BENCHMARK_MAIN();
