"""The files in cluster/: they fit their schemas, want a token, and open no dashboard to the world."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
import ray
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from raykd.cli import parser
from raykd.submit.job import RUNTIME_ENV, SECRET

CLUSTER = Path(__file__).parents[1] / "cluster"
LAUNCHERS = [CLUSTER / "aws.yaml", CLUSTER / "onpremise.yaml"]


def documents(path: Path) -> list[dict]:
    return list(yaml.safe_load_all(path.read_text()))


def manifest(kind: str) -> dict:
    (document,) = documents(CLUSTER / f"kuberay/{kind.lower()}.yaml")
    assert (document["apiVersion"], document["kind"]) == ("ray.io/v1", kind)
    return document


def ray_cluster(kind: str) -> dict:
    spec = manifest(kind)["spec"]
    return spec["rayClusterSpec"] if kind == "RayJob" else spec


def pods(cluster: dict) -> list[dict]:
    return [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def test_the_default_runtime_environment_is_the_file_for_ray_job_submit():
    assert documents(CLUSTER / "runtime_env.yaml") == [RUNTIME_ENV]


@pytest.mark.parametrize("path", LAUNCHERS, ids=lambda path: path.name)
def test_a_launcher_file_fits_rays_schema(path):
    (config,) = documents(path)
    schema = Path(ray.__file__).parent / "autoscaler/ray-schema.json"
    jsonschema.validate(config, json.loads(schema.read_text()))
    # What Ray itself does before it starts anything.
    validate_config(prepare_config(config))


@pytest.mark.parametrize("path", LAUNCHERS, ids=lambda path: path.name)
def test_a_launched_cluster_wants_a_token_and_keeps_its_dashboard_on_loopback(path):
    (config,) = documents(path)
    assert "--env RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    assert config["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}
    (start,) = [command for command in config["head_start_ray_commands"] if "--head" in command]
    assert "--dashboard-host=127.0.0.1" in start.split()


@pytest.mark.parametrize("kind", ["RayCluster", "RayJob"])
def test_a_manifest_wants_a_token_scales_gpu_workers_and_shares_storage(kind):
    cluster = ray_cluster(kind)
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["rayVersion"] == ray.__version__
    (workers,) = cluster["workerGroupSpecs"]
    assert 0 <= workers["minReplicas"] < workers["maxReplicas"]
    assert workers["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] >= 1
    claims = {document["metadata"]["name"] for document in documents(CLUSTER / "kuberay/shared.yaml")[:1]}
    for pod in pods(cluster):
        assert pod["securityContext"]["runAsNonRoot"] is True
        (container,) = pod["containers"]
        assert {"name": "shared", "mountPath": "/shared"} in container["volumeMounts"]
        assert {
            volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"] if volume["name"] == "shared"
        } == claims


@pytest.mark.parametrize("kind", ["RayCluster", "RayJob"])
def test_no_dashboard_of_kubernetes_is_open_to_the_world(kind):
    cluster = ray_cluster(kind)
    head = cluster["headGroupSpec"]
    assert head["serviceType"] == "ClusterIP"
    assert "enableIngress" not in head
    # The operator starts a RayJob over the pod's network; the network policy lets in nobody else.
    assert head["rayStartParams"]["dashboard-host"] == ("127.0.0.1" if kind == "RayCluster" else "0.0.0.0")
    _, policy = documents(CLUSTER / "kuberay/shared.yaml")
    assert policy["kind"] == "NetworkPolicy"
    fenced = policy["spec"]["podSelector"]["matchLabels"]
    for group in (head, *cluster["workerGroupSpecs"]):
        assert group["template"]["metadata"]["labels"] == fenced
    ((rule),) = policy["spec"]["ingress"]
    admitted = [source["podSelector"]["matchLabels"] for source in rule["from"]]
    assert admitted == [fenced, {"app.kubernetes.io/name": "kuberay-operator"}]


def test_the_jobs_entrypoint_is_a_sweep_command_of_a_shipped_file_with_shared_results():
    spec = manifest("RayJob")["spec"]
    python, dash_m, program, *arguments = shlex.split(spec["entrypoint"])
    assert (python, dash_m, program) == ("python", "-m", "raykd")
    options = parser().parse_args(arguments)
    assert arguments[0] == "sweep"
    assert (CLUSTER.parent / options.file.relative_to("/opt/raykd")).is_file()
    assert str(options.storage).startswith("/shared/")
    # A retry runs the same command on a new cluster, and that goes on with the sweep.
    assert spec["backoffLimit"] >= 1
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["submitterPodTemplate"]["metadata"]["labels"] == {"app": "raykd"}
    assert yaml.safe_load(spec["runtimeEnvYAML"]) == {"env_vars": RUNTIME_ENV["env_vars"]}


def settings(value: object, key: str = "") -> Iterator[tuple[str, object]]:
    """Every key that stands in front of a plain value, however deep, with the value."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from settings(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from settings(inner, key)
    else:
        yield key, value


@pytest.mark.parametrize("path", sorted(CLUSTER.rglob("*.yaml")), ids=lambda path: path.name)
def test_no_file_holds_a_secret_or_names_a_registry(path):
    found = list(settings(documents(path)))
    # A path to a file of the user's own is none.
    assert [key for key, value in found if SECRET.search(key) and not str(value).startswith("~/")] == []
    assert {value for key, value in found if key == "image"} <= {"raykd:latest"}


def test_the_image_compiles_deepspeeds_op_pins_versions_and_runs_as_a_user():
    lines = (CLUSTER / "Dockerfile").read_text().replace("\\\n", "").splitlines()
    assert [line for line in lines if line.startswith("FROM")] == ["FROM python:3.11-slim"]
    (deepspeed,) = [line for line in lines if line.startswith("RUN") and "deepspeed" in line]
    assert {"DS_ACCELERATOR=cpu", "DS_BUILD_SHM_COMM=1"} <= set(deepspeed.split())
    installs = [line for line in lines if "pip install" in line]
    assert len(installs) == 3
    assert all("--constraint constraints.txt" in line for line in installs)
    # `ray up` reads HOME out of the image to know where the token is mounted.
    assert any("HOME=/home/ray" in line for line in lines)
    assert lines[-2:] == ["USER ray", "WORKDIR /home/ray"]
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY")]
    assert all((CLUSTER.parent / name).exists() for names in copied for name in names)


def test_the_readme_names_every_file():
    said = (CLUSTER / "README.md").read_text()
    for path in CLUSTER.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts and path.name != "README.md":
            assert f"`{path.name}`" in said, path.name
