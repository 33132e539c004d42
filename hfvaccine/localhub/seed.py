"""Putting a model on the Hub from this machine, by the way that every client takes."""

from contextlib import ExitStack
from pathlib import Path

from hfvaccine.errors import LocalHubError
from hfvaccine.localhub.data.accounts import Accounts, token_id
from hfvaccine.localhub.data.database import data_folder, open_database
from hfvaccine.localhub.guard import kept_from_serving
from hfvaccine.localhub.server import LocalHub

MESSAGE = "Seed the model"


def seed(root: Path, source: Path, repo_id: str, endpoint: str | None = None, private: bool = False) -> str:
    """Make a model repo hold a folder or a .gguf file. What is there already is not sent again.

    Args:
        root: the Hub's data folder.
        source: a folder, or one .gguf file.
        repo_id: `namespace/name`; user and repo are made where there are none.
        endpoint: where the Hub is being served; None when it is not.
        private: whether a repo that is made is a private one.

    Returns:
        The commit that `main` stands at.

    Raises:
        LocalHubError: when the source is no model, or the Hub cannot be used or refuses.
    """
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    namespace, _, name = repo_id.partition("/")
    if not name:
        raise LocalHubError(f"{repo_id!r} names no repo.", "Write it as NAMESPACE/NAME.")
    if source.is_file() and source.suffix != ".gguf":
        raise LocalHubError(f"{source} is no model.", "Give a .gguf file or a folder.")
    if source.is_dir() and not any(one.is_file() for one in source.iterdir()):
        raise LocalHubError(f"There are no files in {source}.", "Give the folder that holds the model's files.")
    with ExitStack() as stack:
        if endpoint is None:
            with data_folder(root), kept_from_serving(root) as alone:
                if not alone:
                    raise LocalHubError(f"{root} is being served.", "Say where: `--endpoint http://127.0.0.1:8009`.")
            endpoint = stack.enter_context(LocalHub(root)).endpoint
        accounts = Accounts(stack.enter_context(open_database(root)))
        accounts.add_user(namespace)
        token = accounts.add_token(namespace, label="seed")
        stack.callback(accounts.revoke, namespace, [token_id(token)])
        api = HfApi(endpoint=endpoint, token=token)
        try:
            api.create_repo(repo_id, private=private, exist_ok=True)
            if source.is_dir():
                api.upload_folder(repo_id=repo_id, folder_path=source, commit_message=MESSAGE)
            else:
                api.upload_file(
                    repo_id=repo_id, path_or_fileobj=source, path_in_repo=source.name, commit_message=MESSAGE
                )
            return str(api.model_info(repo_id).sha)
        except (HfHubHTTPError, httpx2.HTTPError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise LocalHubError(
                f"{source} could not be put on the Hub: {reason}",
                f"Is {root} what {endpoint} serves? Check `--root`, `--endpoint` and the name.",
            ) from error
