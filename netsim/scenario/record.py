"""Records of a scenario, and fields that hold one of several kinds of record."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SerializationInfo,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import (
    CoreSchema,
    InitErrorDetails,
    PydanticCustomError,
    core_schema,
)

from netsim.core.quantities import closest, is_yaml
from netsim.scenario.plug_ins import Answers, guard
from netsim.scenario.traits import Questions, Traits, faults

Model = TypeVar("Model", bound=BaseModel)
UNIT_SUFFIXES = tuple(
    sorted(
        [
            *("_ns", "_s", "_bits", "_bytes", "_bps", "_hz", "_m", "_m_s", "_w", "_j"),
            *("_db", "_dbm", "_dbm_hz", "_dbi", "_flop", "_flop_per_s", "_bit_s_hz"),
        ],
        key=lambda suffix: (-len(suffix), suffix),
    )
)
_USER_CLASS = r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$"


def strip_unit(name: str) -> str:
    """Return the YAML key of an attribute: ``band_hz`` is written ``band``."""
    for suffix in UNIT_SUFFIXES:
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return name


class Record(BaseModel):
    """A frozen, strict part of a scenario; its YAML keys carry no unit suffix."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        alias_generator=strip_unit,
        validate_by_alias=True,
        validate_by_name=True,
        serialize_by_alias=True,
        defer_build=True,  # a run uses few of the kinds
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: object) -> None:
        fields = cls.model_fields.items()
        names = [field.alias or strip_unit(name) for name, field in fields]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise TypeError(f"{cls.__name__}: two fields share the YAML key {twice}")

    @model_validator(mode="before")
    @classmethod
    def _note_model(cls, value: object, info: ValidationInfo) -> object:
        note_model(info.context, value, cls)
        return value


def yaml_keys(model: type[BaseModel]) -> list[str]:
    """Return the YAML keys of ``model``, in order."""
    return [field.alias or name for name, field in model.model_fields.items()]


def note_model(context: object, value: object, model: type[BaseModel]) -> None:
    """Record which model read a mapping, so that an error can list its keys."""
    if isinstance(context, dict) and isinstance(value, dict):
        context.setdefault("models", {})[id(value)] = model


def read_model(model: type[Model], value: object, context: object) -> Model:
    """Return ``value`` as a ``model``; YAML keys have no unit suffix."""
    assert context is None or isinstance(context, dict)
    if is_yaml(context):
        return model.model_validate(
            value, context=context, by_alias=True, by_name=False
        )
    return model.model_validate(value, context=context)


