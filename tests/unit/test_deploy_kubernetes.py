"""deploy/kubernetes: manifests that hang together and give no more rights than are needed."""

import copy
import json
import re
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pytest
from conftest import ROOT
from ruamel.yaml import YAML

import geoseg

FOLDER = ROOT / "deploy" / "kubernetes"
KUSTOMIZE = shutil.which("kustomize") or shutil.which("kubectl")
OVERLAYS = sorted(path.parent.name for path in FOLDER.glob("overlays/*/kustomization.yaml"))


def documents(text):
    return list(YAML(typ="safe").load_all(text))


MANIFESTS = [
    manifest
    for path in sorted(FOLDER.rglob("*.yaml"))
    if path.name != "kustomization.yaml" and path.parent.name != "workflows"
    for manifest in documents(path.read_text())
]


def pod(manifest):
    """The pod of a deployment or cron job; None of anything else."""
    spec = manifest["spec"] if manifest["kind"] == "Deployment" else None
    if manifest["kind"] == "CronJob":
        spec = manifest["spec"]["jobTemplate"]["spec"]
    return None if spec is None else spec["template"]


PODS = {m["metadata"]["name"]: pod(m) for m in MANIFESTS if pod(m)}


def size(text):
    """Bytes of a quantity of Kubernetes or of Dask."""
    units = {"Gi": 2**30, "Mi": 2**20, "GB": 10**9, "MB": 10**6}
    number, unit = re.fullmatch(r"([\d.]+)(\w+)", text).groups()
    return float(number) * units[unit]


def option(container, name):
    return next((a.partition("=")[2] for a in container["args"] if a.startswith(name + "=")), None)


KUBERNETES = json.loads((ROOT / "tests" / "data" / "schemas" / "kubernetes-1.31.json").read_text())


def errors(manifest):
    """What the oldest Kubernetes that docs/deploy.md names would say of a manifest."""
    kind = KUBERNETES["kinds"][f"{manifest['apiVersion']} {manifest['kind']}"]
    schema = {"$ref": f"#/$defs/{kind}", "$defs": KUBERNETES["$defs"]}
    found = jsonschema.Draft202012Validator(schema).iter_errors(manifest)
    return [f"{manifest['metadata']['name']}: {e.json_path}: {e.message:.200}" for e in found]


@pytest.mark.parametrize(
    "manifest", MANIFESTS, ids=lambda m: f"{m['kind']} {m['metadata']['name']}"
)
def test_manifests_fit_the_schema_of_kubernetes(manifest):
    assert errors(manifest) == []
    wrong = copy.deepcopy(manifest)
    wrong["spec" if "spec" in wrong else "metadata"]["replica"] = 2
    assert errors(wrong), "what Kubernetes does not know is seen"


