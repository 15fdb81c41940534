"""Tests of the images of an experiment."""

from pathlib import Path

import pytest

from medleak.custom.phantoms import listing
from medleak.inversion.reproduce.material import folder


def test_the_prior_of_a_folder_is_of_patients_whom_no_client_has(place, films):
    material = folder(place.out, films, 16)
    private = {i.patient for i in material.items}
    everyone = {i.patient for i in listing(8, seed=3)}
    assert private < everyone
    assert Path(material.prior).is_file()
    assert material.channels == 1
    with pytest.raises(ValueError, match="needs 100"):
        material.first(100)
