"""XML as records of text: the elements that a source's `xml` names, and what stands at its paths.

A document is read from its first byte to its last, and only what a path can still lead to is kept: the record that is open, what its paths
see above it, and the texts of the lookups, for which the document is read once more before. So memory follows the largest record, never
the document. Document types, and with them entities, are refused. A record's number is the line at which its element begins.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice, product
from math import prod
from typing import Final
from xml.etree.ElementTree import ParseError

import pyarrow as pa

from nocturne.bronze.reading import SEND_AGAIN, Batch, Records, stored
from nocturne.elements import ANY, Elements, Path, Step, path_of
from nocturne.manifests import Delivered

_ROWS_AT_ONCE: Final = 8_192
_CHUNK: Final = 1 << 16
_MAX_HELD: Final = 64 << 20
_MAX_DEPTH: Final = 200
_MAX_ROWS: Final = 1_000_000
_MAX_PLACES: Final = 10_000
_COST: Final = 64  # of an element without text, about

Row = tuple[int, tuple[str | None, ...]]
Known = Mapping[str, Mapping[str, Sequence[str | None]]]


@dataclass(frozen=True)
class Columns:
    """The columns that a source's paths make; they stand in no file."""

    columns: tuple[str, ...]


def declared_columns(batch: Batch, _file: Delivered) -> Columns:
    """The columns of every XML document of a source."""
    return Columns(tuple(_declared(batch).paths))


def markup_records(batch: Batch, file: Delivered, _block: int) -> Iterator[Records]:
    """(line, None, None, values by column) of the records of a document, in blocks.

    Raises DeliveryError, which names the line, for what is no XML, has another root, a document type, or holds too much at once.
    """
    declared = _declared(batch)
    known = _looked_up(batch, file, declared) if declared.lookups else {}
    columns = tuple(declared.paths)
    ways = [[path_of(text) for text in texts] for texts in declared.paths.values()]
    many = [column in declared.each for column in columns]

    def rows_of(element: _Element) -> Iterator[Row]:
        found = [_texts(element, paths, known) for paths in ways]
        values = [list(dict.fromkeys(texts)) or [None] if each else [_first(texts)] for texts, each in zip(found, many, strict=True)]
        if prod(map(len, values)) > _MAX_ROWS:
            raise _TooMuchError(f"has one record of more than {_MAX_ROWS} rows", element.line)
        return ((element.line, row) for row in product(*values))

    seen = _seen(declared.records, [path for paths in ways for path in paths])
    rows = _parsed(batch, file, declared, dict.fromkeys(declared.records, rows_of), seen)
    if declared.spans is not None:
        rows = _joined(batch, file, rows, (columns.index(declared.spans[0]), columns.index(declared.spans[1])))
    while some := list(islice(rows, _ROWS_AT_ONCE)):
        nothing = pa.nulls(len(some), pa.string())
        texts = {column: pa.array([row[at] for _, row in some], pa.string()) for at, column in enumerate(columns)}
        yield pa.array([line for line, _ in some], pa.int64()), nothing, nothing, texts


def _declared(batch: Batch) -> Elements:
    declared = batch.source.xml
    if declared is None:
        raise AssertionError("a source of format xml says which elements are rows")
    return declared


# elements ------------------------------------------------------------------------------------------------------------------------
@dataclass(slots=True)
class _Element:
    """An element that a path may still lead to; `weight`: about the memory that it and all in it hold."""

    name: str
    attributes: Mapping[str, str]
    line: int
    parent: _Element | None
    parts: list[str] = field(default_factory=list)
    children: list[_Element] = field(default_factory=list)
    weight: int = 0
    is_kept: bool = False

    @property
    def text(self) -> str | None:
        return "".join(self.parts).strip() or None


def _texts(element: _Element, paths: Sequence[Path], known: Known) -> list[str | None]:
    """What the first path that leads to a text leads to; a text that a lookup does not know is None."""
    dangling: list[str | None] = []
    for path in paths:
        found = list(_at(element, path))
        for lookup in path.through:
            found = [value for text in found for value in (known[lookup].get(text, (None,)) if text is not None else (None,))]
        if any(text is not None for text in found):
            return found
        dangling = dangling or found
    return dangling


def _first(texts: Sequence[str | None]) -> str | None:
    return next((text for text in texts if text is not None), None)


def _at(element: _Element, path: Path) -> Iterator[str | None]:
    start: _Element | None = element
    for _ in range(path.ups):
        start = start.parent if start else None
    places = [start] if start else []
    for step in path.steps:
        places = [child for place in places for child in _below(place, step)]
    for place in places:
        text = place.attributes.get(path.attribute) if path.attribute else place.text
        if text:
            yield text


def _below(element: _Element, step: Step) -> Iterator[_Element]:
    waiting = element.children[::-1]
    while waiting:
        child = waiting.pop()
        if step.name in (ANY, child.name) and (step.asked is None or _answers(child, step)):
            yield child
        if step.is_deep:
            waiting.extend(child.children[::-1])


