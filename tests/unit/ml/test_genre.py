"""Genre: an artist's tracks stay together for ever, and the metric is the textbook's."""

from __future__ import annotations

import warnings
from datetime import date

import numpy as np
import pytest

from ml.genre.features import FEATURES, artists, results
from ml.genre.model import guess, score, split
from ml.problem import Examples, Rows, TooLittle


def tracks(count: int, seed: int = 1, genres: int = 4) -> Examples:
    dice = np.random.default_rng(seed)
    artist = dice.integers(0, max(1, count // 8), count)
    genre = artist % genres
    names = np.array([f"genre {number}" for number in range(genres)])
    groups = artists(
        {
            "artist_id": np.array([f"a{number}" for number in artist], dtype=object),
            "release_id": np.array([None] * count, dtype=object),
            "track_id": np.arange(count).astype(str).astype(object),
        }
    )
    x = (genre[:, None] * np.arange(1, len(FEATURES) + 1) + dice.normal(0, 0.3, (count, len(FEATURES)))).astype(np.float32)
    moments = np.full(count, np.datetime64("2026-05-01"))
    return Examples(FEATURES, x, genre, moments, groups, names[genre], {"genres": names})


@pytest.mark.parametrize("seed", range(20))
def test_no_artist_is_on_both_sides(seed: int) -> None:
    one = tracks(1_200, seed)
    parts = split(one)
    for learn, held in ((parts.train, parts.test), *parts.folds):
        assert not set(one.groups[learn]) & set(one.groups[held])
    assert len(parts.folds) == 4


def test_an_artist_stays_on_its_side_when_others_come() -> None:
    before, after = tracks(800, 1), tracks(2_400, 2)
    judged_before = set(before.groups[split(before).test])
    judged_after = set(after.groups[split(after).test])
    both = set(before.groups) & set(after.groups)
    assert len(both) > 50
    assert judged_before & both == judged_after & both


def test_a_track_without_an_artist_stands_with_its_release() -> None:
    table = {
        "artist_id": np.array(["a", None, None, None], dtype=object),
        "release_id": np.array(["r", "r", "r", None], dtype=object),
        "track_id": np.array(["1", "2", "3", "4"], dtype=object),
    }
    one, two, three, four = artists(table).tolist()
    assert two == three and len({one, two, four}) == 3


def test_too_few_tracks_to_judge_on_are_a_reason() -> None:
    with pytest.raises(TooLittle, match="kept for judging"):
        split(tracks(60))


def test_neighbours_of_separate_clouds_are_right() -> None:
    one = tracks(1_500)
    parts = split(one)
    shares = guess(one, parts.train, parts.test)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    assert score(one, parts.test, shares, {})["accuracy"] == 1.0


def test_macro_f1_is_the_textbooks() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sklearn.metrics import f1_score

    dice = np.random.default_rng(3)
    one = tracks(400)
    for _ in range(50):
        answers = dice.random((400, 4))
        ours = score(one, np.arange(400), answers, {})["macro_f1"]
        assert ours == pytest.approx(f1_score(one.y, answers.argmax(axis=1), average="macro", labels=np.unique(one.y)))


def test_a_champion_of_other_genres_is_judged_by_their_names() -> None:
    one = tracks(400)
    right = np.eye(4)[one.y]
    reordered = right[:, [3, 0, 1, 2]]
    assert score(one, np.arange(400), reordered, {"genres": ["genre 3", "genre 0", "genre 1", "genre 2"]})["accuracy"] == 1.0
    assert score(one, np.arange(400), right, {"genres": ["polka"] * 4})["accuracy"] == 0.0


def test_results_name_the_most_probable_genre() -> None:
    rows = Rows(FEATURES, np.zeros((2, len(FEATURES))), {"track_id": np.array(["t1", "t2"], dtype=object)})
    found = list(results(rows, np.array([[0.2, 0.8], [0.6, 0.4]]), {"genres": ["jazz", "metal"]}, date(2026, 5, 1), "7"))
    assert found == [("t1", date(2026, 5, 1), "metal", 0.8, "7"), ("t2", date(2026, 5, 1), "jazz", 0.6, "7")]
