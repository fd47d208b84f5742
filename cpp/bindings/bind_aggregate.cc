#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bindings.h"
#include "llmbench/aggregate/intervals.h"
#include "llmbench/aggregate/latency_histogram.h"
#include "llmbench/aggregate/percentiles.h"
#include "llmbench/aggregate/run_summary.h"

namespace py = pybind11;

namespace llmbench::python {
namespace {

template <typename T>
using Values = py::array_t<T, py::array::c_style | py::array::forcecast>;

std::vector<double> CheckedPercents(std::vector<double> percents) {
  for (const double percent : percents) {
    if (!(percent >= 0 && percent <= 100)) {
      throw py::value_error("a percentile of " + std::string(py::str(py::float_(percent))) +
                            " was asked for; it lies in 0 to 100");
    }
  }
  return percents;
}

py::object NoneIfNaN(double value) {
  return std::isnan(value) ? py::object(py::none()) : py::object(py::float_(value));
}

py::dict ToDict(const Distribution& distribution) {
  py::dict dict;
  dict["n"] = distribution.n;
  dict["mean"] = NoneIfNaN(distribution.mean);
  dict["median"] = NoneIfNaN(distribution.median);
  dict["std"] = NoneIfNaN(distribution.std);
  dict["min"] = NoneIfNaN(distribution.min);
  dict["max"] = NoneIfNaN(distribution.max);
  py::list percentiles;
  for (const double value : distribution.percentiles) percentiles.append(NoneIfNaN(value));
  dict["percentiles"] = percentiles;
  return dict;
}

py::dict ToDict(const std::map<std::string, Distribution>& distributions) {
  py::dict dict;
  for (const auto& [name, distribution] : distributions) dict[py::str(name)] = ToDict(distribution);
  return dict;
}

py::dict ToDict(const Interval& interval) {
  py::dict dict;
  dict["low"] = NoneIfNaN(interval.low);
  dict["high"] = NoneIfNaN(interval.high);
  dict["n_eff"] = interval.n_eff;
  dict["supported"] = interval.supported;
  dict["needs_requests"] = interval.needs_requests
                               ? py::object(py::int_(static_cast<uint64_t>(*interval.needs_requests)))
                               : py::object(py::none());
  dict["excursions"] = interval.excursions;
  dict["reason"] = interval.reason.empty() ? py::object(py::none()) : py::object(py::str(interval.reason));
  return dict;
}

// By the keys of the numbers in the flat JSON.
py::dict IntervalsOf(const RunSummary& summary, const std::vector<double>& percents) {
  py::dict dict;
  for (const auto& [name, distribution] : summary.latency_ms) {
    if (distribution.percentile_intervals.empty()) continue;
    auto set = [&dict, &metric = name](const std::string& what, const Interval& interval) {
      dict[py::str(what + "_" + metric + "_ms")] = ToDict(interval);
    };
    set("mean", distribution.mean_interval);
    set("median", distribution.median_interval);
    for (size_t i = 0; i < distribution.percentile_intervals.size(); ++i) {
      set("p" + std::string(py::str("{:g}").format(percents[i])), distribution.percentile_intervals[i]);
    }
  }
  for (const auto& [name, interval] : summary.rate_intervals) {
    const std::string key = name == "total_throughput" ? "total_token_throughput"
                            : name == "goodput"        ? "request_goodput"
                                                       : name;
    dict[py::str(key)] = ToDict(interval);
  }
  return dict;
}

// Finish reasons are the server's words, so they may be anything.
py::dict ToDict(const std::map<std::string, uint64_t>& counts) {
  py::dict dict;
  for (const auto& [name, count] : counts) {
    PyObject* key = PyUnicode_DecodeUTF8(name.data(), static_cast<Py_ssize_t>(name.size()), "replace");
    if (key == nullptr) throw py::error_already_set();
    dict[py::reinterpret_steal<py::object>(key)] = count;
  }
  return dict;
}

py::dict ToDict(const RunSummary& summary, const std::vector<double>& percents) {
  py::dict dict;
#define LLMBENCH_FIELD(name) dict[#name] = summary.name
  LLMBENCH_FIELD(requests);
  LLMBENCH_FIELD(completed);
  LLMBENCH_FIELD(failed);
  LLMBENCH_FIELD(cut);
  dict["errors"] = ToDict(summary.errors);
  dict["finish_reasons"] = ToDict(summary.finish_reasons);
  dict["token_sources"] = ToDict(summary.token_sources);
  LLMBENCH_FIELD(duration_s);
  LLMBENCH_FIELD(input_tokens);
  LLMBENCH_FIELD(output_tokens);
  LLMBENCH_FIELD(cached_tokens);
  LLMBENCH_FIELD(reasoning_tokens);
  LLMBENCH_FIELD(usage_checked);
  LLMBENCH_FIELD(usage_apart);
  LLMBENCH_FIELD(events);
  LLMBENCH_FIELD(merged_events);
  LLMBENCH_FIELD(retried);
  LLMBENCH_FIELD(reused);
  LLMBENCH_FIELD(length_mismatched);
  LLMBENCH_FIELD(request_throughput);
  LLMBENCH_FIELD(input_throughput);
  LLMBENCH_FIELD(output_throughput);
  LLMBENCH_FIELD(total_throughput);
  LLMBENCH_FIELD(goodput);
  LLMBENCH_FIELD(goodput_share);
  dict["latency_ms"] = ToDict(summary.latency_ms);
  dict["with_failures_ms"] = ToDict(summary.with_failures_ms);
  LLMBENCH_FIELD(itl_share);
  LLMBENCH_FIELD(itl_absent_because);
  LLMBENCH_FIELD(concurrency_mean);
  LLMBENCH_FIELD(waiting_mean);
  LLMBENCH_FIELD(decoding_mean);
  LLMBENCH_FIELD(concurrency_peak);
  LLMBENCH_FIELD(sent_rate);
  LLMBENCH_FIELD(output_tokens_by_second);
#undef LLMBENCH_FIELD
  dict["intervals"] = IntervalsOf(summary, percents);
  return dict;
}

using Limits = std::map<std::string, double>;
using Window = std::optional<std::pair<int64_t, int64_t>>;

SummaryOptions CheckedOptions(std::vector<double> percents, Limits goodput, bool goodput_from_schedule,
                              bool ignore_eos, const Window& window_ns, size_t threads) {
  for (const auto& [name, limit] : goodput) {
    if (name != "ttft" && name != "tpot" && name != "e2el") {
      throw py::value_error("goodput: there is no limit on '" + name +
                            "'; it takes ttft, tpot and e2el, in ms");
    }
    if (!(limit > 0)) throw py::value_error("goodput: the limit on '" + name + "' must be above 0 ms");
  }
  SummaryOptions options;
  options.percents = CheckedPercents(std::move(percents));
  options.goodput = std::move(goodput);
  options.goodput_from_schedule = goodput_from_schedule;
  options.ignore_eos = ignore_eos;
  if (window_ns) options.window = {window_ns->first, window_ns->second};
  options.threads = threads;
  return options;
}

py::dict SummarizeTable(const std::shared_ptr<RecordTable>& table, std::vector<double> percents,
                        Limits goodput, bool goodput_from_schedule, bool ignore_eos, const Window& window_ns,
                        size_t threads) {
  const SummaryOptions options = CheckedOptions(std::move(percents), std::move(goodput),
                                                goodput_from_schedule, ignore_eos, window_ns, threads);
  RunSummary summary;
  {
    // The table never changes once loaded, and our reference keeps it; nothing of Python is touched.
    const py::gil_scoped_release released;
    summary = Summarize(*table, options);
  }
  return ToDict(summary, options.percents);
}

std::unique_ptr<RunDigest> LoadDigest(const std::string& path) {
  absl::StatusOr<RunDigest> digest = [&path] {
    // Reads a file into memory nobody else has yet: no Python object is touched.
    const py::gil_scoped_release released;
    return RunDigest::Load(path);
  }();
  ThrowIfError(digest.status());
  return std::make_unique<RunDigest>(*std::move(digest));
}

py::dict SummarizeDigest(const RunDigest& digest, std::vector<double> percents, Limits goodput,
                         bool goodput_from_schedule, bool ignore_eos, const Window& window_ns,
                         size_t threads) {
  const SummaryOptions options = CheckedOptions(std::move(percents), std::move(goodput),
                                                goodput_from_schedule, ignore_eos, window_ns, threads);
  absl::StatusOr<RunSummary> summary;
  {
    // The digest never changes once loaded, and the caller's reference keeps it; nothing of Python is
    // touched.
    const py::gil_scoped_release released;
    summary = digest.Summarize(options);
  }
  ThrowIfError(summary.status());
  return ToDict(*summary, options.percents);
}

py::array_t<double> PercentilesOf(const Values<double>& values, std::vector<double> percents) {
  percents = CheckedPercents(std::move(percents));
  std::vector<double> copy(values.data(), values.data() + values.size());
  std::vector<double> result;
  {
    // Works on a copy of its own.
    const py::gil_scoped_release released;
    result = Percentiles(copy, percents);
  }
  return py::array_t<double>(static_cast<py::ssize_t>(result.size()), result.data());
}

py::list PercentileIntervalsOf(const Values<double>& series, std::vector<double> percents) {
  percents = CheckedPercents(std::move(percents));
  const std::span<const double> values(series.data(), static_cast<size_t>(series.size()));
  std::vector<Interval> intervals;
  {
    // The caller's reference keeps the array; what is reordered is a copy.
    const py::gil_scoped_release released;
    std::vector<double> scratch(values.begin(), values.end());
    const std::vector<double> found = Percentiles(scratch, percents);
    intervals = PercentileIntervals(values, scratch, percents, found);
  }
  py::list result;
  for (const Interval& interval : intervals) result.append(ToDict(interval));
  return result;
}

void RecordAll(LatencyHistogram& histogram, const Values<int64_t>& values) {
  for (const int64_t value : std::span(values.data(), static_cast<size_t>(values.size())))
    histogram.Record(value);
}

}  // namespace

void BindAggregate(py::module_& m) {
  m.def("summarize", &SummarizeTable, py::arg("table"), py::arg("percents") = SummaryOptions().percents,
        py::arg("goodput") = Limits(), py::arg("goodput_from_schedule") = false,
        py::arg("ignore_eos") = false, py::arg("window_ns") = py::none(), py::arg("threads") = 0);
  py::class_<RunDigest>(m, "RunDigest",
                        "A run's rows, and of its events what summaries are made of: read once from a file, "
                        "summarized as often as wanted.")
      .def(py::init(&LoadDigest), py::arg("path"))
      .def_property_readonly("rows", &RunDigest::rows)
      .def("summarize", &SummarizeDigest, py::arg("percents") = SummaryOptions().percents,
           py::arg("goodput") = Limits(), py::arg("goodput_from_schedule") = false,
           py::arg("ignore_eos") = false, py::arg("window_ns") = py::none(), py::arg("threads") = 0);
  m.def("percentiles", &PercentilesOf, py::arg("values"), py::arg("percents"));
  m.def("percentile_intervals", &PercentileIntervalsOf, py::arg("series"), py::arg("percents"));

  py::class_<LatencyHistogram>(m, "Histogram",
                               "Mergeable log-linear histogram of nanoseconds, relative error at most 0.1 %.")
      .def(py::init<>())
      .def("record", &RecordAll, py::arg("values_ns"))
      .def("merge", &LatencyHistogram::Merge, py::arg("other"))
      .def(
          "percentile",
          [](const LatencyHistogram& histogram, double percent) {
            return histogram.Percentile(CheckedPercents({percent}).front() / 100);
          },
          py::arg("percent"))
      .def_property_readonly("count", &LatencyHistogram::count)
      .def_property_readonly("mean", &LatencyHistogram::mean)
      .def_property_readonly("min", &LatencyHistogram::min)
      .def_property_readonly("max", &LatencyHistogram::max);
}

}  // namespace llmbench::python
