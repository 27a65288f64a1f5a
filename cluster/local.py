"""Two Ray nodes on this machine, on loopback alone, that know their users by a token. They end with Ctrl-C.

python cluster/local.py [--nodes 2] [--cpus 1] [--port 8265]
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile

# Ray reads these when it is imported. The second gives every node the address 127.0.0.1: Ray listens on that alone.
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
# A folder of its own keeps the cluster apart from any other Ray here. Sockets lie in it, so its name is short.
FOLDER = os.environ["RAY_TMPDIR"] = tempfile.mkdtemp(prefix="raykd-", dir="/tmp")


def main() -> None:
    """Start the nodes, say where they are, and wait."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--cpus", type=int, default=1, help="of each node, used or not (default: 1)")
    parser.add_argument("--port", type=int, default=8265, help="of the dashboard (default: 8265)")
    options = parser.parse_args()
    # Makes ~/.ray/auth_token where no token is found; the token itself is not shown.
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    subprocess.run([*ray, "get-auth-token", "--generate"], check=True, stdout=subprocess.DEVNULL)

    from ray.cluster_utils import Cluster

    # The agent that starts jobs takes a free port: Ray's default one may belong to another Ray of this machine.
    dashboard = {
        "include_dashboard": True,
        "dashboard_host": "127.0.0.1",
        "dashboard_port": options.port,
        "dashboard_agent_listen_port": 0,
    }
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": options.cpus, **dashboard})
    for number in range(1, options.nodes):
        # Nodes that shared a folder would delete each other's unpacked uploads.
        cluster.add_node(num_cpus=options.cpus, temp_dir=f"{FOLDER}/{number}")
    # In place of the handler that every node sets: both end here, in order.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    size = f"{options.nodes} nodes of {options.cpus} CPU(s)"
    print(f"http://127.0.0.1:{options.port}: {size}; Ctrl-C ends them", flush=True)
    try:
        signal.pause()
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)