def _answers(element: _Element, step: Step) -> bool:
    asked = step.asked or ""
    if asked.startswith("@"):
        return element.attributes.get(asked[1:]) == step.value
    return any(child.name == asked and child.text == step.value for child in element.children)


_Taker = Callable[[_Element], Iterator[Row]]


# spans ---------------------------------------------------------------------------------------------------------------------------
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def _joined(batch: Batch, file: Delivered, rows: Iterator[Row], span: tuple[int, int]) -> Iterator[Row]:
    """The rows of a document, those that hold on the same days joined; rows whose days are no plain dates stay as they are."""
    begin, end = span
    alike: dict[tuple[str | None, ...], list[Row]] = defaultdict(list)
    for count, row in enumerate(rows):
        if count >= _MAX_ROWS:
            what = f"has more than {_MAX_ROWS} rows whose spans are compared (line {row[0]})"
            raise batch.refuse(file.name, what, "Have the source deliver several smaller documents.")
        values = row[1]
        if _DAY.fullmatch(values[begin] or "") and (values[end] is None or _DAY.fullmatch(values[end] or "")):
            alike[tuple(value for at, value in enumerate(values) if at not in span)].append(row)
        else:
            yield row
    for some in alike.values():
        yield from _together(some, begin, end)


def _together(rows: list[Row], begin: int, end: int) -> Iterator[Row]:
    """Rows that are equal but for their span, joined where spans overlap."""
    ordered = sorted(rows, key=lambda row: (row[1][begin] or "", row[0]))
    line, values = ordered[0]
    for later_line, later in ordered[1:]:
        if values[end] is not None and (later[begin] or "") > (values[end] or ""):
            yield line, values
            line, values = later_line, later
        elif values[end] is not None and (later[end] is None or (later[end] or "") > (values[end] or "")):
            values = (*values[:end], later[end], *values[end + 1 :])
    yield line, values


# lookups -------------------------------------------------------------------------------------------------------------------------
def _looked_up(batch: Batch, file: Delivered, declared: Elements) -> Known:
    """What each lookup knows: the values under each key; [None] under one without a value, [] under one that is ignored."""
    known: dict[str, dict[str, list[str | None]]] = {name: {} for name in declared.lookups}
    takers: dict[str, list[_Taker]] = defaultdict(list)
    held = 0

    def taker(name: str, keys: Sequence[Path], values: Sequence[Path], nothing: list[str | None]) -> _Taker:
        def take(element: _Element) -> Iterator[Row]:
            nonlocal held
            found = [text for text in _texts(element, values, {}) if text is not None] or nothing
            for key in dict.fromkeys(text for text in _texts(element, keys, {}) if text is not None):
                known[name].setdefault(key, []).extend(found)
                held += _COST + len(key) + sum(len(text or "") for text in found)
            if held > _MAX_HELD:
                raise _TooMuchError(f"has lookups of more than {_MAX_HELD >> 20} MB", element.line)
            return iter(())

        return take

    for name, lookup in declared.lookups.items():
        keys = [path_of(text) for text in lookup.key]
        for place in lookup.records:
            takers[place].append(taker(name, keys, [path_of(text) for text in lookup.value], [None]))
        for place in lookup.ignored:
            takers[place].append(taker(name, keys, [], []))

    def all_of(some: Sequence[_Taker]) -> _Taker:
        return lambda element: chain.from_iterable([take(element) for take in some])

    for _ in _parsed(batch, file, declared, {place: all_of(some) for place, some in takers.items()}, ()):
        raise AssertionError("a lookup makes no rows")
    return known


# documents -----------------------------------------------------------------------------------------------------------------------
_Seen = tuple[int, tuple[str, ...]]
"""Elements that a record's path sees outside of it: they stand below so many names of this place (a name may be *)."""


def _seen(places: Sequence[str], paths: Sequence[Path]) -> tuple[_Seen, ...]:
    found = set()
    for place in places:
        names = place.split("/")
        for path in (path for path in paths if path.ups):
            above = names[: len(names) - path.ups]
            sure = []
            for step in path.steps:
                if step.is_deep:
                    break
                sure.append(step.name)
            found.add((len(above), (*above, *sure)))
    return tuple(sorted(found))


class _TooMuchError(Exception):
    """What a document holds too much of, and the line."""

    def __init__(self, what: str, line: int) -> None:
        self.what, self.line = what, line
        super().__init__(what)


