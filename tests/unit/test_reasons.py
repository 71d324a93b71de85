"""Why a person had something done."""

from __future__ import annotations

import pytest

from nocturne.errors import PermanentError
from nocturne.reasons import checked_reason


def test_a_reason_is_kept_without_the_blanks_around_it() -> None:
    assert checked_reason("  was sent twice \n", to="withdraw", next_step="Say why.", tenant="acme") == "was sent twice"


@pytest.mark.parametrize("reason", ["", "no idea", "   why    "])
def test_a_reason_that_says_nothing_is_refused(reason: str) -> None:
    with pytest.raises(PermanentError, match="To withdraw needs a reason of 8 characters or more") as told:
        checked_reason(reason, to="withdraw", next_step="Say why.", tenant="acme")
    assert (told.value.tenant, told.value.next_step) == ("acme", "Say why.")
