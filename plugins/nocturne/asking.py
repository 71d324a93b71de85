"""How APIs, databases and topics are asked: the parts of a source's declaration that decide what is taken of it.

What becomes of the rows is declared elsewhere (`map`, `where`, ...), so nothing of this is part of a source's fingerprint.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Parameter = Annotated[str, Field(pattern=r"^[^\s&=#?%]{1,100}$", description="Name of a parameter of the query.")]
FieldPath = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        description="A field of a JSON object; dots lead into objects in it, numbers into arrays (-1: the last).",
    ),
]
Positive = Annotated[int, Field(ge=1)]
_KAFKA_NAME = re.compile(r"(?!\.{1,2}$)[a-zA-Z0-9._-]+")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


# pages ---------------------------------------------------------------------------------------------------------------------------
class PageSize(_Strict):
    """The parameter that asks for so many rows a page."""

    parameter: Parameter
    rows: Positive


class _Paged(_Strict):
    size: PageSize | None = None


class NextUrl(_Paged):
    """A field of each page holds the address (or path) of the one that follows; the last one's is empty."""

    kind: Literal["next_url"]
    field: FieldPath


class LinkHeader(_Paged):
    """The header `Link` names the page that follows, with `rel="next"` (RFC 8288)."""

    kind: Literal["link_header"]


class Cursor(_Paged):
    """A field of each page holds what `parameter` asks for the one that follows; it is empty, or `more` is false, on the last one."""

    kind: Literal["cursor"]
    field: FieldPath
    parameter: Parameter = "cursor"
    more: FieldPath | None = None


class _Counted(_Paged):
    """Pages that are asked for by a number. They end before an empty one, unless the service says it earlier.

    `short_page`: a page with fewer rows than were asked for is the last one: for services that never give fewer in between. `more`: a
    field that is false on the last page.
    """

    ends_at: Literal["empty_page", "short_page"] = "empty_page"
    more: FieldPath | None = None

    @model_validator(mode="after")
    def _knows_a_short_page(self) -> Self:
        if self.ends_at == "short_page" and self.size is None:
            raise ValueError("a short page is known by the size that is asked for: give `size`")
        return self


class PageNumber(_Counted):
    """`parameter` counts pages, from `first` on. `total`: a field with the number of pages (digits, perhaps in quotes)."""

    kind: Literal["page"]
    parameter: Parameter = "page"
    first: int = Field(1, ge=0)
    total: FieldPath | None = None


class Offset(_Counted):
    """`parameter` counts the rows before the page. `total`: a field with the number of all rows."""

    kind: Literal["offset"]
    parameter: Parameter = "offset"
    total: FieldPath | None = None


Paging = Annotated[NextUrl | LinkHeader | Cursor | PageNumber | Offset, Field(discriminator="kind")]


# what grows ----------------------------------------------------------------------------------------------------------------------
class Growth(_Strict):
    """A value that grows from row to row, by which a night asks for what is new alone.

    `instant`: ISO 8601, `overlap` in seconds; `number`: `overlap` in its own unit; `text`: ordered letter by letter, without overlap.
    Rows within the overlap come again every night, and silver keeps one of them: it is for rows that appear later than their value says.
    """

    type: Literal["instant", "number", "text"] = "instant"
    overlap: Decimal = Field(Decimal(0), ge=0)
    start: str | None = Field(None, description="Where the first night begins; None: at the beginning.")

    @model_validator(mode="after")
    def _can_be_reckoned(self) -> Self:
        if self.type == "text" and self.overlap:
            raise ValueError("a text has no overlap")
        if self.start is not None:
            try:
                self.order(self.start)
            except ValueError as error:
                raise ValueError(f"start: {error}") from error
        return self

    def order(self, value: Any) -> Any:
        """What compares as the values of this growth do. Raises ValueError if `value` is no such value."""
        try:
            if self.type == "number" and isinstance(value, (int, float, Decimal, str)) and Decimal(str(value)).is_finite():
                return Decimal(str(value))
            if self.type == "instant" and isinstance(value, str):
                instant = datetime.fromisoformat(value)
                return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
        except (ValueError, InvalidOperation):
            pass  # said below, in words of ours
        if self.type == "text" and isinstance(value, str):
            return value
        raise ValueError(f"{value!r} is no {self.type}")


