"""A job folder built as NVFlare builds it, in a folder that is thrown away.

Building runs constructors. Those of NVFlare, medleak and the usual libraries of networks are run;
the job's own code is imported only where whoever asks has granted it by name.
"""

import argparse
import contextlib
import io
import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nvflare.apis.workspace import Workspace
from nvflare.fuel.utils.class_utils import instantiate_class
from nvflare.fuel.utils.config_service import ConfigService
from nvflare.private.fed.client.client_json_config import ClientJsonConfigurator
from nvflare.private.fed.server.server_json_config import ServerJsonConfigurator

from medleak.custom.factories import sealed
from medleak.filters.adapters.examination import kit
from medleak.filters.allowed import matches

JOB_ID = "check"
SERVER = "server"
_LIBRARIES = (
    *("nvflare.", "medleak.", "torch.nn.", "torch.optim."),
    *("torchvision.models.", "monai.networks.nets."),
)


class NotTried(ValueError):
    """It is not known whether the job would record; the message says why."""


class NotBuilt(ValueError):
    """NVFlare would not start the job; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """The server, or one site: what NVFlare made of its configuration.

    ``runner`` is NVFlare's runner configuration, with the filters by task; ``config`` the JSON;
    ``custom`` the app's own code, None where nobody granted any of it.
    """

    name: str
    workspace: Workspace
    runner: Any
    config: Mapping[str, Any]
    custom: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltJob:
    """Server and sites of a job; ``may_call`` tells whose factories may be called."""

    server: Side
    sites: Sequence[Side]
    meta: Mapping[str, Any]
    allowed: Sequence[str] = field(default=_LIBRARIES)

    def make(self, path: str, args: Mapping[str, Any]) -> Any:
        """What a factory makes that the job names, with the server app's own code beside it.

        Raises:
            NotTried: It is the job's own code and nobody granted it, or it makes nothing.
        """
        _require(path, self.allowed)
        try:
            with _importable(self.server.custom), sealed():
                return instantiate_class(path, dict(args))
        except (Exception, SystemExit) as error:
            raise NotTried(f"{path} makes nothing: {_line(error)}") from error


@contextlib.contextmanager
def built(job: Path, *, allow: Sequence[str] = ()) -> Iterator[BuiltJob]:
    """Build the server and every client app of ``job``, and take all of it away afterwards.

    Args:
        job: A job folder with JSON configurations, as ``medleak attach`` writes it.
        allow: Names, or prefixes that end with a dot, of the job's own code that may run here.

    Raises:
        NotTried: Code is needed that nobody granted or that is not installed here.
        NotBuilt: A constructor refuses what the job gives it, or NVFlare the configuration.
    """
    allowed, job = (*_LIBRARIES, *allow), job.resolve()
    with tempfile.TemporaryDirectory(prefix="medleak_check_") as folder, _apart(Path(folder)):
        meta = kit.load_meta(job)
        apps = [a for a in kit.load_apps(job, meta) if isinstance(a, kit.App)]
        servers = [a for a in apps if a.server is not None]
        clients = [a for a in apps if a.client is not None]
        if len(servers) != 1 or not clients:
            raise NotTried(f"{job} has not one server and a site that can be read.")
        root = Path(folder)
        server = _side(root, SERVER, servers[0], allowed, own=bool(allow))
        sites = [
            _side(root, f"site-{n}", app, allowed, own=bool(allow))
            for n, app in enumerate(clients, start=1)
        ]
        yield BuiltJob(server=server, sites=sites, meta=meta, allowed=allowed)


def _side(root: Path, name: str, app: kit.App, allowed: Sequence[str], *, own: bool) -> Side:
    home = root / name
    for each in ("startup", "local"):
        (home / each).mkdir(parents=True)
    workspace = Workspace(str(home), name)
    place = Path(workspace.get_app_dir(JOB_ID))
    shutil.copytree(app.folder, place)
    args = argparse.Namespace(  # of the process that NVFlare would start
        job_id=JOB_ID,
        workspace=str(home),
        client_name=name,
        sp_scheme="grpc",
        sp_target="localhost:0",
    )
    side = "server" if name == SERVER else "client"
    file = place / "config" / f"config_fed_{side}.json"
    if not file.is_file():
        raise NotTried(f"{app.name} has no {file.name}: check a folder that attach wrote.")
    make = ServerJsonConfigurator if side == "server" else ClientJsonConfigurator
    custom = place / "custom" if own else None
    with _importable(custom):
        configurator = make(workspace, str(file), args, str(place))
        refused: list[str] = []
        configurator.set_component_build_authorizer(_authorizer(configurator, allowed, refused))
        try:
            with sealed():
                configurator.configure()
        except (Exception, SystemExit) as error:  # a script that runs when it is imported may exit
            if refused:
                raise NotTried(refused[0]) from None
            # NVFlare wraps what a constructor raises in errors of its own, and keeps the text.
            if isinstance(error, ImportError) or "No module named" in str(error):
                raise NotTried(_needs(app.name, side, error)) from error
            raise NotBuilt(
                f"{app.name}: NVFlare cannot build the {side}: {_line(error)}"
            ) from error
    config = json.loads(file.read_text(encoding="utf-8"))
    runner = configurator.runner_config
    return Side(name=name, workspace=workspace, runner=runner, config=config, custom=custom)


def _authorizer(configurator: Any, allowed: Sequence[str], refused: list[str]) -> Any:
    """NVFlare's hook before it builds a class; a reason, also noted in ``refused``, stops it."""

    def judge(config: Mapping[str, Any], _context: Any, _node: Any) -> str:
        try:
            _require(str(configurator.get_class_path(config)), allowed)
        except NotTried as error:
            refused.append(str(error))
            return str(error)
        return ""

    return judge


