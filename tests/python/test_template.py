"""Servers described in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmbench.backends import Backend
from llmbench.backends.body import fill
from llmbench.endpoint import Endpoint
from llmbench.errors import ConfigError

MINIMAL: dict[str, Any] = {"body": {"q": "${prompt}"}, "text": "/a"}


@pytest.mark.parametrize(
    ("template", "values", "expected"),
    [
        ("${a}", {"a": 7}, 7),
        ("${a}", {"a": ["x"]}, ["x"]),
        ("${a}", {}, None),
        ("<${a}>", {"a": 7}, "<7>"),
        ("<${a}${b}>", {"a": "x\n", "b": True}, "<x\ntrue>"),
        ("<${a}>", {}, None),
        ({"k": "${a}", "l": 1}, {}, {"l": 1}),
        ({"k": {"m": "${a}"}, "l": 1}, {}, {"l": 1}),
        ({"k": {}, "l": []}, {}, {"k": {}, "l": []}),
        ({"k": ["${a}", "${b}"]}, {"b": 2}, {"k": [2]}),
        ({"k": ["${a}"], "l": 1}, {}, {"l": 1}),
        ({"a": 1, "**": "${more}", "z": 2}, {"more": {"m": 3}}, {"a": 1, "m": 3, "z": 2}),
        ({"a": 1, "**": "${more}"}, {}, {"a": 1}),
        ({"${name}": 1}, {"name": "n"}, {"n": 1}),
        ({"k": None, "l": 1.5, "m": "plain $x {y}"}, {}, {"k": None, "l": 1.5, "m": "plain $x {y}"}),
        ("${a}", {"a": "${b}", "b": 1}, "${b}"),
    ],
)
def test_placeholders(template: Any, values: dict[str, Any], expected: Any) -> None:
    assert fill(template, values) == expected


def test_a_body_of_every_kind_of_placeholder() -> None:
    backend = Backend.from_template(
        {
            "body": {
                "model": "${model}",
                "q": "Q: ${prompt}\nA:",
                "limit": "${max_tokens}",
                "seed": "${seed}",
                "id": "${request_id}",
                "force": "${ignore_eos}",
                "options": {"t": "${temperature}", "k": "${top_k}", "**": "${sampling}"},
                "stream": "${stream}",
            },
            "text": "/t",
        }
    )
    fields: dict[str, Any] = {"model": "m", "sampling": {"temperature": 0.5, "min_p": 0.1}, "seed": 9}
    first = json.loads(backend.render('say "hi"', 5, ignore_eos=True, **fields))
    identifier = first.pop("id")
    assert len(identifier) == 16
    assert first == {
        "model": "m",
        "q": 'Q: say "hi"\nA:',
        "limit": 5,
        "seed": 9,
        "force": True,
        "options": {"t": 0.5, "min_p": 0.1},
        "stream": True,
    }
    render = backend.renderer(**fields)
    ids = {json.loads(render("x", 5))["id"] for _ in range(3)}
    assert len(ids) == 3


def test_embedded_prompts_render_once_and_alike() -> None:
    backend = Backend.from_template({"body": {"a": "<${prompt}>", "b": "${prompt}"}, "text": "/t"})
    render = backend.renderer(model=None)
    for prompt in ("plain", 'a "quote" \\ 漢\n'):
        assert render(prompt, 3) == backend.render(prompt, 3, model=None)
        assert json.loads(render(prompt, 3)) == {"a": f"<{prompt}>", "b": prompt}


def test_what_a_template_makes() -> None:
    backend = Backend.from_template(
        {
            "name": "mine",
            "description": "my server",
            "url": "https://host:8443/api/generate?mode=fast",
            "method": "put",
            "headers": {"X-Key": "${env:MY_KEY}"},
            "body": {"messages": "${messages}", "stream": "${stream}"},
            "framing": "ndjson",
            "done": {"/done": True},
            "text": ["/a/-/t", "/b"],
            "output_tokens": "/n",
            "strip_prompt": True,
            "health": {"path": "/up", "status": 204},
            "models": {"path": "/m", "at": "/list/-/name"},
            "metrics": {"path": "/metrics", "port": 9100, "names": {"running": "jobs"}},
        }
    )
    assert (backend.name, backend.path, backend.method) == ("mine", "/api/generate?mode=fast", "PUT")
    assert backend.default_url == "https://host:8443"
    assert backend.takes == ("messages",)
    assert backend.rules == {
        "framing": "ndjson",
        "done": {"/done": True},
        "text": ["/a/-/t", "/b"],
        "output_tokens": "/n",
        "strip_prompt": True,
    }
    assert backend.repeats_prompt
    assert (backend.health_path, backend.health_status) == ("/up", 204)
    assert (backend.models_path, backend.models_at) == ("/m", "/list/-/name")
    assert (backend.metrics_path, backend.metrics_port) == ("/metrics", 9100)
    assert backend.metrics_names == {"running": "jobs"}
    assert (backend.counts, backend.finish_reasons, backend.cached_tokens) == (True, False, False)
    assert Backend.from_template(MINIMAL).path == "/"
    assert not Backend.from_template({**MINIMAL, "framing": "none"}).streams
    assert not Backend.from_template(MINIMAL).counts


def test_headers_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Backend.from_template({**MINIMAL, "headers": {"X-Plain": "Key ${env:MY_VARIABLE}"}})
    monkeypatch.delenv("MY_VARIABLE", raising=False)
    with pytest.raises(ConfigError, match="MY_VARIABLE"):
        Endpoint("http://host", backend=backend)
    monkeypatch.setenv("MY_VARIABLE", "hidden-1")
    endpoint = Endpoint("http://host", backend=backend)
    assert endpoint.wire_headers() == [("X-Plain", "Key hidden-1")]
    assert "hidden-1" in endpoint.secrets()
    assert "hidden" not in repr(endpoint) + repr(endpoint.to_dict())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"body": None}, "needs a body"),
        ({"body": "x"}, "body must be an object"),
        ({"body": {"q": "x"}}, "no place for the prompt"),
        ({"body": {"q": "${promt}"}}, r"unknown placeholder \$\{promt\}: did you mean \$\{prompt\}"),
        ({"text": None}, "where the text is"),
        ({"txet": "/a"}, "unknown key txet: did you mean text"),
        ({"health": {"pth": "/x"}}, "unknown key health.pth: did you mean path"),
        ({"health": {"path": "/x", "status": "200"}}, "health.status must be a whole number"),
        ({"streams": "yes"}, "streams must be true or false"),
        ({"method": 7}, "method must be a string"),
    ],
)
def test_templates_that_cannot_be(change: dict[str, Any], told: str) -> None:
    described = {key: value for key, value in {**MINIMAL, **change}.items() if value is not None}
    with pytest.raises(ConfigError, match=told):
        Backend.from_template(described)


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    file.write_text(json.dumps({**MINIMAL, "name": "mine"}))
    assert Backend.from_template(str(file)).name == "mine"
    for text, told in (("{", "is not JSON: .* line 1"), ("[]", "must be a JSON object")):
        file.write_text(text)
        with pytest.raises(ConfigError, match=told):
            Backend.from_template(str(file))
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        Backend.from_template(str(tmp_path / "absent"))


def test_the_bare_name_is_no_description() -> None:
    with pytest.raises(ConfigError, match="--template FILE"):
        Endpoint("http://host", backend="template")