class Increment(Growth):
    """An API's: `parameter` asks for records from a value on, `field` of each record holds its value.

    `optional`: some records have none, such as what is playing now.
    """

    parameter: Parameter
    field: FieldPath
    optional: bool = False


# databases -----------------------------------------------------------------------------------------------------------------------
class Watermark(Growth):
    """A database's: the column by which rows are told to be new. Rows without a value in it come every night."""

    column: str = Field(min_length=1, max_length=128)


class Database(_Strict):
    """What is read of a database: the rows of a table (or view), or of one SELECT; all of them, or those after a watermark."""

    table: str | None = Field(None, pattern=r"^[^.\s\"`]+(\.[^.\s\"`]+){0,2}$", description="Its name, perhaps behind its schema's.")
    query: str | None = Field(None, min_length=1, max_length=20_000)
    dialect: Literal["postgres", "sqlite", "mysql", "oracle", "tsql", "snowflake"] = Field("postgres", description="Of the query.")
    watermark: Watermark | None = None

    @model_validator(mode="after")
    def _reads_one_thing(self) -> Self:
        if (self.table is None) == (self.query is None):
            raise ValueError("a database source has a `table` or a `query`, and only one of them")
        if self.query is not None:
            checked_query(self.query, self.dialect)
        return self


# topics --------------------------------------------------------------------------------------------------------------------------
class Topic(_Strict):
    """What is drained each night: a topic of Kafka, all its partitions, or one stream of Redis.

    `field`: of a Redis entry the field that holds a JSON object; without it, the entry's fields are the columns. `group`: under which name
    the broker is told how far we are, so that those who watch it see the lag; where a night begins is not asked of the broker.
    """

    system: Literal["kafka", "redis_streams"]
    name: str = Field(min_length=1, max_length=249, description="Of the topic or stream.")
    group: str | None = Field(None, min_length=1, max_length=200, description="Consumer group; None: one named after tenant and source.")
    field: str | None = Field(None, min_length=1, max_length=200, description="redis_streams: the field that holds a JSON object.")

    @model_validator(mode="after")
    def _is_known_to_its_system(self) -> Self:
        if self.system == "kafka" and self.field is not None:
            raise ValueError("a message of Kafka has one value, and no `field`")
        if self.system == "kafka" and not _KAFKA_NAME.fullmatch(self.name):
            raise ValueError("a topic of Kafka is named with letters, digits, `.`, `_` and `-`")
        return self


def checked_query(text: str, dialect: str) -> str:
    """The query as it is run: written again from its tree, without comments, so that what runs is what was checked.

    Raises ValueError unless it is one SELECT that changes nothing and locks nothing. What the functions that it calls may do is for the
    rights of the connection's user to say.
    """
    # sqlglot takes longer to import than most tenant files to load: only a file with a query pays for it.
    import sqlglot
    from sqlglot import exp

    try:
        statements = sqlglot.parse(text, read=dialect)
        tree = statements[0] if len(statements) == 1 and isinstance(statements[0], (exp.Select, exp.SetOperation)) else None
        if tree is None:
            raise ValueError("a query must be one SELECT")
        refused = (exp.DML, exp.DDL, exp.Into, exp.Lock, exp.Command, exp.Placeholder, exp.Parameter)
        changing = [node for node in tree.walk() if isinstance(node, refused)]
        if changing:
            raise ValueError(f"a query only reads, without {type(changing[0]).__name__.upper()}")
        sql = tree.sql(dialect, comments=False)
        again = sqlglot.parse(sql, read=dialect)
        if len(again) != 1 or again[0] is None or again[0].sql(dialect, comments=False) != sql:
            raise ValueError("the query is not read twice in the same way: write it more plainly")
    except ValueError:
        raise
    except Exception as error:  # whatever a parser stumbles over is no query; it does not end the loading of a tenant
        raise ValueError(f"this is no SQL query: {(str(error) or type(error).__name__).splitlines()[0]}") from error
    return sql
