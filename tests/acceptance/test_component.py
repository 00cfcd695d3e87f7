"""A collection's YAML: `dg` names what is wrong, and says nothing about what is right."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster_dg_core.utils.check_utils import augment_error_path
from jsonschema import Draft202012Validator

from clip_assets.component.image_collection import ImageCollection
from tests.acceptance.dagster_project import PROJECT, environment, write_project
from tests.conftest import TINY
from tests.wheel import CHECKOUT

GOOD: dict[str, Any] = {
    "collection": "photos",
    "source": {"type": "folder", "uri": "/nowhere"},
    "model": {"name": TINY, "untrained_seed": 0},
}
LOAD_STRICTLY = """
import warnings

from dagster_shared.utils import warnings as of_dagster

warnings.filterwarnings("error", category=DeprecationWarning, module="clip_assets")
warnings.filterwarnings("error", category=of_dagster.SupersessionWarning)
warnings.filterwarnings("error", category=of_dagster.BetaWarning)
warnings.filterwarnings("error", category=of_dagster.PreviewWarning)

from clip_assets.definitions import defs

assert defs().assets
"""


Dg = Callable[..., tuple[int, str]]
"""Runs `dg` with arguments, `env` and `cwd`; returns its status and what it printed."""


@pytest.fixture(scope="module")
def dg(forked: Callable[..., tuple[int, str]]) -> Dg:
    return partial(forked, "dagster_dg_cli.cli")


@pytest.fixture
def dg_check(dg: Dg, tmp_path: Path) -> Dg:
    """Runs `dg check WHAT` in a project with these collections."""

    def check(what: str, *collections: dict[str, Any]) -> tuple[int, str]:
        project = write_project(tmp_path / "project", *collections)
        return dg("check", what, cwd=project, env=environment(tmp_path / "home", "unused"))

    return check


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({"shard_sise": 2}, "attributes.shard_sise Additional"),
        (
            {"model": {"name": TINY, "untraned_seed": 0}},
            "attributes.model.untraned_seed Additional",
        ),
        ({"model": {"name": TINY, "untrained_seed": "x"}}, "attributes.model.untrained_seed 'x'"),
        ({"model": {"pretrained": "x"}}, "attributes.model 'name' is a required property"),
        ({"source": {"type": "folder", "url": "x"}}, "attributes.source.url Additional"),
        ({"source": {"type": "foldr", "uri": "x"}}, "attributes.source.type 'foldr' is not one of"),
        ({"vector_type": "float32"}, "attributes.vector_type 'float32' is not one of ['halfvec'"),
        ({"shard_size": -5}, "attributes.shard_size -5 is less than the minimum of 1"),
        ({"max_reject_share": 2}, "attributes.max_reject_share 2 is greater than the maximum of 1"),
        ({"reconcile_cron": "every day"}, "attributes.reconcile_cron 'every day' does not match"),
        ({"reconcile_cron": "99 3 * * *"}, "attributes.reconcile_cron '99 3 * * *' does not match"),
        ({"owner": "nobody"}, "attributes.owner 'nobody' does not match"),
        ({"collection": "My-Photos"}, "attributes.collection 'My-Photos' does not match"),
        ({"collection": "pg_photos"}, "attributes.collection 'pg_photos' does not match"),
        ({"vector_type": 4}, "attributes.vector_type 4 is not one of ['halfvec'"),
    ],
)
def test_wrong_field_is_named(attributes: dict[str, Any], named: str) -> None:
    """The schema that `dg check yaml` goes by says which field is wrong, at any depth."""
    assert named in _faults({**GOOD, **attributes})


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"source": {"type": "huggingface", "dataset": "{{ env.DATASET }}", "split": "test"}},
        {"source": {"type": "webdataset", "uri": "s3://{{ env.BUCKET }}/tars"}},
        {"model": "{{ the_model }}", "shard_size": "{{ env.SHARD_SIZE }}"},
        {"vector_type": "vector"},
        {"reconcile_cron": "*/15 8-18 1,15 JAN-MAR mon-FRI"},
        {"reconcile_cron": "{{ env.CRON }}", "owner": "{{ env.OWNER }}"},
        {"owner": "team:image search"},
        {"owner": "ada@example.org", "max_reject_share": 0},
        {"vector_type": "{{ env.VECTOR_TYPE }}"},
    ],
)
def test_right_fields_and_templates_pass(attributes: dict[str, Any]) -> None:
    """What may be written is accepted, templates in place of a value or of a whole block too."""
    assert _faults({**GOOD, **attributes}) == ""


def _faults(attributes: dict[str, Any]) -> str:
    """What `dg check yaml` would say after the file and the line."""
    schema = ImageCollection.get_model_cls().model_json_schema()
    return "\n".join(
        f"{'.'.join(['attributes', *map(str, augment_error_path(fault))])} {fault.message}"
        for fault in Draft202012Validator(schema).iter_errors(attributes)
    )


def test_dg_check_yaml_shows_the_line(dg_check: Dg) -> None:
    """`dg check yaml` fails with the file and the line of a misspelt field in a nested block."""
    status, text = dg_check("yaml", {**GOOD, "model": {"name": TINY, "untraned_seed": 0}})
    assert status == 1
    assert re.search(
        r"of_photos/defs.yaml:9 - clip_assets.ImageCollection attributes.model.untraned_seed ", text
    ), text


def test_secret_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`{{ env.NAME }}` is filled in below `source:` and `model:` when the definitions load."""
    monkeypatch.setenv("BUCKET", "of-mine")
    monkeypatch.setenv("WEIGHTS_SHA256", "abc")
    loaded = ImageCollection.resolve_from_yaml(
        """
        collection: photos
        source:
          type: folder
          uri: "s3://{{ env.BUCKET }}/photos"
        model:
          name: ViT-B-32
          pretrained: laion2b_s34b_b79k
          sha256: "{{ env.WEIGHTS_SHA256 }}"
        """
    )
    assert loaded.require_source().uri == "s3://of-mine/photos"
    assert loaded.spec.sha256 == "abc"