def _require(path: str, allowed: Sequence[str]) -> None:
    if not matches(path, allowed):
        prefix = path.rpartition(".")[0]
        raise NotTried(
            f"The job names {path}, which is its own code, and building it runs that code here: "
            f"grant it by --allow-model {prefix or path}. (with the dot), or try without --check."
        )


def _needs(app: str, side: str, error: BaseException) -> str:
    return (
        f"{app}: the {side} needs something that is not installed here: {_line(error)}. Whether it "
        "records was not tried; run the check where the job will run."
    )


@contextlib.contextmanager
def _importable(custom: Path | None) -> Iterator[None]:
    """The app's own modules can be imported inside, and are forgotten afterwards.

    Without a grant the folder is not on the path at all: a library that looks for an optional
    package would import the job's file of that name.
    """
    if custom is None or not custom.is_dir():
        yield
        return
    own = {p.stem for p in custom.iterdir() if p.suffix == ".py" or p.is_dir()} - {"medleak"}
    before = {n: m for n, m in sys.modules.items() if n.partition(".")[0] in own}
    path, written = list(sys.path), sys.dont_write_bytecode
    for name in before:
        del sys.modules[name]
    sys.path.insert(0, str(custom))
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.path[:], sys.dont_write_bytecode = path, written
        for name in [n for n in sys.modules if n.partition(".")[0] in own]:
            del sys.modules[name]
        sys.modules.update(before)


@contextlib.contextmanager
def _apart(folder: Path) -> Iterator[None]:
    """NVFlare keeps a process's configuration in one place, prints, and logs what it raises."""
    kept = {
        name: getattr(ConfigService, name)
        for name in ("_sections", "_config_path", "_cmd_args", "_var_dict", "_var_values")
    }
    before = os.getcwd(), logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    os.chdir(folder)
    try:
        ConfigService.reset()
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        os.chdir(before[0])
        logging.disable(before[1])
        for name, value in kept.items():
            setattr(ConfigService, name, value)


def _line(error: BaseException) -> str:
    """What was raised in the end: NVFlare puts the whole configuration in front of it."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text.rpartition("exception: ")[2].strip("'\"")[:400]
