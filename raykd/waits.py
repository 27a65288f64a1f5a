"""How long raykd waits before it acts, where a test may shorten it without asking for less.

| variable | seconds | what waits |
|---|---|---|
| `RAYKD_STALL_SECONDS` | 30 | a run that waits for what no node can hold, before it ends |
| `RAYKD_SILENCE_SECONDS` | 30 | the least silence of a worker that is taken for a stall |
| `RAYKD_PEER_LOST_SECONDS` | 30 | a worker that lost a peer after notice, until Ray knows that the node is gone |

A job and its workers read them when they start.
"""

import os


def seconds(variable: str, usual: float) -> float:
    """What the environment says, or what is usual.

    Raises:
        ValueError: if the variable is not a number of seconds above 0.
    """
    found = float(os.environ.get(variable) or usual)
    if not found > 0:
        raise ValueError(f"{variable}: got {found}; it is a number of seconds above 0")
    return found
