#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bindings.h"
#include "llmbench/wire/guess_format.h"
#include "llmbench/wire/http2_exchange.h"
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
  using wire::Http2Exchange;
  py::class_<Http2Exchange>(m, "Http2Exchange")
      .def(py::init([](const wire::HeaderFields& fields, const std::string& body) {
             return std::make_unique<Http2Exchange>(fields, body);
           }),
           py::arg("fields"), py::arg("body"))
      .def("receive", [](Http2Exchange& self, const std::string& bytes) { self.Receive(bytes); })
      .def("close", &Http2Exchange::Close)
      .def("take_output", [](Http2Exchange& self) { return py::bytes(self.TakeOutput()); })
      .def("take_body", [](Http2Exchange& self) { return py::bytes(self.TakeBody()); })
      .def_property_readonly("status", &Http2Exchange::status)
      .def_property_readonly("over", &Http2Exchange::over)
      .def_property_readonly("error",
                             [](const Http2Exchange& self) {
                               return py::bytes(self.error()).attr("decode")("utf-8", "replace");
                             })
      .def_property_readonly("fields", [](const Http2Exchange& self) {
        py::list fields;
        for (const auto& [name, value] : self.fields()) {
          fields.append(py::make_tuple(py::bytes(name).attr("decode")("latin-1"),
                                       py::bytes(value).attr("decode")("latin-1")));
        }
        return fields;
      });
  m.def("guess_wire_format", &GuessWireFormat, py::arg("bytes"));
}

}  // namespace llmbench::python
