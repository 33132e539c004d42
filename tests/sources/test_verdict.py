"""What names of ratings say."""

import pytest

from hfvaccine.sources.verdict import FALSE, PANTS_ON_FIRE, TRUE, UNCLEAR, of_name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        *(
            (name, FALSE)
            for name in ("False", "FALSE!", "Falso", "É falso", "faux", "C’est faux", "Falsch", "Fake news")
        ),
        *(
            (name, FALSE)
            for name in ("REFUTES", "Refuted", "CONTRADICT", "Fałsz", "ФЕЙК", "Yanlış", "خطأ", "虚假", "झूठ")
        ),
        *((name, FALSE) for name in ("Four Pinocchios", "Völlig falsch", "  not\u00a0true ", "❌ False")),
        *((name, FALSE) for name in ("False: no such law was passed", "FALSO. El video es de 2014", "False (satire)")),
        *((name, PANTS_ON_FIRE) for name in ("Pants on Fire!", "pants-fire", "Pants_on_fire")),
        *((name, TRUE) for name in ("true", "Verdadero", "Vrai", "richtig", "vero", "правда", "SUPPORTS")),
        *((name, UNCLEAR) for name in ("Mostly false", "Half True", "Misleading", "Falso contexto", "engañoso", "")),
        *(
            (name, UNCLEAR)
            for name in ("NOT ENOUGH INFO", "barely-true", "1", "-1", "Partly false", "Falsely credited")
        ),
        *((name, UNCLEAR) for name in ("True, but misleading", "False and true", "Größtenteils falsch", "unfalse")),
    ],
)
def test_a_name_says_false_or_true_only_where_it_is_clear(name, said):
    assert of_name(name) == said
