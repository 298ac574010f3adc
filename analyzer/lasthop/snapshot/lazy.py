"""NetNS, Node, Cluster and Snapshot whose evidence is read when it is first asked for.

They are the dataclasses of facts/ (the same attributes, `isinstance` holds); only the time of parsing differs. Two of
them are equal only if they are the same object: comparing values would parse everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Any, Generic, TypeVar

from lasthop.facts.evidence import Unparsed
from lasthop.facts.snapshot import Capture, Cluster, NetNS, Node, Snapshot

Load = Callable[[str], Any]
"""Field name -> its value; asked once per field."""

K = TypeVar("K")
V = TypeVar("V")


class _Deferred:
    """A field of a dataclass that its owner's `_load` fills on first access."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, owner: Any, kind: type | None = None) -> Any:
        if owner is None:
            return self
        values: dict[str, Any] = owner._values
        if self._name not in values:
            values[self._name] = owner._load(self._name)
        return values[self._name]


def _defer(cls: type, base: type, eager: frozenset[str]) -> None:
    for field in fields(base):
        if field.name not in eager:
            setattr(cls, field.name, _Deferred(field.name))


class _Identity:
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


class LazyNetNS(_Identity, NetNS):
    __slots__ = ("_load", "_values")

    def __init__(self, node: str, name: str = "host", load: Load | None = None, **values: Any) -> None:
        # `values` lets dataclasses.replace() make a copy with some fields changed
        object.__setattr__(self, "node", node)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "_values", values)
        object.__setattr__(self, "_load", load or _missing)


class LazyNode(_Identity, Node):
    __slots__ = ("_load", "_values")

    def __init__(
        self,
        name: str,
        host: NetNS,
        pods: Mapping[str, NetNS] | None = None,
        captures: tuple[Capture, ...] = (),
        load: Load | None = None,
        **values: Any,
    ) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "host", host)
        object.__setattr__(self, "pods", pods or {})
        object.__setattr__(self, "captures", captures)
        object.__setattr__(self, "_values", values)
        object.__setattr__(self, "_load", load or _missing)


class LazyCluster(_Identity, Cluster):
    __slots__ = ("_load", "_values")

    def __init__(self, load: Load | None = None, **values: Any) -> None:
        object.__setattr__(self, "_values", values)
        object.__setattr__(self, "_load", load or _missing)


class _Counted:
    """`unparsed` and `lines` grow as evidence is read: asked anew each time."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, owner: Any, kind: type | None = None) -> Any:
        return self if owner is None else owner._counts(self._name)


class LazySnapshot(_Identity, Snapshot):
    """`unparsed` and `lines` count what was parsed so far; build.read_all() parses the rest.

    `note` adds a line that was found to be not understood after its file was parsed (a rule of a lazy ruleset).
    """

    __slots__ = ("_counts", "note")
    note: Callable[[Unparsed], None]

    def __init__(self, nodes: Mapping[str, Node], cluster: Cluster, counts: Load | None = None, **values: Any) -> None:
        object.__setattr__(self, "nodes", nodes)
        object.__setattr__(self, "cluster", cluster)
        kept = {"unparsed": values.pop("unparsed", ()), "lines": values.pop("lines", 0)}
        for field in fields(Snapshot):
            if field.name not in ("nodes", "cluster", "unparsed", "lines"):
                object.__setattr__(self, field.name, values.get(field.name, ()))
        object.__setattr__(self, "_counts", counts or kept.__getitem__)
        object.__setattr__(self, "note", lambda line: None)


class LazyMapping(Mapping[K, V], Generic[K, V]):
    """A mapping whose keys are known and whose values are made when asked for, once."""

    def __init__(self, keys: tuple[K, ...], make: Callable[[K], V]) -> None:
        self._keys = dict.fromkeys(keys)
        self._make = make
        self._made: dict[K, V] = {}

    def __getitem__(self, key: K) -> V:
        if key not in self._keys:
            raise KeyError(key)
        if key not in self._made:
            self._made[key] = self._make(key)
        return self._made[key]

    def made(self, key: K) -> V | None:
        """The value if it was asked for before."""
        return self._made.get(key)

    def __iter__(self) -> Iterator[K]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def _missing(name: str) -> Any:
    raise AttributeError(name)


_defer(LazyNetNS, NetNS, frozenset({"node", "name"}))
_defer(LazyNode, Node, frozenset({"name", "host", "pods", "captures"}))
_defer(LazyCluster, Cluster, frozenset())
for _name in ("unparsed", "lines"):
    setattr(LazySnapshot, _name, _Counted(_name))
