#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string_view>

#include "bindings.h"
#include "llmbench/workload/workload.h"

namespace py = pybind11;

namespace llmbench::python {
namespace {

using Counts = py::array_t<int32_t, py::array::c_style | py::array::forcecast>;

std::shared_ptr<Workload> MakeWorkload(const py::sequence& bodies, const Counts& prompt_tokens,
                                       const Counts& asked_tokens,
                                       const std::optional<py::sequence>& prompts) {
  const auto n = static_cast<py::ssize_t>(bodies.size());
  for (const auto& [name, counts] :
       {std::pair{"prompt_tokens", &prompt_tokens}, {"asked_tokens", &asked_tokens}}) {
    if (counts->ndim() != 1 || counts->size() != n) {
      throw py::value_error(std::string(name) + " must be one-dimensional with one count per body (" +
                            std::to_string(n) + "); -1 where unknown");
    }
  }
  if (prompts && static_cast<py::ssize_t>(prompts->size()) != n) {
    throw py::value_error("prompts must hold one prompt per body (" + std::to_string(n) + ")");
  }
  auto workload = std::make_shared<Workload>();
  for (py::ssize_t i = 0; i < n; ++i) {
    const auto at = static_cast<size_t>(i);
    const py::object body = bodies[at];
    const py::object prompt = prompts ? py::object((*prompts)[at]) : py::none();
    workload->Add(body.cast<std::string_view>(), prompt_tokens.at(i), asked_tokens.at(i),
                  prompt.is_none() ? std::string_view() : prompt.cast<std::string_view>());
  }
  return workload;
}

}  // namespace

void BindWorkload(py::module_& m) {
  py::class_<Workload, std::shared_ptr<Workload>>(m, "Workload", "Ready-made request bodies, copied once.")
      .def(py::init(&MakeWorkload), py::arg("bodies"), py::arg("prompt_tokens"), py::arg("asked_tokens"),
           py::arg("prompts") = py::none())
      .def("__len__", &Workload::size);
}

}  // namespace llmbench::python
