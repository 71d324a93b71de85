"""The tree of errors: its drawing is true, and every message says what, where and what next."""

from __future__ import annotations

import inspect
import re
from datetime import UTC, date, datetime

import pytest

from nocturne import errors
from nocturne.errors import NocturneError, PermanentError, SourceAwaited, SourceUnavailable, TransientError

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, NocturneError)]


def test_the_drawing_is_the_tree() -> None:
    above: dict[int, str] = {}
    drawn = {}
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^([\s│├└─]*)([A-Z]\w+)(?:\s{2,}\S|$)", line)
        if found and found[2] in vars(errors):
            depth = len(found[1])
            drawn[found[2]] = next((above[d] for d in sorted(above, reverse=True) if d < depth), None)
            above = {d: name for d, name in above.items() if d < depth} | {depth: found[2]}
    true = {kind.__name__: kind.__base__.__name__ if kind is not NocturneError else None for kind in ALL if kind.__base__}
    assert drawn == true


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind not in (NocturneError, TransientError, PermanentError)])
def test_every_error_is_either_worth_another_try_or_not(kind: type[NocturneError]) -> None:
    assert issubclass(kind, TransientError) != issubclass(kind, PermanentError)
    assert kind.__doc__


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind is not SourceAwaited])
def test_a_message_says_what_where_and_what_next(kind: type[NocturneError]) -> None:
    error = kind("It rained.", next_step="Close the window.", tenant="dusk", day=date(2026, 1, 2))
    assert str(error) == "[tenant dusk, day 2026-01-02] It rained. Next: Close the window."
    assert str(kind("It rained.", next_step="Wait.")) == "It rained. Next: Wait."
    assert (error.what, error.next_step, error.tenant) == ("It rained.", "Close the window.", "dusk")


def test_no_error_is_raised_without_a_next_step() -> None:
    with pytest.raises(TypeError, match="next_step"):
        PermanentError("It rained.")  # type: ignore[call-arg]


def test_a_source_that_is_awaited_says_until_when() -> None:
    until = datetime(2026, 1, 2, 4, tzinfo=UTC)
    error = SourceAwaited("Nothing yet.", until=until, next_step="Nothing.")
    assert error.until == until
    assert isinstance(error, SourceUnavailable)
