"""What wording alone gives away, by itself and by what a model was given."""

import numpy as np
import pytest

from hfvaccine.claims.cues import audit_many, cue_audit, learnt_audit
from hfvaccine.errors import ClaimError


def test_pairs_of_one_group_are_in_one_fold():
    """Else what a claim says would be learnt from its own variant."""
    rng = np.random.default_rng(0)
    names = [f"name{n}" for n in range(40)]
    pairs, groups = [], []
    for name in names:  # in a group the same made-up word tells, and nothing does between groups
        false, true = rng.permutation([f"{name}x", f"{name}y"])
        pairs += [(f"It is {false} here.", f"It is {true} here."), (f"Say {false} now.", f"Say {true} now.")]
        groups += [name, name]
    assert cue_audit(pairs).bag_of_words > 0.9
    assert cue_audit(pairs, groups=groups).bag_of_words == pytest.approx(0.5, abs=0.1)
    assert audit_many(pairs, groups).bag_of_words == cue_audit(pairs, groups=groups).bag_of_words
    with pytest.raises(ClaimError, match="one claim"):
        cue_audit(pairs, groups=["one"] * len(pairs))


def test_a_style_that_was_taught_is_found_where_it_is_carried_to(make_claims):
    given, others = make_claims(40)[:20], make_claims(40)[20:]
    taught = [(f"{c.claim} It is said.", False) for c in given] + [(f"{c.twin} It is known.", True) for c in given]
    styled = [(f"{c.claim} It is said.", f"{c.twin} It is known.") for c in others]
    assert learnt_audit(taught, styled) == 1
    assert learnt_audit(taught, [(true, false) for false, true in styled]) == 0
    assert learnt_audit(taught, [(c.claim, c.twin) for c in others]) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("taught", [[], [("Snow is warm.", False)], [("Snow is cold.", True)] * 3])
def test_where_only_one_side_was_taught_nothing_is_said(taught):
    assert learnt_audit(taught, [("Snow is warm.", "Snow is cold.")]) is None
