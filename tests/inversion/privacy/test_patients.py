"""No word about a patient gets from the images into anything that the tool writes.

The one exception is a site's datalist, which names its images and never leaves the site.
"""

import json
import logging
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from monai.networks.nets.resnet import ResNet
from PIL import Image, PngImagePlugin
from typer.testing import CliRunner

from medleak.custom.data.datalist import DataError, Item, load_datalist
from medleak.custom.data.masks import load_masks
from medleak.custom.data.transforms import load_images, network_input
from medleak.custom.record import (
    InputSpec,
    Manifest,
    ModelSpec,
    TaskSpec,
    UpdateInfo,
    utc_now,
    write_manifest,
    write_record,
)
from medleak.custom.training.site_data import Source, site_lists
from medleak.inversion.attacks.registry import ATTACKS, AttackKind
from medleak.inversion.cli import app
from medleak.inversion.reconstruction import Reconstruction

pytestmark = pytest.mark.slow

SECRETS = ("Mustermann", "Erika", "19640812", "MRN0815", "Heidelberg", "4711", "private studies")
TABLE = "site-1:2:4:4,site-9:1:1:4:site-1"


@dataclass(frozen=True, kw_only=True)
class Noise:
    """An attack that takes no time: what an audit writes does not depend on how good it is."""


def _noise(attack, observation, prior, *, generator, on_progress=None):
    shape = (observation.n_images, observation.image_channels, *observation.spatial_size)
    return Reconstruction(
        images=torch.rand(shape, generator=generator),
        labels=None,
        losses={"bn": 0.1},
        history=torch.zeros(1),
        iterations=1,
        seconds=0.5,
    )


