"""The list of sources is the folder's."""

from pathlib import Path

from medleak.inversion.evidence.sources import registry


def test_every_file_of_the_folder_is_a_source_in_the_list():
    files = {p.stem for p in Path(registry.__file__).parent.glob("*.py")}
    assert len(registry.SOURCES) == len(files - {"__init__", "registry"})
