"""Names of sweep points."""

from __future__ import annotations

import pytest

from llmbench.combination import Combination

LLAMA = Combination("meta-llama/Llama-2-7b-hf", 1, 768, 1, 2600, 60, 8)
NAME = "meta-llama_Llama-2-7b-hf-tp1-bs768-replicas1-prompt2600-gen60-clients8"


@pytest.mark.parametrize(
    ("combination", "stem"),
    [
        (LLAMA, NAME),
        (Combination("tiiuae/falcon-40B", 4, 768, 2, 1200, 128, 32),
         "tiiuae_falcon-40B-tp4-bs768-replicas2-prompt1200-gen128-clients32"),
        (Combination("m-tp2-bs1", 8, 1, 1, 1, 1, 1), "m-tp2-bs1-tp8-bs1-replicas1-prompt1-gen1-clients1"),
        (Combination("a b.c_d", 1, 2, 3, 4, 5, 6), "a b.c_d-tp1-bs2-replicas3-prompt4-gen5-clients6"),
    ],
)  # fmt: skip
def test_names_round_trip(combination: Combination, stem: str) -> None:
    assert combination.file_stem() == stem
    assert combination.file_name == f"{stem}.json"
    for name in (stem, f"{stem}.json", f"/somewhere/else/{stem}.json"):
        parsed = Combination.parse(name)
        assert parsed is not None
        assert parsed.model == combination.model.replace("/", "_")
        assert parsed.file_stem() == stem


@pytest.mark.parametrize(
    "name",
    ["", "plot_config.yaml", "-tp1-bs1-replicas1-prompt1-gen1-clients1.json", f"{NAME}.json.tmp", f"{NAME}x.json",
     "m-tp1-bs1-replicas1-prompt1-gen1.json", "m-tp-bs1-replicas1-prompt1-gen1-clients1.json"],
)  # fmt: skip
def test_other_names_are_no_combination(name: str) -> None:
    assert Combination.parse(name) is None
