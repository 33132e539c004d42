import itertools
import json

import pytest
from huggingface_hub import EvalResult, ModelCard, ModelCardData, ModelInfo, constants
from hypothesis import given, settings
from hypothesis import strategies as st

from hfvaccine.localhub.cards import metadata as cards
from hfvaccine.localhub.data.catalog import KINDS


def test_metadata_and_body():
    readme = b"---\nlicense: mit\ndate: 2026-01-02\n1: x\n---\n# Title\n"
    assert cards.parse(readme) == {"license": "mit", "date": "2026-01-02", "1": "x"}
    assert cards.body_of(readme) == "# Title\n"


@pytest.mark.parametrize("readme", [b"", b"# Title\n", b"---\nno end", b"---\n---\n", b"---\n# only a comment\n---\n"])
def test_no_metadata(readme):
    assert cards.parse(readme) is None


BOMB = "a: &a [x,x,x,x]\n" + "".join(f"{b}: &{b} [*{a},*{a},*{a},*{a}]\n" for a, b in itertools.pairwise("abcdefghi"))


@pytest.mark.parametrize(
    "block",
    ["a: [", "- list", "just text", BOMB, "a: " + "[" * 1000, "? [a, b]\n: c", "a: !!python/name:os.system", "\xff"],
)
def test_unreadable_metadata(block):
    with pytest.raises(cards.CardError):
        cards.parse(f"---\n{block}\n---\n".encode("latin-1"))
    assert cards.metadata_of(f"---\n{block}\n---\n".encode("latin-1")) == {}


def test_any_value_becomes_json():
    block = "a: .nan\nb: .inf\nc: 0x" + "f" * 5000 + '\nd: !!binary "aGk="\ne: !!set {x}\nf: "\\ud800"\n'
    metadata = cards.parse(f"---\n{block}---\n".encode())
    json.dumps(metadata, allow_nan=False, ensure_ascii=False).encode()


def card_of(metadata) -> bytes:
    return f"---\n{json.dumps(metadata)}\n---\n".encode()


def index_of(**other):
    """A model-index, with other values in its one result."""
    result = {"task": {"type": "t"}, "dataset": {"type": "d", "name": "D"}, "metrics": [{"type": "m", "value": 1}]}
    return [{"name": "n", "results": [result | other]}]


WRONG = [
    ("model", {"tags": {"a": "b"}}, '"tags" must be a text or a list of texts, not {"a": "b"}'),
    ("model", {"base_model": [1, 2]}, '"base_model" must be a text or a list of texts, not [1, 2]'),
    ("model", {"datasets": [None]}, '"datasets" must be'),
    ("model", {"language": 5}, '"language" must be'),
    ("model", {"license": True}, '"license" must be'),
    ("model", {"pipeline_tag": ["a"]}, '"pipeline_tag" must be a text, not ["a"]'),
    ("dataset", {"task_categories": {"a": ["b"]}}, '"task_categories" must be'),
    ("space", {"models": 5}, '"models" must be'),
    ("space", {"sdk": "foo"}, '"sdk" must be one of gradio, streamlit, docker, static, not "foo"'),
    ("space", {"sdk": ["gradio"]}, '"sdk" must be one of'),
    ("dataset", {"ignore_metadata_errors": True}, '"ignore_metadata_errors" is a name'),
    ("model", {"self": "x"}, '"self" is a name'),
    ("model", {"model-index": 5}, '"model-index" must be a list, not 5'),
    ("model", {"model-index": ["x"]}, '"model-index[0]" must be a mapping'),
    ("model", {"model-index": [{"results": []}]}, '"model-index[0].name" is missing'),
    ("model", {"model-index": [{"name": "n"}]}, '"model-index[0].results" is missing'),
    ("model", {"model-index": index_of(task=None)}, '"model-index[0].results[0].task" is missing'),
    ("model", {"model-index": index_of(dataset={"type": "d"})}, 'dataset.name" is missing'),
    ("model", {"model-index": index_of(dataset={"type": "d", "name": "D", "split": ["x"]})}, 'dataset.split" must be'),
    ("model", {"model-index": index_of(metrics=[{"type": "m"}])}, 'metrics[0].value" is missing'),
    ("model", {"model-index": index_of(metrics=[{"value": 1}])}, 'metrics[0].type" is missing'),
    ("model", {"model-index": index_of(source={"name": "s"})}, 'source.url" is missing'),
    ("model", {"model-index": index_of(source="s")}, 'source" must be a mapping'),
]


@pytest.mark.parametrize(("kind", "metadata", "told"), WRONG)
def test_what_clients_could_not_read_is_no_card(kind, metadata, told):
    card = card_of(metadata)
    with pytest.raises(cards.CardError) as refused:
        cards.checked(kind, card)
    assert told in str(refused.value)
    assert cards.metadata_of(card) == metadata  # what lies in a repo already is still shown


