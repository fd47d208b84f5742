"""Azure's managed endpoints. Its serverless models speak OpenAI's protocol and are in openai.py."""

from __future__ import annotations

from typing import Any

from llmbench.backends.backend import Backend


def _values(values: dict[str, Any]) -> dict[str, Any]:
    greedy = values.get("temperature") == 0
    if greedy:
        values = {
            name: value for name, value in values.items() if name not in ("temperature", "top_p", "top_k")
        }
    conversation = "messages" in values
    return values | {
        "do_sample": not greedy,
        "input_string": values["input"] if conversation else [values["input"]],
    }


AML = Backend(
    "aml",
    "/score",
    "aml",
    body={
        "input_data": {
            "input_string": "${input_string}",
            "parameters": {
                "max_tokens": "${max_tokens}",
                "temperature": "${temperature}",
                "top_p": "${top_p}",
                "top_k": "${top_k}",
                "do_sample": "${do_sample}",
                "return_full_text": False,
            },
        }
    },
    takes=("text", "messages"),
    streams=False,
    values=_values,
    deployment_header="azureml-model-deployment",
    key_env=None,
    default_port=443,
    description="Azure ML managed online endpoint",
    reports="tokenizer",
    finish_reasons=False,
    quirks=(
        "--deployment NAME pins one deployment, past the traffic split (azureml-model-deployment).",
        "The container decides about names: with max_new_tokens instead of max_tokens use a template.",
        "The service ends requests after 5 s by default and answers 408: raise request_timeout_ms there.",
        "No token counts: --tokenizer counts the answers after the run.",
    ),
)
CONTENT_SAFETY = Backend(
    "azure-content-safety",
    "/contentsafety/text:analyze?api-version=2024-09-01",
    "azure-content-safety",
    body={
        "text": "${prompt}",
        "categories": ["Hate", "SelfHarm", "Sexual", "Violence"],
        "blocklistNames": [],
        "haltOnBlocklistHit": False,
        "outputType": "FourSeverityLevels",
    },
    streams=False,
    key_header="Ocp-Apim-Subscription-Key",
    key_env="AZURE_CONTENT_SAFETY_KEY",
    default_port=443,
    description="Azure AI Content Safety",
    reports="none",
    finish_reasons=False,
    quirks=(
        "It classifies a text and generates nothing: only whole latencies and rates are measured.",
        "Texts are limited to 10 000 characters, the standard tier to 1000 requests in 10 s.",
    ),
)