def test_dg_scaffolds_a_collection_that_loads(dg: Dg, tmp_path: Path) -> None:
    """`dg scaffold defs clip_assets.ImageCollection photos` writes YAML that checks clean."""
    project = write_project(tmp_path / "project")
    env = environment(tmp_path / "home", "unused")
    scaffold = ["scaffold", "defs", "clip_assets.ImageCollection", "photos"]
    options = ["--uri", "s3://bucket/photos", "--kind", "webdataset"]
    for command in ([*scaffold, *options], ["check", "defs"]):
        status, said = dg(*command, env=env, cwd=project)
        assert status == 0, said
    written = yaml.safe_load((project / "pictures/defs/photos/defs.yaml").read_text())
    assert written == {
        "type": "clip_assets.ImageCollection",
        "attributes": {
            "collection": "photos",
            "source": {"type": "webdataset", "uri": "s3://bucket/photos"},
            "model": {"name": "ViT-B-32", "pretrained": "laion2b_s34b_b79k"},
        },
    }


def test_dg_help_names_the_options_of_a_new_collection(dg: Dg) -> None:
    """`dg scaffold defs clip_assets.ImageCollection --help` lists the scaffolder's options."""
    status, said = dg(
        "scaffold", "defs", "clip_assets.ImageCollection", "--help", env=os.environ, cwd=PROJECT
    )
    assert status == 0, said
    options = re.findall(r"--[a-z]+", said)
    assert {"--uri", "--kind", "--model", "--pretrained", "--owner"} <= set(options)


def test_component_documents_itself() -> None:
    """What `dg list components` and the UI's docs show: a summary, and every field."""
    assert ImageCollection.get_spec().description
    fields = ImageCollection.get_model_cls().model_json_schema()["properties"]
    assert [name for name, field in fields.items() if not field.get("description")] == []


def test_collection_that_cannot_be_a_schema_is_refused(dg_check: Dg) -> None:
    """A collection's name that Postgres could not take as a schema is refused at its line."""
    status, text = dg_check("defs", {**GOOD, "collection": "My-Photos"})
    assert status == 1
    assert re.search(r"defs.yaml:3 - .*'My-Photos' does not match .*\[a-z\]\[a-z0-9_\]", text)


def test_definitions_load_without_a_warning() -> None:
    """Nothing deprecated, superseded, beta or preview is used where the demo's definitions load."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD_STRICTLY],
        cwd=CHECKOUT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
