"""The sentence encoder: vectors of length 1 whatever stands beside, all pairs that are close, and its limits."""

import json

import numpy as np
import pytest

from hfvaccine.claims import embed
from hfvaccine.claims.embed import close_pairs, load_encoder, near_any
from hfvaccine.errors import ModelError, UsageError

TEXTS = ["bats are blind", "the moon is hollow and made of old cheese", "bats", ""]


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def vectors():
    return unit(np.random.default_rng(0).normal(size=(60, 3)))


def test_close_pairs_are_those_of_comparing_each_with_each(vectors, monkeypatch):
    monkeypatch.setattr(embed, "_BLOCK", 7)
    cosine = vectors @ vectors.T
    expected = [[i, j] for i in range(60) for j in range(i + 1, 60) if cosine[i, j] >= 0.8]
    assert close_pairs(vectors, 0.8).tolist() == expected and expected
    assert close_pairs(vectors[:0]).tolist() == []


def test_near_any_compares_with_each_that_is_given(vectors, monkeypatch):
    monkeypatch.setattr(embed, "_BLOCK", 7)
    near = near_any(vectors[:40], vectors[40:], 0.9)
    np.testing.assert_array_equal(near, (vectors[:40] @ vectors[40:].T >= 0.9).any(axis=1))
    assert near.any() and not near.all()
    assert not near_any(vectors, vectors[:0]).any()


def test_too_many_claims_are_refused(monkeypatch, vectors):
    monkeypatch.setattr(embed, "LIMIT", 59)
    with pytest.raises(UsageError, match="60 claims are too many"):
        close_pairs(vectors)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny random encoder."""
    import tiny
    from transformers import AutoModel, BertTokenizerFast

    path = tmp_path_factory.mktemp("encoder")
    letters = "abcdefghijklmnopqrstuvwxyz"
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    (path / "vocab.txt").write_text("\n".join(entries) + "\n")
    words = BertTokenizerFast(vocab=str(path / "vocab.txt"), vocab_file=str(path / "vocab.txt"))
    sizes = {"hidden_size": 16, "intermediate_size": 16, "max_position_embeddings": 32}
    return tiny.save(path, "bert", words, auto=AutoModel, **sizes)


def test_vectors_have_length_one_and_do_not_depend_on_what_stands_beside(folder):
    together = load_encoder(str(folder))(TEXTS)
    apart = np.concatenate([load_encoder(str(folder), batch=1)([text]) for text in TEXTS])
    assert together.shape == (4, 16) and together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(together, apart, atol=1e-5)
    assert abs(together[0] - together[1]).max() > 0.01


def test_a_text_longer_than_the_model_reads_is_cut(folder):
    assert load_encoder(str(folder))(["bats are blind " * 50]).shape == (1, 16)


def test_a_model_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"encoder .* cannot be loaded"):
        load_encoder(str(tmp_path))


def test_a_model_that_cannot_pad_is_refused(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**config, "pad_token": None}))
    with pytest.raises(ModelError, match="cannot be padded"):
        load_encoder(str(tmp_path))