def medleak(*args, code=0):
    result = CliRunner().invoke(app, [str(a) for a in args], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result


def words_in(content: bytes) -> list[str]:
    """The secrets that ``content`` holds, in any of the encodings that formats use."""
    return [
        word
        for word in SECRETS
        if any(word.encode(code) in content for code in ("utf-8", "utf-16-le", "utf-16-be"))
    ]


def found_below(*folders, but=()):
    """Files below ``folders``, and their names, with the secrets in them."""
    found = {}
    for folder in folders:
        for path in folder.rglob("*"):
            content = path.read_bytes() if path.is_file() else b""
            words = words_in(content + str(path.relative_to(folder)).encode())
            if words and path.name not in but:
                found[str(path)] = words
    return found


@pytest.fixture
def scans(tmp_path):
    """Images that say whose they are wherever a format lets them."""
    exif = Image.Exif()
    exif[0x010E], exif[0x013B], exif[0x9C9B] = "Mustermann, Erika", "Heidelberg", "MRN0815"
    text = PngImagePlugin.PngInfo()
    text.add_text("Patient", "Mustermann^Erika", zip=False)
    text.add_itxt("Birth", "19640812")
    root = tmp_path / "private studies"
    rng = np.random.default_rng(0)
    for label, name in enumerate(("normal", "sick")):
        (root / name).mkdir(parents=True)
        for k in range(16):
            image = Image.fromarray(rng.integers(0, 256, (20, 20), dtype=np.uint8))
            stem = root / name / f"4711{label}{k:02d}_001"
            if k % 2:
                image.save(f"{stem}.png", pnginfo=text, exif=exif)
            else:
                image.save(f"{stem}.jpg", exif=exif, comment=b"MRN0815 Mustermann 19640812")
    return root


def test_the_fixture_holds_every_secret(scans):
    whole = b"".join(p.read_bytes() + str(p).encode() for p in scans.rglob("*") if p.is_file())
    assert set(words_in(whole)) == set(SECRETS)


def run_of(lists, root, site, small_network):
    """A recorded round in which ``site`` took one step on its training images."""
    write_manifest(
        root / "server" / "simulate_job" / "records",
        Manifest(
            job="privacy",
            created=utc_now(),
            model=ModelSpec(path="monai.networks.nets.ResNet", args=small_network),
            task=TaskSpec(num_classes=2),
            input=InputSpec(spatial_size=(16, 16), channels=1),
        ),
    )
    images, labels = load_images(lists["training"], spatial_size=(16, 16), section="training")
    torch.manual_seed(0)
    network = ResNet(**small_network)
    sent = {k: v.clone().numpy() for k, v in network.state_dict().items()}
    loss = torch.nn.functional.cross_entropy(
        network(network_input(images, (0, 0, 0), (1, 1, 1))), labels
    )
    loss.backward()
    torch.optim.SGD(network.parameters(), lr=0.01).step()
    update = {k: v.numpy() - sent[k] for k, v in network.state_dict().items()}
    info = UpdateInfo(
        round=0,
        site=site,
        time=utc_now(),
        n_images=len(images),
        n_steps=1,
        batch_size=len(images),
        local_epochs=1,
        lr=0.01,
    )
    write_record(root / "server" / "simulate_job" / "records", info, sent, update)


def test_prepare_record_audit_and_report_carry_no_word_about_a_patient(
    tmp_path, scans, small_network, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(ATTACKS, "noise", lambda: AttackKind(Noise, _noise))
    out, run = tmp_path / "lists", tmp_path / "run"
    said = medleak("data", "folder", scans, "--table", TABLE, "-o", out, "--classes", "normal,sick")
    site_run = run / "site-9" / "simulate_job"
    source = Source(classes=("normal", "sick"), data_root=out)
    run_of(site_lists(source, "site-9", site_run), run, "site-9", small_network)
    medleak("prior", "--data", scans, "-o", tmp_path / "prior.png", "--size", 16)
    medleak(
        *("audit", run, "--attack", "noise", "--prior", tmp_path / "prior.png"),
        *("--out", tmp_path / "audit"),
    )
    medleak("report", tmp_path / "audit", "--originals", "shown", code=3)  # noise finds nothing
    assert list((tmp_path / "audit").glob("images/*.png"))
    assert words_in((tmp_path / "prior.png").read_bytes()) == []
    lists = {"site-1.json", "site-9.json", "datalist.json"}
    # dataset.json says the name of the folder that the user named.
    assert found_below(run, tmp_path / "audit", out, but={*lists, "dataset.json"}) == {}
    assert words_in((out / "dataset.json").read_bytes()) == ["private studies"]
    assert words_in(said.output.replace("private studies", "").encode()) == []


def test_the_local_datalist_alone_names_the_files(tmp_path, scans):
    medleak("data", "folder", scans, "--table", TABLE, "-o", tmp_path / "out")
    assert set(found_below(tmp_path / "out")) == {
        str(tmp_path / "out" / name) for name in ("dataset.json", "site-1.json", "site-9.json")
    }


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_no_level_of_logging_shows_what_an_image_says_beside_its_pixels(tmp_path, caplog, format):
    exif = Image.Exif()
    exif[0x010E], exif[0x013B], exif[0x0112] = "Mustermann, Erika", "Heidelberg", 3
    path = tmp_path / "x.image"
    Image.new("L", (9, 9)).save(path, format=format, exif=exif)
    with caplog.at_level(logging.DEBUG):
        load_images([Item(str(path), 0, "1", str(path))], spatial_size=(8, 8))
        load_masks([Item(str(path), 0, "1", str(path))], spatial_size=(8, 8))
    assert words_in(path.read_bytes()) == ["Mustermann", "Erika", "Heidelberg"]
    assert words_in(caplog.text.encode()) == []


def test_converted_dicom_holds_nothing_of_the_header_or_the_file_name(tmp_path):
    dicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    for k in range(3):
        data = dicom.Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
        data.file_meta.MediaStorageSOPInstanceUID = UID(f"1.2.4711.{k}")
        data.SOPClassUID = SecondaryCaptureImageStorage
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID
        data.PatientName, data.PatientBirthDate = "Mustermann^Erika", "19640812"
        data.PatientID = "MRN0815" if k < 2 else "MRN0815b"
        data.InstitutionName = "Heidelberg"
        data.Rows = data.Columns = 4
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 8
        data.HighBit, data.PixelRepresentation = 7, 0
        data.PixelData = bytes(range(k, k + 16))
        path = tmp_path / "private studies" / "a" / f"Mustermann_{k}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        data.save_as(path, enforce_file_format=True)
    result = medleak("data", "dicom", tmp_path / "private studies", "-o", tmp_path / "out")
    assert found_below(tmp_path / "out") == {}
    assert words_in(result.output.encode()) == []
    names = sorted(path.name for path in (tmp_path / "out" / "a").iterdir())
    assert names == ["p00000_00.png", "p00000_01.png", "p00001_00.png"]


def test_a_bad_image_is_named_to_the_user_but_not_in_a_jobs_message(tmp_path, scans, caplog):
    bad = scans / "sick" / "4711101_001.png"
    bad.write_bytes(bad.read_bytes()[:60])
    result = CliRunner().invoke(app, ["data", "folder", str(scans), "-o", str(tmp_path / "out")])
    assert bad.name in result.stderr
    entry = {"image": str(bad), "label": 0}
    (tmp_path / "own.json").write_text(json.dumps({"training": [entry]}))
    items = load_datalist(tmp_path / "own.json")["training"]
    with pytest.raises(DataError) as caught, caplog.at_level(logging.DEBUG):
        load_images(items, spatial_size=(8, 8), section="training")
    assert "training[0]" in str(caught.value)
    assert words_in(str(caught.value).encode() + caplog.text.encode()) == []
