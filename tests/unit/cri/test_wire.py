"""Our part of the CRI is the published one: same numbers, types, labels; and the stubs are made of it."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
OURS = ROOT / "orchestrator" / "cri" / "runtime.proto"
PUBLISHED = "k8s.io/cri-api@v0.37.2"


def statements(text):
    """{"message X": {field: (type, number)}, "enum X": {name: number}, "service X": {method: (request, reply)}}."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)
    found = {}
    for kind, name, body in re.findall(r"\b(message|enum|service)\s+(\w+)\s*\{((?:[^{}]|\{\s*\})*)\}", text):
        block = found[f"{kind} {name}"] = {}
        if kind == "message":
            for type_, field, number in re.findall(r"([\w ]+|map<[^>]*>)\s+(\w+)\s*=\s*(\d+)[^;]*;", body):
                block[field] = (" ".join(type_.split()), number)
        elif kind == "enum":
            block.update(re.findall(r"(\w+)\s*=\s*(\d+)\s*;", body))
        else:
            for method, request, reply in re.findall(r"rpc\s+(\w+)\s*\(([^)]*)\)\s*returns\s*\(([^)]*)\)", body):
                block[method] = (request.strip(), reply.strip())
    return found


@pytest.fixture(scope="module")
def published():
    go = shutil.which("go")
    if go is None:
        pytest.fail("the go toolchain is missing: sudo apt-get install golang-go")
    done = subprocess.run(
        [go, "mod", "download", "-json", PUBLISHED], capture_output=True, text=True, cwd="/", check=False
    )
    if done.returncode != 0:
        pytest.fail(f"{PUBLISHED} is not to be had: {done.stdout}{done.stderr}")
    folder = Path(json.loads(done.stdout)["Dir"])
    return statements((folder / "pkg/apis/runtime/v1/api.proto").read_text(encoding="utf-8"))


def test_every_field_method_and_value_of_ours_is_the_published_one(published):
    ours = statements(OURS.read_text(encoding="utf-8"))

    assert len(ours) > 20
    for block, content in ours.items():
        assert content == {name: published[block].get(name) for name in content}, block


def test_the_package_is_the_published_one():
    assert "package runtime.v1;" in OURS.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("stub", "pattern", "package"),
    [
        ("runtime_pb2_grpc.py", r"GRPC_GENERATED_VERSION = '([\d.]+)'", "grpcio"),
        ("runtime_pb2.py", r"Protobuf Python Version: ([\d.]+)", "protobuf"),
    ],
)
def test_the_package_demands_a_runtime_that_takes_the_stubs(stub, pattern, package):
    made_by = re.search(pattern, (OURS.parent / stub).read_text(encoding="utf-8")).group(1)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    demanded = next(text for text in project["dependencies"] if text.startswith(package))
    least = re.search(r">=([\d.]+)", demanded).group(1)

    def numbers(version):
        return [*map(int, version.split(".")), 0, 0][:3]

    assert numbers(least) >= numbers(made_by), f"pyproject.toml must demand {package}>={made_by}"
