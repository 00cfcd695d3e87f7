"""`clip_assets.ImageCollection`: turns twelve lines of YAML into assets, checks and sensors."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import dagster as dg
from dagster.components.utils.translation import TranslationFn, TranslationFnResolver
from pydantic import BaseModel, Field, TypeAdapter

from clip_assets.assets.catalog import catalog_asset
from clip_assets.assets.embeddings import embeddings_asset
from clip_assets.assets.live import live_key, live_spec
from clip_assets.assets.release import release_asset
from clip_assets.assets.report import report_asset
from clip_assets.assets.search_index import search_index_asset
from clip_assets.automation.conditions import automation_sensor
from clip_assets.automation.jobs import jobs_of
from clip_assets.automation.orphans import orphans_sensor
from clip_assets.automation.pruning import prune_schedule
from clip_assets.automation.schedules import reconcile_schedule
from clip_assets.automation.sensors import missing_shards_sensor, new_images_sensor
from clip_assets.automation.sweeping import sweep_schedule
from clip_assets.automation.verification import verify_schedule
from clip_assets.checks.catalog import catalog_checks
from clip_assets.checks.embeddings import embeddings_checks
from clip_assets.checks.release import release_checks
from clip_assets.checks.report import report_checks
from clip_assets.checks.search_index import search_index_checks
from clip_assets.checks.whole import whole_check
from clip_assets.collection import YAML_NAMES, Collection
from clip_assets.column import Column
from clip_assets.component.git import web_address
from clip_assets.component.scaffold import ImageCollectionScaffolder
from clip_assets.component.schema import Schema, pointed
from clip_assets.compute.skypilot.config import SkyPilotConfig
from clip_assets.errors import SettingsError
from clip_assets.model import ModelSpec
from clip_assets.resources import resources_of
from clip_assets.source import SourceConfig
from clip_assets.source.config import CaptionsConfig, TableConfig


def _filled_in(context: dg.ResolutionContext, text: str) -> Any:
    """The text with its {{ templates }} filled in, as Dagster does for unrenamed fields."""
    return context.resolve_value(text)


def _resolved(kind: Any, name: str | None = None) -> dg.Resolver:
    """Fill the {{ templates }} within a block, which Dagster does not do for plain models."""

    adapter = TypeAdapter(kind)

    def resolve(context: dg.ResolutionContext, block: Any) -> Any:
        if block is None:
            return None
        written = adapter.dump_python(block, by_alias=True)
        return adapter.validate_python(context.resolve_value(written))

    return dg.Resolver(resolve, model_field_type=kind, model_field_name=name)


@dg.scaffold_with(ImageCollectionScaffolder)
class ImageCollection(dg.Component, dg.Resolvable, Collection):
    """Make a collection of images searchable with one CLIP model.

    To add a second model to a collection, write a second file without `source:`. Both models share
    the catalog, and both indexes exist side by side; you choose which one to release.

    Secrets come from the environment: `"{{ env.NAME }}"` is the variable NAME, in any text, also
    below `source:` and `model:`. `"{{ project_root }}"` is the project's folder.
    """

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        return dg.ComponentTypeSpec(
            description="A folder, bucket or dataset of images, searchable with one CLIP model.",
            tags=["images", "embeddings", "pgvector"],
        )

    name: Annotated[
        str,
        dg.Resolver(_filled_in, model_field_name=YAML_NAMES["name"]),
        Field(description="name of the collection, and of its SQL schema"),
    ]
    spec: Annotated[
        ModelSpec,
        _resolved(ModelSpec, YAML_NAMES["spec"]),
        Field(description="the CLIP model and its weights"),
    ]
    source: Annotated[SourceConfig | None, _resolved(SourceConfig)] = Field(
        None, description="where the images are; only in one file of the collection"
    )
    columns: Annotated[dict[str, Column], _resolved(dict[str, Column])] = Field(
        {}, description="values of each image to filter by: each column has a type and an origin"
    )
    captions: Annotated[CaptionsConfig | None, _resolved(CaptionsConfig)] = Field(
        None, description="a table with the images' captions, or a field of their metadata"
    )
    metadata: Annotated[TableConfig | None, _resolved(TableConfig)] = Field(
        None,
        description="the table for metadata.FIELD, if it is not metadata.csv or the like",
    )
    sky: SkyPilotConfig | None = Field(
        None, description="how to run the embedding jobs on SkyPilot"
    )

    translation: Annotated[
        TranslationFn[dg.AssetSpec] | None,
        TranslationFnResolver[dg.AssetSpec](template_vars_for_translation_fn=lambda _: {}),
        Field(
            description="attributes of every asset, such as tags, owners, group_name or metadata; "
            '`"{{ spec }}"` in a template is the asset before translation'
        ),
    ] = None

    @classmethod
    @cache
    def model(cls) -> type[BaseModel]:
        """The YAML's attributes, with a schema whose errors name the invalid field."""
        derived = super().model()
        # Dagster drops the description of every field that has a default.
        descriptions = {
            YAML_NAMES.get(name, name): field.description or ""
            for name, field in cls.model_fields.items()
        }

        declared = Collection.model_json_schema()["properties"]
        limits = {YAML_NAMES.get(name, name): schema for name, schema in declared.items()}

        class Attributes(derived):  # type: ignore[misc, valid-type]
            @classmethod
            def model_json_schema(cls, *arguments: Any, **options: Any) -> Schema:
                return pointed(
                    super().model_json_schema(*arguments, **options), limits, descriptions
                )

        return Attributes

    @classmethod
    def get_code_references_for_yaml(
        cls, yaml_path: Path, source_position: Any, context: dg.ComponentLoadContext
    ) -> Sequence[dg.UrlCodeReference | dg.LocalFileCodeReference]:
        """Links to the asset's YAML: in the project's git repository online, or else this file."""
        address = web_address(yaml_path, source_position.start.line)
        if address:
            return [dg.UrlCodeReference(url=address, label=yaml_path.name)]
        return super().get_code_references_for_yaml(yaml_path, source_position, context)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        jobs = jobs_of(self)
        assets: list[dg.AssetsDefinition | dg.AssetSpec] = [
            embeddings_asset(self),
            search_index_asset(self),
            release_asset(self),
            report_asset(self),
        ]
        checks = [
            *embeddings_checks(self),
            *report_checks(self),
            *search_index_checks(self),
            *release_checks(self),
        ]
        has_source = self.source is not None
        schedules = [reconcile_schedule(self, jobs.embed)]
        sensors = [
            missing_shards_sensor(self, jobs.embed),
            automation_sensor(self, with_catalog=has_source),
        ]
        if jobs.listing:
            assets.insert(0, catalog_asset(self))
            assets.append(live_spec(self, {one.release_key for one in _all_models(context, self)}))
            checks.extend(
                catalog_checks(self, lambda: {one.spec.slug for one in _all_models(context, self)})
            )
            sensors.insert(0, new_images_sensor(self, jobs.listing))
            checks.append(whole := whole_check(self))
            schedules += [
                sweep_schedule(self),
                prune_schedule(self),
                verify_schedule(self, whole.check_key),
            ]
        if self.sky is not None:
            sensors.append(orphans_sensor(self, self.sky))
        return dg.Definitions(
            assets=dg.map_asset_specs(self._spec, assets),
            asset_checks=checks,
            sensors=sensors,
            schedules=schedules,
            jobs=jobs.all,
            resources=self.get_resources(context),
        )

    def get_resources(self, context: dg.ComponentLoadContext) -> Mapping[str, object]:
        """The resources of all collections of the project; override it to run local jobs elsewhere.

        Every collection of a project must return the same objects.
        """
        return resources_of(context.project_root)

    def get_asset_spec(self, spec: dg.AssetSpec) -> dg.AssetSpec:
        """The asset's spec for Dagster: `spec` with the collection's defaults and `translation:`.

        To change more, override this and call `super().get_asset_spec(spec)`. An asset that sets a
        code version keeps it.
        """
        plain = spec.merge_attributes(
            tags=self._tags_of(spec), owners=[self.owner] if self.owner else []
        ).replace_attributes(group_name=self.name)
        if spec.key != live_key(self.name):  # no run materializes it, so it cannot be overdue
            plain = plain.replace_attributes(
                code_version=spec.code_version or "1", freshness_policy=self.freshness_policy
            )
        return self.translation(plain, plain) if self.translation else plain

    def _spec(self, spec: dg.AssetSpec) -> dg.AssetSpec:
        translated = self.get_asset_spec(spec)
        kept = (spec.key, spec.partitions_def)
        if (translated.key, translated.partitions_def) != kept:
            raise SettingsError(
                f"{spec.key.to_user_string()}: `translation` and `get_asset_spec` must not change "
                "its key or its partitions, because checks and sensors use them."
            )
        return translated

    def _tags_of(self, asset: dg.AssetSpec) -> dict[str, str]:
        """The catalog and `live` belong to all models."""
        shared = asset.key in (self.catalog_key, live_key(self.name))
        return self.shared_tags if shared else self.tags


def _all_models(context: dg.ComponentLoadContext, collection: Collection) -> list[Collection]:
    """The collection once for each file that defines it; each has its own model."""
    if context.defs_module_path == context.project_root:
        return [collection]  # loaded alone, as in a test: there are no other files
    found = context.component_tree.get_all_components(ImageCollection)
    return [collection, *(one for one in found if one.name == collection.name)]
