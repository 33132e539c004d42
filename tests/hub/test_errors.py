import httpx2
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

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
    for _, message, next_step in ERRORS:
        assert message.format(**facts).endswith(".")
        assert next_step.format(**facts).endswith(".")


def test_pages_and_ids():
    assert page_of(API, REPO, "dataset") == PAGE
    assert page_of(API, REPO, "model") == f"http://hub.example/{REPO}"
    require_repo_id(REPO)
    with pytest.raises(UsageError, match="'dose' is not a repo id"):
        require_repo_id("dose")
