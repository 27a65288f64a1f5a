"""Why a cluster was not joined, as Ray's log tells it: Ray itself says no more than that it was not."""

import os

NO_TOKEN = "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH, or ~/.ray/auth_token) to the cluster's"


def explain(said: str) -> tuple[str, str] | None:
    """What is wrong with the token and what to do, by what Ray printed; None where that does not tell."""
    if "InvalidAuthToken" not in said:
        return None
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        return "the cluster needs a token, and none was sent: RAY_AUTH_MODE is not token", NO_TOKEN
    return "the cluster refused the token", f"use the one that the cluster was started with: {NO_TOKEN}"