RIGHT = [
    {},
    {"tags": "one", "language": None, "license": "", "datasets": []},
    {"license": "a-licence-that-nobody-knows", "language": ["xx", "code"], "pipeline_tag": "some-task"},
    {"model-index": []},
    {"model-index": index_of(source={"url": "https://example.org"})},
    {"sdk": "static", "app_port": 7860},
]


@pytest.mark.parametrize("metadata", RIGHT)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_right_or_unknown_is_let_through(kind, metadata):
    assert cards.checked(kind, card_of(metadata)) == metadata


def test_norwegian_is_no_boolean():
    assert cards.checked("dataset", b"---\nlanguage: [no, en]\nv: yes\ngated: true\n---\n") == {
        "language": ["no", "en"],
        "v": "yes",
        "gated": True,
    }


def test_the_sdks_are_those_of_the_clients():
    assert list(cards.SDKS) == constants.SPACES_SDK_TYPES


words = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8)
some = st.none() | words
results = st.builds(
    EvalResult,
    **dict.fromkeys(("task_type", "dataset_type", "dataset_name", "metric_type"), words),
    **dict.fromkeys(("task_name", "dataset_config", "dataset_split", "dataset_revision", "metric_name"), some),
    metric_value=st.floats() | st.integers() | words,
    dataset_args=st.none() | st.dictionaries(words, st.integers()),
    source_url=st.just("https://example.org"),
    source_name=some,
)


@settings(deadline=None, max_examples=50)
@given(
    eval_results=st.lists(results, max_size=3),
    texts=st.fixed_dictionaries(dict.fromkeys(("library_name", "license", "pipeline_tag"), some)),
    lists=st.fixed_dictionaries(
        dict.fromkeys(("tags", "datasets", "base_model", "language"), st.none() | st.lists(words, max_size=3))
    ),
)
def test_no_card_that_the_client_writes_is_refused(eval_results, texts, lists):
    data = ModelCardData(model_name="m", eval_results=eval_results, **texts, **lists)
    assert cards.checked("model", str(ModelCard.from_template(data)).encode())


values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["name", "x", ""]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "type", "url"]), inner),
)
shapes = st.fixed_dictionaries(
    {},
    optional={
        "model-index": values | st.builds(index_of, task=values) | st.builds(index_of, dataset=values, source=values),
        **dict.fromkeys(
            ("tags", "language", "datasets", "base_model", "license", "eval_results", "model_name"), values
        ),
        **dict.fromkeys(("self", "ignore_metadata_errors"), st.just("x")),
    },
)


@settings(deadline=None)
@given(shapes)
def test_the_client_reads_every_card_that_is_let_through(metadata):
    try:
        cards.checked("model", card_of(metadata))
    except cards.CardError:
        return
    told = ModelInfo(id="a/b", cardData=metadata, **{"model-index": metadata.get("model-index")})
    if metadata.get("model-index"):
        assert told.card_data.eval_results is not None
        str(told.card_data)


def test_no_card_of_trl_transformers_and_peft_is_refused(tmp_path):
    from peft import LoraConfig, get_peft_model
    from transformers.modelcard import TrainingSummary
    from trl.trainer.utils import generate_model_card

    from tests import tiny

    made = generate_model_card("a/base", "m", "a/m", "a/set", ["trl", "sft"], None, None, "SFT")
    assert "trl" in cards.checked("model", str(made).encode())["tags"]
    facts = {"tasks": "text-generation", "dataset": "D", "dataset_tags": "d", "eval_results": {"Accuracy": 0.5}}
    made = TrainingSummary("m", language="en", **facts).to_model_card()
    assert cards.checked("model", made.encode())["model-index"][0]["results"]
    adapter = get_peft_model(tiny.model("gpt2"), LoraConfig(task_type="CAUSAL_LM"))
    adapter.create_or_update_model_card(str(tmp_path))
    assert cards.checked("model", (tmp_path / "README.md").read_bytes())["library_name"] == "peft"


def test_tags_of_a_model():
    metadata = {
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "language": "en",
        "tags": ["immunization", 3],
        "license": "apache-2.0",
        "datasets": ["alice/dose"],
        "base_model": "alice/base",
    }
    assert cards.tags("model", metadata) == [
        "peft",
        "text-generation",
        "en",
        "immunization",
        "license:apache-2.0",
        "dataset:alice/dose",
        "base_model:alice/base",
        "base_model:adapter:alice/base",
    ]


def test_tags_of_a_dataset():
    metadata = {"task_categories": ["question-answering"], "language": ["en", "de"], "license": "mit"}
    expected = ["language:en", "language:de", "license:mit", "task_categories:question-answering"]
    assert cards.tags("dataset", metadata) == expected
