"""Names of sources: what they say where nobody says it."""

from hfvaccine.sources.naming import named_source


def test_a_source_bears_its_own_name_unless_it_is_given_one():
    assert named_source("a/trees.csv.gz") == ("trees", "a/trees.csv.gz")
    assert named_source("a/trees:big:test") == ("trees_big_test", "a/trees:big:test")
    assert named_source("mine=a/trees.csv") == ("mine", "a/trees.csv")