@dataclass(frozen=True, eq=False)
class OneOf:
    """A field that holds one of several kinds: ``Annotated[Rule, OneOf(RULES)]``.

    YAML names it by ``kind: name``, by the bare name, or by ``kind: module:Class``.
    """

    choices: Mapping[str, type[BaseModel]]
    questions: Questions = ()  # which each choice answers by its traits
    answers: Answers = field(default_factory=dict)  # what a user's methods must return

    def __post_init__(self) -> None:
        for name, cls in self.choices.items():
            kind = cls.model_fields.get("kind")
            assert kind is not None, f"{cls.__name__} has no field 'kind'"
            assert kind.default == name, f"{cls.__name__}.kind must be {name!r}"

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        members = [handler.generate_schema(cls) for cls in self.choices.values()]
        return core_schema.with_info_wrap_validator_function(
            self._read,
            core_schema.union_schema([*members]),
            serialization=core_schema.plain_serializer_function_ser_schema(
                self._write, info_arg=True
            ),
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        shown = handler(schema)
        user = {"type": "string", "pattern": _USER_CLASS}
        mapping = {"type": "object", "properties": {"kind": user}, "required": ["kind"]}
        members = [{**m, "required": ["kind"]} for m in shown.get("anyOf", [shown])]
        return {"anyOf": [*members, {"enum": list(self.choices)}, user, mapping]}

    def _read(
        self, value: object, _: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> BaseModel:
        if isinstance(value, BaseModel):
            return value
        kind, loc = self._kind(value)
        fields = dict(value) if isinstance(value, Mapping) else {"kind": kind}
        if kind in self.choices:
            model = self.choices[kind]
        else:
            model = self._user_class(kind, loc, info.context)
            del fields["kind"]
        try:
            found = read_model(model, fields, info.context)
        finally:
            note_model(info.context, value, model)
        if kind not in self.choices and self.questions:
            traits: Traits = found.traits  # type: ignore[attr-defined]
            for fault in faults(traits, self.questions):
                raise refusal(f"{kind!r} {fault}", kind, loc, bare=True)
        return found

    def _kind(self, value: object) -> tuple[str, tuple[str, ...]]:
        """Return the kind that ``value`` names, and its path within ``value``."""
        if isinstance(value, str):
            return value, ()
        if not isinstance(value, Mapping):
            raise refusal(f"must be a kind ({self._names()})", value)
        if "kind" not in value:
            raise refusal(f"missing key 'kind' ({self._names()})", value, bare=True)
        if not isinstance(value["kind"], str):
            raise refusal(f"must be one of {self._names()}", value["kind"], ("kind",))
        return value["kind"], ("kind",)

    def _members(self) -> set[str]:
        """Return the public names that all choices share and ``Record`` lacks."""
        public = [
            {name for name in dir(cls) if not name.startswith("_")}
            for cls in self.choices.values()
        ]
        return set.intersection(*public) - set(dir(Record))

    def _names(self) -> str:
        return ", ".join(self.choices) + " or package.module:Class"

    def _user_class(
        self, kind: str, loc: tuple[str, ...], context: object
    ) -> type[BaseModel]:
        if ":" not in kind:
            near = closest(kind, self.choices)
            hint = f", did you mean {near!r}?" if near else ""
            text = f"unknown kind {kind!r}{hint} (kinds: {self._names()})"
            raise refusal(text, kind, loc, bare=True)
        folder = context.get("folder") if isinstance(context, Mapping) else None
        try:
            found = import_record(kind, folder)
        except ImportError as error:
            raise refusal(str(error), kind, loc, bare=True) from error
        missing = sorted(self._members() - set(dir(found)) - set(found.model_fields))
        if missing:
            text = f"{kind!r} lacks {', '.join(missing)}, which every choice here has"
            if "traits" in missing:
                asked = "; ".join(" or ".join(one) for one in self.questions)
                text += f" (`traits` declares what the class does: {asked})"
            raise refusal(text, kind, loc, bare=True)
        guard(found, self.answers)
        return found

    def _write(self, value: BaseModel, info: SerializationInfo) -> dict[str, Any]:
        dumped = value.model_dump(mode=info.mode, by_alias=info.by_alias)
        return {**({"kind": None} | dumped), "kind": self.kind_of(type(value))}

    def kind_of(self, cls: type[BaseModel]) -> str:
        """Return the ``kind`` that selects ``cls`` in YAML."""
        for name, choice in self.choices.items():
            if choice is cls:
                return name
        return f"{cls.__module__}:{cls.__qualname__}"


def refusal(
    text: str, value: object, loc: tuple[str | int, ...] = (), *, bare: bool = False
) -> ValidationError:
    """Return a validation error at ``loc`` within the value; ``bare`` omits the value
    from the message."""
    kind = "stated" if bare else "refused"
    error = PydanticCustomError(kind, "{text}", {"text": text})
    line = InitErrorDetails(type=error, loc=loc, input=value)
    return ValidationError.from_exception_data("OneOf", [line])


def import_record(kind: str, folder: Path | None) -> type[BaseModel]:
    """Import a user's class; modules in the folder of the scenario are found too."""
    module_name, _, class_name = kind.partition(":")
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise ImportError(f"{kind!r} is not of the form package.module:Class")
    try:
        with _importable(folder):
            found: object = importlib.import_module(module_name)
    except Exception as error:  # a user's module may fail in any way
        raise ImportError(f"cannot import {module_name!r}: {error!r}") from error
    names = vars(found)
    for part in class_name.split("."):
        found = getattr(found, part, None)
    if found is None:
        near = closest(class_name, names)
        hint = f"; did you mean {near!r}?" if near else ""
        raise ImportError(f"module {module_name!r} has no class {class_name!r}{hint}")
    if not (isinstance(found, type) and issubclass(found, BaseModel)):
        raise ImportError(f"{kind!r} is not a subclass of netsim.scenario.Record")
    return found


@contextmanager
def _importable(folder: Path | None) -> Iterator[None]:
    """Append the scenario's folder and the current one to the import path."""
    extra = [str(path.resolve()) for path in (folder, Path()) if path is not None]
    sys.path.extend(extra)
    try:
        yield
    finally:
        for path in extra:
            sys.path.reverse()
            sys.path.remove(path)
            sys.path.reverse()