@pytest.mark.parametrize("name", PODS)
def test_pods_keep_the_restricted_standard(name):
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/ ; the namespace asks it."""
    spec = PODS[name]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 10001
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert set(spec) & {"hostNetwork", "hostPID", "hostIPC"} == set()
    assert all("hostPath" not in volume for volume in spec["volumes"])
    (container,) = spec["containers"]
    rights = container["securityContext"]
    assert rights["allowPrivilegeEscalation"] is False
    assert rights["readOnlyRootFilesystem"] is True
    assert rights["capabilities"] == {"drop": ["ALL"]}
    assert "privileged" not in rights
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["volumes"]}
    assert container["resources"]["limits"]["memory"]


def test_workers_see_the_folders_of_the_client_and_are_replaced_before_the_kernel_ends_them():
    def shared(name):
        mounts = PODS[name]["spec"]["containers"][0]["volumeMounts"]
        return {m["name"]: m["mountPath"] for m in mounts if m["name"] in {"products", "models"}}

    workers = [name for name in PODS if "-worker-" in name]
    assert len(workers) == 2
    for name in workers:
        assert shared(name) == shared("geoseg-nightly")
        (container,) = PODS[name]["spec"]["containers"]
        memory = size(option(container, "--memory-limit"))
        assert memory + 5e8 < size(container["resources"]["limits"]["memory"])
        offers = option(container, "--resources")
        assert offers == ("GPU=1" if "nvidia.com/gpu" in container["resources"]["limits"] else None)


def test_names_that_must_agree_do():
    by_kind = {(m["kind"], m["metadata"]["name"]): m for m in MANIFESTS}
    service = by_kind["Service", "geoseg-scheduler"]
    (scheduler,) = PODS["geoseg-scheduler"]["spec"]["containers"]
    assert (
        service["spec"]["selector"].items()
        <= PODS["geoseg-scheduler"]["metadata"]["labels"].items()
    )
    assert option(scheduler, "--port") == "8786" == str(service["spec"]["ports"][0]["port"])
    claims = {name for kind, name in by_kind if kind == "PersistentVolumeClaim"}
    for name, template in PODS.items():
        for volume in template["spec"]["volumes"]:
            claim = volume.get("persistentVolumeClaim")
            assert claim is None or claim["claimName"] in claims
        text = " ".join(template["spec"]["containers"][0]["args"])
        if name != "geoseg-scheduler":
            assert "tcp://geoseg-scheduler:8786" in text
    for manifest in MANIFESTS:
        if manifest["kind"] == "Deployment":
            wanted = manifest["spec"]["selector"]["matchLabels"]
            assert wanted.items() <= pod(manifest)["metadata"]["labels"].items()


def test_dashboards_are_not_on_the_network_and_nobody_from_outside_gets_in():
    for name, template in PODS.items():
        if name != "geoseg-nightly":
            address = option(template["spec"]["containers"][0], "--dashboard-address")
            assert address.startswith("127.0.0.1:")
    policy = next(m for m in MANIFESTS if m["kind"] == "NetworkPolicy")["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    (entry,) = policy["ingress"]
    assert entry == {"from": [{"podSelector": policy["podSelector"]}]}
    outside = policy["egress"][-1]["to"][0]["ipBlock"]["except"]
    assert "169.254.0.0/16" in outside, "the cloud's metadata service"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_name_what_is_there(overlay):
    folder = FOLDER / "overlays" / overlay
    (found,) = documents((folder / "kustomization.yaml").read_text())
    for path in (*found["resources"], *found["components"]):
        assert (folder / path / "kustomization.yaml").is_file()
    assert {image["newTag"] for image in found["images"]} == {geoseg.__version__}
    assert found["labels"][0]["pairs"]["app.kubernetes.io/version"] == geoseg.__version__
    (base,) = documents((FOLDER / "base" / "kustomization.yaml").read_text())
    for path in (*base["resources"], *base["configMapGenerator"][0]["files"]):
        assert (FOLDER / "base" / path).is_file()


@pytest.mark.skipif(KUSTOMIZE is None, reason="neither kustomize nor kubectl is installed")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_are_rendered(overlay):
    words = ["build"] if Path(KUSTOMIZE).name == "kustomize" else ["kustomize"]
    done = subprocess.run(
        [KUSTOMIZE, *words, str(FOLDER / "overlays" / overlay)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    found = documents(done.stdout)
    assert [error for manifest in found for error in errors(manifest)] == []
    pods = {m["metadata"]["name"]: pod(m) for m in found if pod(m)}
    for template in pods.values():
        assert template["metadata"]["labels"]["app.kubernetes.io/name"] == "geoseg"
        (container,) = template["spec"]["containers"]
        assert re.fullmatch(r"geoseg(-cuda)?:" + re.escape(geoseg.__version__), container["image"])
    said = {name: " ".join(t["spec"]["containers"][0]["args"]) for name, t in pods.items()}
    if overlay.endswith("-tls"):
        assert "tcp://" not in done.stdout
        assert all("/tls/ca.pem" in text for text in said.values())
        assert "--protocol=tls" in said["geoseg-scheduler"]
    else:
        assert "tls" not in " ".join(said.values())
