"""Records of a scenario, and fields that hold one of several kinds of record."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

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

from fl.record import Record as Choice
from netsim.core.quantities import did_you_mean, is_yaml
from netsim.errors import InputError
from netsim.scenario.by_name import unknown_argument
from netsim.scenario.installed import installed
from netsim.scenario.permission import WORKING_TREE, UserCode, import_record
from netsim.scenario.plug_ins import Answers, disown, guard
from netsim.scenario.traits import Questions, Traits, faults

Model = TypeVar("Model", bound=BaseModel)
UNIT_SUFFIXES = tuple(
    sorted(
        [
            *("_ns", "_s", "_bits", "_bytes", "_bps", "_hz", "_m", "_m_s", "_w", "_j"),
            *("_db", "_dbm", "_dbm_hz", "_dbi", "_flop", "_flop_per_s", "_bit_s_hz"),
            "_bytes_per_s",
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


class Record(Choice):
    """A frozen, strict part of a scenario; its YAML keys carry no unit suffix."""

    model_config = ConfigDict(
        alias_generator=strip_unit,
        validate_by_alias=True,
        validate_by_name=True,
        serialize_by_alias=True,
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


class NotLoaded(AttributeError):
    """The answer is in a user's class, ``kind``, which was not loaded."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"{kind} is a user's class, and is not loaded")
        self.kind = kind


class Opaque(BaseModel):
    """A choice whose class was not loaded: its kind, and its settings as written."""

    model_config = ConfigDict(frozen=True)

    kind: str
    settings: Mapping[str, Any]

    @property
    def traits(self) -> Traits:
        """Return no traits: they are not known."""
        return {}

    if not TYPE_CHECKING:  # or everything would seem to be there

        def __getattr__(self, name: str) -> object:
            if name.startswith("_"):
                return super().__getattr__(name)
            raise NotLoaded(self.kind)


def is_loaded(choice: object) -> bool:
    """Return whether a choice is a record of its class, not only of its settings."""
    return not isinstance(choice, Opaque)


@dataclass(frozen=True, eq=False)
class OneOf:
    """A field that holds one of several kinds: ``Annotated[Rule, OneOf(RULES)]``.

    YAML names it by ``kind: name``, by the bare name, or by ``kind: module:Class``.
    The context's ``code`` is the permission to import the latter; where it is None, the
    class is not loaded and the choice is ``Opaque``.
    """

    choices: Mapping[str, type[BaseModel]]
    questions: Questions = ()  # which each choice answers by its traits
    answers: Answers = field(default_factory=dict)  # what a user's methods must return
    seam: str = ""  # under which an installed plug-in is known
    shipped: frozenset[str] = frozenset()  # members that only shipped classes have

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
        own = [{"enum": list(self.choices)}, user, mapping]
        if known := list(installed(self.seam)):
            open_ = {"properties": {"kind": {"enum": known}}, "required": ["kind"]}
            own += [{"enum": known}, {"type": "object", **open_}]
        return {"anyOf": [*members, *own]}

    def _read(
        self, value: object, _: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> BaseModel:
        if isinstance(value, BaseModel):
            return value
        kind, loc = self._kind(value)
        if kind not in self.choices and ":" not in kind:
            kind = self._installed(kind, loc)
        fields = dict(value) if isinstance(value, Mapping) else {"kind": kind}
        if kind in self.choices:
            model = self.choices[kind]
        else:
            del fields["kind"]
            if ":" in kind and _code(info.context) is None:
                return Opaque(kind=kind, settings=fields)
            model = self._user_class(kind, loc, info.context)
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
        """Return the public names that every choice must have."""
        public = [
            {name for name in dir(cls) if not name.startswith("_")}
            for cls in self.choices.values()
        ]
        return set.intersection(*public) - set(dir(Record)) - self.shipped

    def _names(self) -> str:
        known = [*self.choices, *installed(self.seam)]
        return ", ".join(known) + " or package.module:Class"

    def _installed(self, kind: str, loc: tuple[str, ...]) -> str:
        """Return ``module:Class`` of an installed plug-in; refuse an unknown name."""
        try:
            known = installed(self.seam)
        except InputError as error:
            raise refusal(str(error), kind, loc, bare=True) from error
        if kind in known:
            return known[kind]
        hint = did_you_mean(kind, [*self.choices, *known])
        text = f"unknown kind {kind!r}{hint} (kinds: {self._names()})"
        raise refusal(text, kind, loc, bare=True)

    def _user_class(
        self, kind: str, loc: tuple[str, ...], context: object
    ) -> type[BaseModel]:
        folder = context.get("folder") if isinstance(context, Mapping) else None
        try:
            code = _code(context) or WORKING_TREE
            found = import_record(kind, folder, code)
        except ImportError as error:
            raise refusal(str(error), kind, loc, bare=True) from error
        for fault in self.lacks(found):
            raise refusal(f"{kind!r} {fault}", kind, loc, bare=True)
        disown(found, self.answers)
        guard(found, self.answers)
        return found

    def lacks(self, cls: type[BaseModel]) -> Iterator[str]:
        """Yield what a user's class must have before it can be a choice here."""
        missing = sorted(self._members() - set(dir(cls)) - set(cls.model_fields))
        if missing:
            text = f"lacks {', '.join(missing)}, which every choice here has"
            if "traits" in missing:
                asked = "; ".join(" or ".join(one) for one in self.questions)
                text += f" (`traits` declares what the class does: {asked})"
            yield text
        for name, answer in self.answers.items():
            fault = answer.names and unknown_argument(cls, name, answer.names)
            if fault:
                yield fault
        kind = _own_kind(cls)
        named = f'give it its own, such as `kind: ClassVar[str] = "{_dashed(cls)}"`'
        if kind is None:
            yield f"lacks `kind`: {named}"
        elif kind in self.choices:
            yield f"has `kind` {kind!r}, which is a shipped class's: {named}"

    def _write(self, value: BaseModel, info: SerializationInfo) -> dict[str, Any]:
        if isinstance(value, Opaque):
            return {"kind": value.kind, **value.settings}
        dumped = value.model_dump(mode=info.mode, by_alias=info.by_alias)
        return {**({"kind": None} | dumped), "kind": self.kind_of(type(value))}

    def kind_of(self, cls: type[BaseModel]) -> str:
        """Return the ``kind`` that selects ``cls`` in YAML."""
        for name, choice in self.choices.items():
            if choice is cls:
                return name
        return f"{cls.__module__}:{cls.__qualname__}"


def _own_kind(cls: type[BaseModel]) -> object:
    """Return the `kind` of a class, None if it has none."""
    if "kind" in cls.model_fields:
        return cls.model_fields["kind"].default
    return next((vars(one)["kind"] for one in cls.__mro__ if "kind" in vars(one)), None)


def _dashed(cls: type) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower()


def _code(context: object) -> UserCode | None:
    """Return the permission to import a user's classes; without any word of it, those
    of the working tree."""
    if not isinstance(context, Mapping):
        return WORKING_TREE
    found = context.get("code", WORKING_TREE)
    assert found is None or isinstance(found, UserCode)
    return found


def refusal(
    text: str, value: object, loc: tuple[str | int, ...] = (), *, bare: bool = False
) -> ValidationError:
    """Return a validation error at ``loc`` within the value; ``bare`` omits the value
    from the message."""
    kind = "stated" if bare else "refused"
    error = PydanticCustomError(kind, "{text}", {"text": text})
    line = InitErrorDetails(type=error, loc=loc, input=value)
    return ValidationError.from_exception_data("OneOf", [line])
