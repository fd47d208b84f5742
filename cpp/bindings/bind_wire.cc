#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <string_view>
#include <vector>

#include "bindings.h"
#include "llmbench/wire/guess_format.h"
#include "llmbench/wire/wire_format.h"

namespace py = pybind11;

namespace llmbench::python {
namespace {

py::list WireFormats() {
  py::list formats;
  for (const std::string& name : wire::WireFormat::Names()) {
    py::dict d;
    d["name"] = name;
    if (name != "template") {
      const auto format = wire::WireFormat::Named(name);
      ThrowIfError(format.status());
      d["framing"] = std::string(wire::FramingName(format->rules().framing));
      d["streams"] = format->rules().framing != wire::StreamFraming::kNone;
      d["always_streams"] = format->rules().always_streams;
      d["counts"] = std::string(format->counts());
      d["finish_reasons"] = format->finish_reasons();
      d["end"] = format->end();
    }
    formats.append(d);
  }
  return formats;
}

void CheckWireRules(const std::string& name, const std::string& rules) {
  ThrowIfError(wire::WireFormat::Named(name, rules).status());
}

std::vector<std::string> GuessWireFormat(const std::string& bytes) {
  std::vector<std::string> names;
  for (const std::string_view name : wire::GuessFormats(bytes)) names.emplace_back(name);
  return names;
}

}  // namespace

void BindWire(py::module_& m) {
  m.def("wire_formats", &WireFormats);
  m.def("check_wire_rules", &CheckWireRules, py::arg("wire_format"), py::arg("wire_rules"));
  m.def("guess_wire_format", &GuessWireFormat, py::arg("bytes"));
}

}  // namespace llmbench::python
