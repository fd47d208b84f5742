#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "bindings.h"
#include "llmbench/record/outcome.h"
#include "llmbench/record/record_table.h"

namespace py = pybind11;

namespace llmbench::python {
namespace {

// The dtype of RequestRecord, field by field under its own name.
py::dtype RequestDtype() {
  py::list names, formats, offsets;
  auto field = [&](const char* name, const char* format, size_t offset) {
    names.append(name);
    formats.append(format);
    offsets.append(offset);
  };
#define LLMBENCH_FIELD(name, format) field(#name, format, offsetof(RequestRecord, name))
  LLMBENCH_FIELD(id, "i8");
  LLMBENCH_FIELD(scheduled_ns, "i8");
  LLMBENCH_FIELD(slot_ns, "i8");
  LLMBENCH_FIELD(connected_ns, "i8");
  LLMBENCH_FIELD(sent_ns, "i8");
  LLMBENCH_FIELD(send_done_ns, "i8");
  LLMBENCH_FIELD(first_byte_ns, "i8");
  LLMBENCH_FIELD(first_token_ns, "i8");
  LLMBENCH_FIELD(first_answer_ns, "i8");
  LLMBENCH_FIELD(last_token_ns, "i8");
  LLMBENCH_FIELD(end_ns, "i8");
  LLMBENCH_FIELD(dns_ns, "i8");
  LLMBENCH_FIELD(connect_ns, "i8");
  LLMBENCH_FIELD(tls_ns, "i8");
  LLMBENCH_FIELD(bytes_in, "i8");
  LLMBENCH_FIELD(bytes_out, "i8");
  LLMBENCH_FIELD(workload, "i4");
  LLMBENCH_FIELD(endpoint, "i4");
  LLMBENCH_FIELD(model, "i4");
  LLMBENCH_FIELD(session, "i4");
  LLMBENCH_FIELD(turn, "i4");
  LLMBENCH_FIELD(worker, "i4");
  LLMBENCH_FIELD(connection, "i4");
  LLMBENCH_FIELD(attempts, "i4");
  LLMBENCH_FIELD(status, "i4");
  LLMBENCH_FIELD(prompt_tokens, "i4");
  LLMBENCH_FIELD(cached_tokens, "i4");
  LLMBENCH_FIELD(asked_tokens, "i4");
  LLMBENCH_FIELD(output_tokens, "i4");
  LLMBENCH_FIELD(reasoning_tokens, "i4");
  LLMBENCH_FIELD(events, "i4");
  LLMBENCH_FIELD(merged_events, "i4");
  LLMBENCH_FIELD(flags, "u4");
  LLMBENCH_FIELD(phase, "u1");
  LLMBENCH_FIELD(outcome, "u1");
  LLMBENCH_FIELD(token_source, "u1");
  LLMBENCH_FIELD(finish_reason, "S24");
#undef LLMBENCH_FIELD
  return py::dtype(names, formats, offsets, sizeof(RequestRecord));
}

// A read-only view of memory the owner keeps alive.
py::array View(const py::dtype& dtype, size_t size, const void* data, const py::object& owner) {
  // A base object makes NumPy take the pointer as it is; null, of an empty vector, would make it allocate.
  static const char kNothing[sizeof(RequestRecord)] = {};
  py::array view(dtype, {static_cast<py::ssize_t>(size)}, {}, data != nullptr ? data : kNothing, owner);
  view.attr("setflags")(py::arg("write") = false);
  return view;
}

template <typename T>
auto ViewOf(std::vector<T> RecordTable::*column) {
  return [column](const py::object& self) {
    const std::vector<T>& values = self.cast<const RecordTable&>().*column;
    return View(py::dtype::of<T>(), values.size(), values.data(), self);
  };
}

// Text that came over the network may be anything: what is not UTF-8 is replaced, not refused.
py::list Strings(const std::vector<std::string>& values) {
  py::list list;
  for (const std::string& value : values) {
    PyObject* text = PyUnicode_DecodeUTF8(value.data(), static_cast<Py_ssize_t>(value.size()), "replace");
    if (text == nullptr) throw py::error_already_set();
    list.append(py::reinterpret_steal<py::object>(text));
  }
  return list;
}

std::shared_ptr<RecordTable> Load(const std::string& path, bool salvage) {
  absl::StatusOr<RecordTable> table;
  {
    // Reading a file into a table nobody else has yet: no Python object is touched.
    const py::gil_scoped_release released;
    table = RecordTable::Load(path, salvage);
  }
  ThrowIfError(table.status());
  return std::make_shared<RecordTable>(*std::move(table));
}

}  // namespace

void BindRecord(py::module_& m) {
  const auto outcomes = static_cast<size_t>(Outcome::kCount);
  py::tuple names(outcomes);
  for (size_t i = 0; i < outcomes; ++i) names[i] = py::str(std::string(OutcomeName(static_cast<Outcome>(i))));
  m.attr("OUTCOMES") = names;
  m.attr("ABSENT_NS") = kNoTime;

  py::class_<RecordTable, std::shared_ptr<RecordTable>>(m, "RecordTable", "All rows of a result.")
      .def_static("load", &Load, py::arg("path"), py::arg("salvage") = false)
      .def_property_readonly("requests",
                             [](const py::object& self) {
                               const auto& rows = self.cast<const RecordTable&>().requests;
                               return View(RequestDtype(), rows.size(), rows.data(), self);
                             })
      .def_property_readonly("event_offsets", ViewOf(&RecordTable::event_offsets))
      .def_property_readonly("event_times_ns", ViewOf(&RecordTable::event_times_ns))
      .def_property_readonly("event_tokens", ViewOf(&RecordTable::event_tokens))
      .def_property_readonly("event_flags", ViewOf(&RecordTable::event_flags))
      .def_property_readonly("errors", [](const RecordTable& table) { return Strings(table.errors); })
      .def_property_readonly("texts", [](const RecordTable& table) { return Strings(table.texts); })
      .def_property_readonly("damage", [](const RecordTable& table) { return table.damage; })
      .def_property_readonly("endpoints", [](const RecordTable& table) { return Strings(table.endpoints); })
      .def_property_readonly("models", [](const RecordTable& table) { return Strings(table.models); });
}

}  // namespace llmbench::python
