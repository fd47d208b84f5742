#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bindings.h"
#include "llmbench/base/clock.h"
#include "llmbench/sim/options.h"
#include "llmbench/sim/server.h"

namespace py = pybind11;

namespace llmbench::python {
namespace {

// As the command line would write it. None stands for the default.
std::vector<std::pair<std::string, std::string>> TextOf(const py::dict& options) {
  std::vector<std::pair<std::string, std::string>> given;
  for (const auto& [name, value] : options) {
    if (value.is_none()) continue;
    std::string text = py::isinstance<py::bool_>(value) ? (value.cast<bool>() ? "true" : "false")
                                                        : py::str(value).cast<std::string>();
    given.emplace_back(py::str(name).cast<std::string>(), std::move(text));
  }
  return given;
}

std::unique_ptr<sim::Server> MakeServer(const py::object& options) {
  auto parsed = sim::OptionsFrom(TextOf(py::dict(options)));
  ThrowIfError(parsed.status());
  auto server = sim::Server::Create(*std::move(parsed));
  ThrowIfError(server.status());
  return *std::move(server);
}

py::list OptionRows() {
  py::list rows;
  for (const sim::OptionInfo& option : sim::OptionTable()) {
    py::dict row;
    row["name"] = option.name;
    row["kind"] = option.kind;
    row["default"] = option.default_value;
    row["choices"] = option.choices;
    row["group"] = option.group;
    row["help"] = option.help;
    rows.append(row);
  }
  return rows;
}

}  // namespace

void BindSim(py::module_& m) {
  py::class_<sim::Server>(m, "SimServer")
      .def(py::init(&MakeServer), py::arg("options"))
      .def("start",
           [](sim::Server& server) {
             auto ports = server.Start();
             ThrowIfError(ports.status());
             return *std::move(ports);
           })
      // Safe without the GIL: the server's threads and locks know nothing of Python.
      .def(
          "wait",
          [](sim::Server& server, double timeout_s) {
            const py::gil_scoped_release release;
            return server.Wait(static_cast<int64_t>(timeout_s * kNsPerSecond));
          },
          py::arg("timeout_s"))
      // Joins the server's threads, none of which waits for the GIL.
      .def("stop", &sim::Server::Stop, py::call_guard<py::gil_scoped_release>())
      .def_property_readonly("urls", &sim::Server::Urls)
      .def_property_readonly("description", &sim::Server::Description);
  m.def("sim_options", &OptionRows);
}

}  // namespace llmbench::python