class _Target:
    """Takes what the parser finds, and keeps what a path can lead to."""

    def __init__(self, takers: Mapping[str, _Taker], seen: Sequence[_Seen]) -> None:
        self.takers = {tuple(place.split("/")): taker for place, taker in takers.items()}
        self.seen = seen
        self.line: Callable[[], int] = lambda: 0
        self.root: str | None = None
        self.rows: list[Iterator[Row]] = []
        self.events = 0
        self._names: list[str] = []
        self._open = _Element("", {}, 0, None)
        self._inside = 0
        self._held = 0
        self._known: dict[tuple[str, ...], tuple[_Taker | None, bool]] = {}

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """An element begins."""
        self.events += 1
        name = _local(tag)
        if self.root is None:
            self.root = name
            self._open.attributes = _by_local_name(attributes)
            return
        self._names.append(name)
        if len(self._names) > _MAX_DEPTH:
            raise _TooMuchError(f"has more than {_MAX_DEPTH} elements within each other", self.line())
        taker, is_seen = self._role()
        self._inside += taker is not None
        element = _Element(name, {}, self.line(), self._open, is_kept=self._inside > 0 or is_seen)
        if element.is_kept:
            element.attributes = _by_local_name(attributes)
            self._open.children.append(element)
            self._hold(element, _COST + sum(len(key) + len(value) for key, value in attributes.items()))
        self._open = element

    def data(self, text: str) -> None:
        """Text within the open element."""
        self.events += 1
        if self._open.is_kept:
            self._open.parts.append(text)
            self._hold(self._open, len(text))

    def end(self, _tag: str) -> None:
        """The open element ends: what it tells is taken, and what no path can lead to any more is let go."""
        self.events += 1
        element, parent = self._open, self._open.parent
        if parent is None:
            return
        taker, is_seen = self._role()
        if taker is not None:
            self.rows.append(taker(element))
            self._inside -= 1
        if self._inside or is_seen:
            parent.weight += element.weight
        else:
            self._held -= element.weight
            if element.is_kept:
                parent.children.pop()
        self._names.pop()
        self._open = parent

    def comment(self, _text: str) -> None:
        """A comment, which tells nothing."""
        self.events += 1

    def close(self) -> None:
        """The document ends."""

    def _role(self) -> tuple[_Taker | None, bool]:
        """What takes the open element, and whether records see it from within."""
        names = tuple(self._names)
        if names not in self._known:
            if len(self._known) > _MAX_PLACES:
                self._known.clear()
            taker = next((taker for place, taker in self.takers.items() if len(place) == len(names) and _fit(place, names)), None)
            self._known[names] = taker, any(len(names) > above and _fit(place, names) for above, place in self.seen)
        return self._known[names]

    def _hold(self, element: _Element, weight: int) -> None:
        element.weight += weight
        self._held += weight
        if self._held > _MAX_HELD:
            raise _TooMuchError(f"holds more than {_MAX_HELD >> 20} MB in or beside one record", self.line())


def _fit(place: Sequence[str], names: Sequence[str]) -> bool:
    """Whether the names lead to, or on the way to, or into what stands at the place."""
    return all(wanted in (ANY, name) for wanted, name in zip(place, names, strict=False))


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _by_local_name(attributes: Mapping[str, str]) -> Mapping[str, str]:
    return {_local(name): value for name, value in attributes.items()}


def _parsed(batch: Batch, file: Delivered, declared: Elements, takers: Mapping[str, _Taker], seen: Sequence[_Seen]) -> Iterator[Row]:
    """The rows that `takers` make of the elements at their places."""
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import DefusedXMLParser

    target = _Target(takers, seen)
    layout = batch.source.layout
    parser = DefusedXMLParser(target=target, encoding=layout.encoding if layout else None, forbid_dtd=True)
    target.line = lambda: int(parser.parser.CurrentLineNumber)
    silent = 0
    try:
        for chunk in stored(batch, file, _CHUNK):
            before = target.events
            parser.feed(chunk)
            _check_root(batch, file, declared, target.root)
            silent = silent + len(chunk) if target.events == before else 0
            if silent > _MAX_HELD:
                raise _TooMuchError(f"has a tag or comment of more than {_MAX_HELD >> 20} MB", target.line())
            rows, target.rows = target.rows, []
            yield from chain.from_iterable(rows)
        parser.close()
    except DefusedXmlException as error:
        what = f"has a document type or entities (line {target.line()}), which are not read"
        raise batch.refuse(file.name, what, "Have it delivered without them.") from error
    except _TooMuchError as error:
        step = f"Have the source deliver smaller records, or correct `xml` of source {batch.source.name}."
        raise batch.refuse(file.name, f"{error.what} (line {error.line})", step) from error
    except ParseError as error:
        raise batch.refuse(file.name, f"is damaged XML: {str(error).partition(':')[0]} (line {error.position[0]})", SEND_AGAIN) from error
    except (ValueError, LookupError) as error:  # pyexpat's, of encodings that it does not know
        raise batch.refuse(file.name, f"is no XML that can be read: {error} (line {target.line()})", SEND_AGAIN) from error


def _check_root(batch: Batch, file: Delivered, declared: Elements, root: str | None) -> None:
    if declared.root is not None and root not in (None, declared.root):
        what = f"has the root {root}, where {declared.root} is declared"
        raise batch.refuse(file.name, what, f"Have it delivered elsewhere, or correct `xml` of source {batch.source.name}.")
