"""Why a cluster was not joined, as Ray's log tells it: Ray itself says no more than that it was not."""

import os

from raykd.doctor.finding import LIMIT_SECONDS

CONNECTING = "joining the cluster"
START = "start it (ray start --head), forward its port, or unset RAY_ADDRESS: raykd sweep then starts a Ray of its own"
NO_TOKEN = "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH, or ~/.ray/auth_token) to the cluster's"


def explain(said: str, doing: str) -> tuple[str, str] | None:
    """What is wrong and what to do, by what Ray printed and what it was doing; None where that does not tell."""
    if "InvalidAuthToken" in said or "Unauthenticated" in said:
        if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
            return "the cluster wants a token, and RAY_AUTH_MODE is not token: none was sent", NO_TOKEN
        return "the cluster refused the token that it was sent", f"take the one that it was started with: {NO_TOKEN}"
    if doing == CONNECTING:
        return f"no answer within {LIMIT_SECONDS:g} s while {doing}", START
    return None
