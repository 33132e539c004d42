"""What a Hub's client raises, as an error that says what to do about it."""

import errno
from unittest.mock import Mock, patch

import httpx2
import pytest
from doses import small_dose
from hubs import refused
from huggingface_hub import HfApi
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from hfvaccine import hub
from hfvaccine.errors import HubError, UsageError
from hfvaccine.hub.errors import ERRORS, as_hub_error, page_of, require_repo_id

API = HfApi(endpoint="http://hub.example")
REPO = "you/been-rejected"
PAGE = f"http://hub.example/datasets/{REPO}"


def explained(raised):
    with pytest.raises(HubError) as caught, as_hub_error(API, REPO, "dataset"):
        raise raised
    assert caught.value.__cause__ is raised
    return caught.value


def answered(kind, status, said):
    response = httpx2.Response(status, request=httpx2.Request("GET", PAGE))
    return kind(said, response=response, server_message=said)


@pytest.mark.parametrize(
    ("said", "step"),
    [
        (f"Access to dataset {REPO} is restricted. Please log in.", f"Ask for access at {PAGE}"),
        (
            f"Access to dataset {REPO} is restricted and you are not in the authorized list. Visit {PAGE} to ask.",
            f"Ask for access at {PAGE}",
        ),
        (f"Your request to access dataset {REPO} is awaiting a review from the repo authors.", "Wait for its owner"),
        (f"Your request to access dataset {REPO} has been rejected by the repo's authors.", "Only its owner"),
    ],
)
def test_a_gate_says_what_is_left_to_do_as_the_request_stands(said, step):
    error = explained(answered(GatedRepoError, 403, said))
    assert error.message.startswith(f"{REPO} is gated: ")
    assert error.next_step.startswith(step)
    assert "Visit" not in error.message


def test_the_cause_of_an_error_explains_it():
    error = LookupError("not in the cache")
    error.__cause__ = answered(RepositoryNotFoundError, 404, "Repository not found")
    wrapped = RuntimeError("cannot load")
    wrapped.__cause__ = error
    assert "hf auth whoami" in explained(wrapped).next_step


def test_a_token_that_no_header_can_hold_is_said_to_be_one():
    assert "cannot be sent" in explained(UnicodeEncodeError("ascii", "Bearer ä", 7, 8, "ordinal not in range")).message


def test_a_client_closed_under_an_upload_is_a_lost_connection():
    error = RuntimeError("Error while uploading 'data/dose.parquet' to the Hub.")
    error.__cause__ = RuntimeError("Cannot send a request, as the client has been closed.")
    assert "HF_ENDPOINT" in explained(error).next_step


@pytest.mark.parametrize("raised", [ValueError("a bug"), KeyError("a bug"), KeyboardInterrupt()])
def test_what_is_not_the_hubs_doing_is_raised_as_it_is(raised):
    with pytest.raises(type(raised)) as caught, as_hub_error(API, REPO, "dataset"):
        raise raised
    assert caught.value is raised


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 413, 418, 429, 500, 503, 507])
def test_every_answer_of_a_hub_has_a_next_step(status):
    error = explained(answered(HfHubHTTPError, status, "Refused"))
    assert error.message and error.next_step
    assert not {"{", "}"} & set(str(error))


def test_every_row_of_the_table_can_be_filled_in():
    facts = {"repo": REPO, "kind": "dataset", "endpoint": API.endpoint, "page": PAGE, "said": "No."}
    facts |= {"log_in": "Log in.", "offline": "HF_HUB_OFFLINE"}
    for _, message, next_step in ERRORS:
        assert message.format(**facts).endswith(".")
        assert next_step.format(**facts).endswith(".")


def test_pages_and_ids():
    assert page_of(API, REPO, "dataset") == PAGE
    assert page_of(API, REPO, "model") == f"http://hub.example/{REPO}"
    require_repo_id(REPO)
    with pytest.raises(UsageError, match="'dose' is not a repo id"):
        require_repo_id("dose")


def error_of(call):
    with pytest.raises(HubError) as caught:
        call()
    return caught.value


def test_what_the_hub_refuses_becomes_a_next_step(tokens, alice, dose, repo_id, tmp_path):
    def pull(name, **more):
        return lambda: hub.pull_dose(name, **{**alice, "token": tokens["reader"], **more})

    hub.push_dose(dose, repo_id, **alice)
    assert "hf auth whoami" in error_of(pull("alice/absent")).next_step
    assert "hf auth login" in error_of(pull("alice/absent", token=False)).next_step
    assert "hf auth login" in error_of(pull(repo_id, token="hfv_unknown")).next_step
    assert "no such revision" in error_of(pull(repo_id, revision="absent", token=tokens["alice"])).message
    theirs, other = {**alice, "token": tokens["reader"]}, small_dose(tmp_path / "other", "Another")
    # Who may not even read a gated repo is told that first: who may read could propose the change.
    assert "Ask for access" in error_of(lambda: hub.push_dose(other, repo_id, **theirs)).next_step
    assert "write access" in error_of(lambda: hub.push_dose(dose, "alice/new", **theirs)).next_step
    assert "HF_ENDPOINT" in error_of(pull(repo_id, endpoint="http://127.0.0.1:9")).next_step


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (LocalTokenNotFoundError("none"), "hf auth login"),
        (OfflineModeIsEnabled("offline"), "HF_HUB_OFFLINE"),
        (refused(401), "hf auth login"),
        (refused(412), "Push again"),
        (refused(429), "Wait"),
        (refused(503), "later"),
        (refused(418), "refused: Refused."),
        (ConnectionError("reset by peer"), "HF_ENDPOINT"),
        (OSError(errno.ENOSPC, "No space left on device"), "Free space"),
    ],
)
def test_every_known_failure_says_what_to_do(alice, dose, monkeypatch, raised, said):
    monkeypatch.setattr(HfApi, "repo_info", Mock(side_effect=raised))
    error = error_of(lambda: hub.push_dose(dose, "alice/any", **alice))
    assert said in str(error)
    assert error.next_step


def test_a_mistake_of_our_own_is_not_dressed_up(alice, dose):
    with patch.object(HfApi, "repo_info", side_effect=ValueError("a bug")), pytest.raises(ValueError, match="a bug"):
        hub.push_dose(dose, "alice/any", **alice)


@pytest.mark.parametrize("repo_id", ["dose", "a/b/c", "../x", "", "a/b c"])
def test_a_malformed_repo_id_is_a_usage_error(dose, repo_id):
    for call in (lambda: hub.push_dose(dose, repo_id), lambda: hub.pull_dose(repo_id)):
        with pytest.raises(UsageError, match="is not a repo id"):
            call()


def test_a_token_of_the_environment_is_named_as_it_comes_before_a_login(monkeypatch):
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    wrong = answered(HfHubHTTPError, 401, "Invalid user token.")
    assert "--token" in explained(wrong).next_step
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", "hf_wrong")
    assert "HUGGING_FACE_HUB_TOKEN" in explained(wrong).next_step
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "unset it" in explained(wrong).next_step and "of HF_TOKEN" in explained(wrong).next_step
    with pytest.raises(HubError) as caught, as_hub_error(HfApi(token="hf_given"), REPO, "dataset"):
        raise wrong
    assert "HF_TOKEN" not in caught.value.next_step


def test_what_forbids_the_network_is_named(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("TRANSFORMERS_OFFLINE", "1")
    error = explained(OfflineModeIsEnabled("offline"))
    assert error.message.startswith("TRANSFORMERS_OFFLINE forbids")
    assert error.next_step == "Unset TRANSFORMERS_OFFLINE."
