"""Another view of a film."""

import numpy as np

from encoders.views import another_view


def phantom(column: int) -> np.ndarray:
    film = np.full((224, 224), 90, np.uint8)
    film[60:180, column : column + 40] = 220
    return film


def test_a_view_moves_and_exposes_and_never_mirrors() -> None:
    changed = []
    for column in range(20, 60, 4):  # a bright part on the left stays there
        film = phantom(column)
        view = another_view(film).astype(float)
        assert view.shape == film.shape
        bright = np.clip(view - np.median(view), 0, None) > 40
        centre = (bright * np.arange(224)).sum() / bright.sum()
        assert abs(centre - (column + 19.5)) < 30
        changed.append(np.abs(view - film).mean())
    assert min(changed) > 2


def test_views_of_different_films_differ_in_more_than_the_film() -> None:
    films = [phantom(20), phantom(21)]
    backgrounds = [float(np.median(another_view(film))) for film in films]
    assert backgrounds[0] != backgrounds[1]
