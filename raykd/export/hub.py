"""Publishes an exported folder on the Hugging Face Hub."""

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError, HTTPError
from huggingface_hub.utils import validate_repo_id

from raykd.errors import ConfigError, HubError


def check_repo(repo: str) -> None:
    """Refuse a name that no repository can have, before anything is done.

    Raises:
        ConfigError: saying what is wrong with it.
    """
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise ConfigError(f"--push {repo}: {error}") from error


def push(folder: Path, repo: str, *, private: bool = False) -> str:
    """Make a model repository, if it is not there, and upload a folder into it in one commit.

    The token is that of the environment (HF_TOKEN) or of `hf auth login`, the address that of HF_ENDPOINT.

    Args:
        private: of a repository that is made.

    Returns:
        URL of the commit.

    Raises:
        HubError: if the Hub does not answer, or refuses; the folder stays.
    """
    api = HfApi()
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        commit = api.upload_folder(repo_id=repo, folder_path=folder, commit_message=f"Model of raykd: {folder.name}")
    # ValueError: a token that is no text, or one that is missing.
    except (HTTPError, OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise HubError(
            f"push to {repo} at {api.endpoint}: {type(error).__name__}: {reason}. To do: check HF_TOKEN, its "
            f"write permission, and the connection, then `hf upload {repo} {folder} .`; {folder} is complete"
        ) from error
    return str(commit.commit_url)
