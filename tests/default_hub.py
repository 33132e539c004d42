"""An embedded Hub in the place of the real one, whose address libraries read once, before any test."""

from huggingface_hub import constants, hf_api


def talk_to(local, patch):
    """Let every client in this process talk to a running `LocalHub` unless it is told otherwise."""
    import datasets

    files = f"{local.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    patch.setattr(constants, "ENDPOINT", local.endpoint)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
    patch.setattr(hf_api.api, "endpoint", local.endpoint)
    patch.setattr(datasets.config, "HF_ENDPOINT", local.endpoint)
