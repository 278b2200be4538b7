"""A variant's name is canonical text of its settings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2vc.pipeline.choices import RANDOM_STRATEGIES, STRATEGIES
from s2vc.pipeline.variants import Variant
from s2vc.pipeline.windows import WindowRule

RULES = st.one_of(
    st.just(WindowRule()),
    st.builds(
        WindowRule,
        st.just("clip"),
        st.integers(2, 64),
        st.integers(1, 4),
        st.one_of(st.none(), st.integers(1, 64)),
    ),
)


def numbers(most: int) -> st.SearchStrategy[float]:
    """0 to `most`, of no more digits than a folder's name has room for."""
    return st.floats(0, most).map(lambda number: round(number, 100))


@st.composite
def variants(draw: st.DrawFn) -> Variant:
    strategy = draw(st.sampled_from(STRATEGIES))
    rule = draw(RULES)
    if strategy == "shuffle-clip":
        rule = WindowRule("clip", draw(st.integers(2, 64)))
    random = strategy in RANDOM_STRATEGIES
    level = {"keep": draw(numbers(1))}
    if strategy != "tfd" and draw(st.booleans()):
        level = {"alpha": draw(numbers(10))}
    drawn = {"draw": draw(st.integers(0, 5)), "seed": draw(st.integers(0, 99))} if random else {}
    return Variant(strategy, **level, **drawn, rule=rule)


@given(variants())
def test_name_and_json_both_give_the_variant_back(variant: Variant) -> None:
    assert Variant.parse(variant.name) == variant
    assert Variant.from_json(variant.to_json()) == variant


@given(variants(), variants())
def test_different_settings_have_different_names(one: Variant, other: Variant) -> None:
    assert (one == other) == (one.name == other.name)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("alpha0.50-zero-video", "alpha0.5-zero-video"),
        ("alpha1.0-zero-clip16-step1-stride16", "alpha1-zero-clip16"),
        ("keep0.200-tfd-video", "keep0.2-tfd-video"),
        ("alpha0.5-noise-video", "alpha0.5-noise-video-draw0"),
        ("alpha00.5-noise-clip32-stride8-draw02-seed0", "alpha0.5-noise-clip32-stride8-draw2"),
    ],
)
def test_two_spellings_of_one_number_give_one_variant(spelling: str, name: str) -> None:
    assert Variant.parse(spelling).name == name


def test_names_of_the_format() -> None:
    assert Variant(alpha=0.5).name == "alpha0.5-zero-video"
    assert Variant(alpha=0.5, rule=WindowRule("clip", 16)).name == "alpha0.5-zero-clip16"


@pytest.mark.parametrize(
    "text", ["", "alpha-zero-video", "alpha0.5", "../x", "alpha0.5-zero-video/..", "alphanan-zero-video"]
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no variant"):
        Variant.parse(text)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"alpha": 0.5, "keep": 0.2},
        {"alpha": -0.1},
        {"alpha": float("nan")},
        {"keep": 1.1},
        {"alpha": 0.5, "strategy": "blur"},
        {"alpha": 0.5, "strategy": "tfd"},
        {"alpha": 0.5, "strategy": "shuffle-clip"},
        {"alpha": 0.5, "draw": 1},
    ],
)
def test_settings_that_make_no_variant_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Variant(**wrong)  # type: ignore[arg-type]
